import { AGGREGATIONS } from '../../query/plan/aggregation.ts'
import { builder } from '../builder.ts'

/** The internal value of an enum value is the name that queries use. */
export const AggregationEnum = builder.enumType('Aggregation', {
  description:
    'How the points of a bucket become one number. `Metric.aggregations` lists those that the type of a metric supports.',
  values: Object.fromEntries(
    AGGREGATIONS.map(({ name, description }) => [name.toUpperCase(), { value: name, description }]),
  ),
})
