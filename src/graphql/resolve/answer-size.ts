import {
  defaultFieldResolver,
  type FieldNode,
  type GraphQLFieldResolver,
  type GraphQLOutputType,
  type GraphQLResolveInfo,
  type GraphQLSchema,
  getNamedType,
  getNullableType,
  isListType,
  isObjectType,
} from 'graphql'
import { GatewayError } from '../../model/errors.ts'
import { writeJson } from '../../model/json.ts'
import type { GraphQLContext } from '../context.ts'
import { subfields } from './look-ahead.ts'

/** What one request may still answer, in fields; a value without a fixed size counts as one for every so many characters. */
export interface AnswerRoom {
  fieldsLeft: number
  /** Whether something did not fit. */
  isOver: boolean
}

const CHARACTERS_OF_A_FIELD = 128
/** Scalars that hold as much as their sender liked. */
const MAPS: ReadonlySet<string> = new Set(['Properties', 'Tags'])

/**
 * Has every list of the schema take room for its items before they are looked at. A document is short and its aliases few, but
 * what is written once below a list is answered for each item: only their product says how much is answered.
 */
export function boundAnswers(schema: GraphQLSchema): GraphQLSchema {
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) || type.name.startsWith('__')) continue
    for (const field of Object.values(type.getFields())) {
      const charge = chargeOf(field.type)
      if (charge !== undefined) field.resolve = charged(field.resolve ?? defaultFieldResolver, charge)
    }
  }
  return schema
}

export function answerTooLarge({ answerFieldsMax: max }: GraphQLContext['limits']): GatewayError {
  return new GatewayError('query_too_large', `the answer would hold more than ${max} fields; ask for less at a time`, {
    details: { max },
  })
}

type Charge = (value: unknown, context: GraphQLContext, info: GraphQLResolveInfo) => unknown
type Resolver = GraphQLFieldResolver<unknown, GraphQLContext>

function chargeOf(type: GraphQLOutputType): Charge | undefined {
  if (isListType(getNullableType(type))) return chargeList
  return MAPS.has(getNamedType(type).name) ? chargeMap : undefined
}

function charged(resolve: Resolver, charge: Charge): Resolver {
  return (source, args, context, info) => {
    const value: unknown = resolve(source, args, context, info)
    return value instanceof Promise
      ? value.then((settled: unknown) => charge(settled, context, info))
      : charge(value, context, info)
  }
}

function chargeList(value: unknown, context: GraphQLContext, info: GraphQLResolveInfo): unknown {
  if (Array.isArray(value) && !take(context.answer, value.length * fieldsBelow(info))) {
    throw answerTooLarge(context.limits)
  }
  return value
}

/** Only the first that does not fit is an error: there may be as many as there are items. */
function chargeMap(value: unknown, context: GraphQLContext): unknown {
  if (value === null || value === undefined) return value
  const wasOver = context.answer.isOver
  if (take(context.answer, Math.ceil(writeJson(value).length / CHARACTERS_OF_A_FIELD))) return value
  if (wasOver) return null
  throw answerTooLarge(context.limits)
}

function take(room: AnswerRoom, fields: number): boolean {
  if (fields > room.fieldsLeft) room.isOver = true
  else room.fieldsLeft -= fields
  return !room.isOver
}

/** By the nodes of a field, which are the same array for each of its parents. */
const known = new WeakMap<readonly FieldNode[], number>()

/** Fields that each item of a list answers; of a list below only itself, its items take room of their own. */
function fieldsBelow(info: GraphQLResolveInfo): number {
  let fields = known.get(info.fieldNodes)
  if (fields === undefined) {
    fields = Math.max(1, countFields(info.fieldNodes, info))
    known.set(info.fieldNodes, fields)
  }
  return fields
}

function countFields(parents: readonly FieldNode[], info: GraphQLResolveInfo): number {
  const below = subfields(parents, info)
  return below.length === 0 ? 0 : below.length + countFields(below, info)
}
