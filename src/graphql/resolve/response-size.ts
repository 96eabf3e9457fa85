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
import type { GraphQLLimits, ResponseFieldBudget } from '../operation-cost.ts'
import { selectedSubfields } from './selection.ts'

/** A map of tags or properties counts as one field per this many characters of its JSON text, rounded up. */
const CHARS_PER_FIELD = 128
/** Names of the scalars whose value is a map that a client has sent. Its size does not follow from the document. */
const MAP_SCALAR_NAMES: ReadonlySet<string> = new Set(['Properties', 'Tags'])

/**
 * Limits the size of responses. A short document can produce a huge response, because a field below a list is repeated
 * for each item. So each list outside of introspection is charged, before its items are resolved, with its length times
 * the fields selected per item. A map of tags or properties is charged by its length. Changes the resolvers of `schema`
 * and returns it.
 */
export function addResponseLimit(schema: GraphQLSchema): GraphQLSchema {
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) || type.name.startsWith('__')) continue
    for (const field of Object.values(type.getFields())) {
      const charge = chargeFunctionOf(field.type)
      if (charge !== undefined) field.resolve = resolveAndCharge(field.resolve ?? defaultFieldResolver, charge)
    }
  }
  return schema
}

export function responseTooLargeError({ responseFieldsMax: max }: GraphQLLimits): GatewayError {
  return new GatewayError(
    'query_too_large',
    `the response would have more than ${max} fields; select fewer at a time`,
    {
      details: { max },
    },
  )
}

/** Takes the fields of a resolved value from the budget. Returns the value, or null. Throws `query_too_large`. */
type ChargeFunction = (value: unknown, context: GraphQLContext, info: GraphQLResolveInfo) => unknown
type Resolver = GraphQLFieldResolver<unknown, GraphQLContext>

function chargeFunctionOf(type: GraphQLOutputType): ChargeFunction | undefined {
  if (isListType(getNullableType(type))) return chargeList
  return MAP_SCALAR_NAMES.has(getNamedType(type).name) ? chargeMap : undefined
}

function resolveAndCharge(resolve: Resolver, charge: ChargeFunction): Resolver {
  return (source, args, context, info) => {
    const value: unknown = resolve(source, args, context, info)
    return value instanceof Promise
      ? value.then((resolved: unknown) => charge(resolved, context, info))
      : charge(value, context, info)
  }
}

function chargeList(value: unknown, context: GraphQLContext, info: GraphQLResolveInfo): unknown {
  if (Array.isArray(value) && !takeFields(context.responseFieldBudget, value.length * fieldCountPerItem(info))) {
    throw responseTooLargeError(context.limits)
  }
  return value
}

/**
 * Throws only if no earlier value has exceeded the budget. If one has, returns null instead of the map, so that a long
 * list does not produce an error per item.
 */
function chargeMap(value: unknown, context: GraphQLContext): unknown {
  if (value === null || value === undefined) return value
  const wasExceeded = context.responseFieldBudget.isExceeded
  if (takeFields(context.responseFieldBudget, Math.ceil(writeJson(value).length / CHARS_PER_FIELD))) return value
  if (wasExceeded) return null
  throw responseTooLargeError(context.limits)
}

/** Takes fields from the budget. Returns false if too few are left, and from then on until the budget is reset. */
function takeFields(budget: ResponseFieldBudget, fieldCount: number): boolean {
  if (fieldCount > budget.fieldsLeft) budget.isExceeded = true
  else budget.fieldsLeft -= fieldCount
  return !budget.isExceeded
}

/** A cache keyed by `info.fieldNodes`: graphql-js passes the same array for every parent object of a field. */
const fieldCountPerItemCache = new WeakMap<readonly FieldNode[], number>()

/**
 * Counts the fields selected below an item, at all depths; an item without fields counts as one. Fields below a nested
 * list count once here, and again for each of its items when that list is resolved.
 */
function fieldCountPerItem(info: GraphQLResolveInfo): number {
  let fieldCount = fieldCountPerItemCache.get(info.fieldNodes)
  if (fieldCount === undefined) {
    fieldCount = Math.max(1, countFields(info.fieldNodes, info))
    fieldCountPerItemCache.set(info.fieldNodes, fieldCount)
  }
  return fieldCount
}

function countFields(parents: readonly FieldNode[], info: GraphQLResolveInfo): number {
  const subfields = selectedSubfields(parents, info)
  return subfields.length === 0 ? 0 : subfields.length + countFields(subfields, info)
}
