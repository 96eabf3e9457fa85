import { AGGREGATIONS } from '../../query/plan/aggregation.ts'
import { builder } from '../builder.ts'

/** Values are the names that queries use. */
export const AggregationEnum = builder.enumType('Aggregation', {
  description:
    'One number computed for each bucket. Which ones a metric has depends on its type: see `Metric.aggregations`.',
  values: Object.fromEntries(
    AGGREGATIONS.map(({ name, description }) => [name.toUpperCase(), { value: name, description }]),
  ),
})
