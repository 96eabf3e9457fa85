import { type FieldNode, type GraphQLResolveInfo, getArgumentValues, isObjectType } from 'graphql'
import { assert, GatewayError } from '../../model/errors.ts'
import { type Aggregation, parseAggregation, quantileAggregation } from '../../query/aggregations.ts'
import { selectedSubfields } from './selection.ts'

/**
 * Finds the aggregations that a client selects as fields, as in `groups { total { p95 } buckets { values { avg } } }`.
 * The query must compute them before the resolvers of these fields run. Throws `invalid_aggregation`.
 */
export function selectedAggregations(info: GraphQLResolveInfo): readonly Aggregation[] {
  const groups = selectedSubfields(info.fieldNodes, info).filter(hasName('groups'))
  const groupFields = selectedSubfields(groups, info)
  const totals = groupFields.filter(hasName('total'))
  const values = selectedSubfields(groupFields.filter(hasName('buckets')), info).filter(hasName('values', 'previous'))
  const byName = new Map<string, Aggregation>()
  for (const field of selectedSubfields([...totals, ...values], info)) {
    const aggregation = field.name.value === 'quantile' ? quantileOf(field, info) : parseAggregation(field.name.value)
    if (aggregation !== undefined) byName.set(aggregation.name, aggregation)
  }
  return [...byName.values()]
}

/** Whether a total over the whole range is selected, in `series`, in its `comparison` or in `groups`. */
export function selectsTotals(info: GraphQLResolveInfo): boolean {
  const lineFields = selectedSubfields(
    selectedSubfields(info.fieldNodes, info).filter(hasName('series', 'groups')),
    info,
  )
  return [...lineFields, ...selectedSubfields(lineFields.filter(hasName('comparison')), info)].some(hasName('total'))
}

function hasName(...names: readonly string[]): (field: FieldNode) => boolean {
  return (field) => names.includes(field.name.value)
}

function quantileOf(field: FieldNode, info: GraphQLResolveInfo): Aggregation {
  const type = info.schema.getType('Aggregates')
  assert(isObjectType(type), 'the schema has Aggregates')
  const definition = type.getFields()['quantile']
  assert(definition !== undefined, 'Aggregates has quantile')
  const q: unknown = getArgumentValues(definition, field, info.variableValues)['q']
  assert(typeof q === 'number', 'q is a required Float')
  if (!(q >= 0 && q <= 1)) {
    const name = field.alias?.value ?? field.name.value
    throw new GatewayError('invalid_aggregation', `${name}: q of quantile must be from 0 to 1, not ${q}`)
  }
  return quantileAggregation(q)
}
