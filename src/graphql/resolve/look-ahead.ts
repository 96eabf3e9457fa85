import {
  type FieldNode,
  GraphQLIncludeDirective,
  type GraphQLResolveInfo,
  GraphQLSkipDirective,
  getArgumentValues,
  getDirectiveValues,
  isObjectType,
  Kind,
  type SelectionNode,
} from 'graphql'
import { assert, GatewayError } from '../../model/errors.ts'
import { type Aggregation, parseAggregation, quantileAggregation } from '../../query/plan/aggregation.ts'

/**
 * The selection set is the request: what `groups { total {…} buckets { values {…} } }` names has to be computed by the query
 * that the field runs, so it is read from the document before its resolvers run. Fragments, aliases, `@skip`, `@include`
 * and variables count as they do in execution.
 */
export function selectedAggregations(info: GraphQLResolveInfo): readonly Aggregation[] {
  const groups = subfields(info.fieldNodes, info).filter(named('groups'))
  const inGroups = subfields(groups, info)
  const totals = inGroups.filter(named('total'))
  const values = subfields(inGroups.filter(named('buckets')), info).filter(
    ({ name }) => name.value === 'values' || name.value === 'previous',
  )
  const byName = new Map<string, Aggregation>()
  for (const field of subfields([...totals, ...values], info)) {
    const aggregation = field.name.value === 'quantile' ? quantileOf(field, info) : parseAggregation(field.name.value)
    if (aggregation !== undefined) byName.set(aggregation.name, aggregation)
  }
  return [...byName.values()]
}

/** Whether anything over the whole range is named, in chart lines or in groups. */
export function selectsTotals(info: GraphQLResolveInfo): boolean {
  const lines = subfields(info.fieldNodes, info).filter(
    ({ name }) => name.value === 'series' || name.value === 'groups',
  )
  const inLines = subfields(lines, info)
  return [...inLines, ...subfields(inLines.filter(named('comparison')), info)].some(named('total'))
}

const named = (name: string) => (field: FieldNode) => field.name.value === name

function quantileOf(field: FieldNode, info: GraphQLResolveInfo): Aggregation {
  const type = info.schema.getType('Aggregates')
  assert(isObjectType(type), 'the schema has Aggregates')
  const definition = type.getFields()['quantile']
  assert(definition !== undefined, 'Aggregates has quantile')
  const q: unknown = getArgumentValues(definition, field, info.variableValues)['q']
  assert(typeof q === 'number', 'q is a required Float')
  if (!(q >= 0 && q <= 1)) {
    const name = field.alias?.value ?? field.name.value
    throw new GatewayError('invalid_aggregation', `${name}: quantile(q: ${q}) must have q from 0 to 1`)
  }
  return quantileAggregation(q)
}

/** The fields directly below these fields. Type conditions need no test: validation allows none that could not match. */
export function subfields(parents: readonly FieldNode[], info: GraphQLResolveInfo): readonly FieldNode[] {
  const fields: FieldNode[] = []
  const seen = new Set<string>()
  const collect = (selections: readonly SelectionNode[]): void => {
    for (const selection of selections) {
      if (!isIncluded(selection, info)) continue
      if (selection.kind === Kind.FIELD) {
        fields.push(selection)
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        collect(selection.selectionSet.selections)
      } else if (!seen.has(selection.name.value)) {
        seen.add(selection.name.value)
        collect(info.fragments[selection.name.value]?.selectionSet.selections ?? [])
      }
    }
  }
  for (const parent of parents) collect(parent.selectionSet?.selections ?? [])
  return fields
}

function isIncluded(selection: SelectionNode, info: GraphQLResolveInfo): boolean {
  if (selection.directives === undefined || selection.directives.length === 0) return true
  const skip = getDirectiveValues(GraphQLSkipDirective, selection, info.variableValues)
  const include = getDirectiveValues(GraphQLIncludeDirective, selection, info.variableValues)
  return skip?.['if'] !== true && include?.['if'] !== false
}
