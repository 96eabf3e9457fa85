import { AGGREGATIONS } from '../../query/aggregations.ts'
import { builder } from '../builder.ts'

/** The GraphQL enum of aggregations. The internal value of each is its name in `QueryInput`, such as `p95`. */
export const AggregationEnum = builder.enumType('Aggregation', {
  description:
    'How the points of a bucket become one number. `Metric.aggregations` lists those that the type of a metric supports.',
  values: Object.fromEntries(
    AGGREGATIONS.map(({ name, description }) => [name.toUpperCase(), { value: name, description }]),
  ),
})
