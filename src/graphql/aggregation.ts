import { builder } from './builder.ts'

/** Values are the names that queries know. */
export const AggregationEnum = builder.enumType('Aggregation', {
  description:
    'One number asked of each bucket. Which ones a metric answers depends on its type: see `Metric.aggregations`.',
  values: {
    COUNT: {
      value: 'count',
      description: 'Number of points; of a SET the number of distinct members (standard error 0.81 %).',
    },
    SUM: { value: 'sum', description: 'Sum of values; of a COUNTER its increase in the bucket.' },
    AVG: { value: 'avg', description: 'Mean over all points of all series in the group.' },
    MIN: { value: 'min', description: 'Least value.' },
    MAX: { value: 'max', description: 'Greatest value.' },
    FIRST: { value: 'first', description: 'Value of the earliest point.' },
    LAST: { value: 'last', description: 'Value of the latest point; of a COUNTER the latest running total.' },
    RATE: { value: 'rate', description: 'Increase per second.' },
    P50: { value: 'p50', description: 'Median, within 1 % (like every percentile).' },
    P75: { value: 'p75', description: '75th percentile.' },
    P90: { value: 'p90', description: '90th percentile.' },
    P95: { value: 'p95', description: '95th percentile.' },
    P99: { value: 'p99', description: '99th percentile.' },
    P999: { value: 'p999', description: '99.9th percentile.' },
  } as const,
})

/** The values of {@link AggregationEnum}. */
export const AGGREGATION_NAMES = [
  'count',
  'sum',
  'avg',
  'min',
  'max',
  'first',
  'last',
  'rate',
  'p50',
  'p75',
  'p90',
  'p95',
  'p99',
  'p999',
] as const
