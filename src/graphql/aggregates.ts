import { quantileAggregation } from '../query/aggregation.ts'
import { AGGREGATION_NAMES } from './aggregation.ts'
import { builder } from './builder.ts'

/** Reads one number by the name of its aggregation; null where there is none. */
export type AggregatesSource = (name: string) => number | null

const DESCRIPTIONS: Readonly<Record<(typeof AGGREGATION_NAMES)[number], string>> = {
  count: 'Number of points; of a SET the number of distinct members.',
  sum: 'Sum of values; of a COUNTER its increase.',
  avg: 'Mean of all points.',
  min: 'Least value.',
  max: 'Greatest value.',
  first: 'Value of the earliest point.',
  last: 'Value of the latest point.',
  rate: 'Increase per second.',
  p50: 'Median, within 1 %.',
  p75: '75th percentile, within 1 %.',
  p90: '90th percentile, within 1 %.',
  p95: '95th percentile, within 1 %.',
  p99: '99th percentile, within 1 %.',
  p999: '99.9th percentile, within 1 %.',
}

export const AggregatesRef = builder.objectRef<AggregatesSource>('Aggregates').implement({
  description:
    'Numbers over one stretch of time. What is selected is computed; null where the number does not exist or the type of the metric does not answer it.',
  fields: (t) => ({
    ...Object.fromEntries(
      AGGREGATION_NAMES.map((name) => [
        name,
        t.float({ nullable: true, description: DESCRIPTIONS[name], resolve: (read) => read(name) }),
      ]),
    ),
    quantile: t.float({
      nullable: true,
      description: 'Any quantile of a DISTRIBUTION, within 1 %; of a HISTOGRAM interpolated within its buckets.',
      args: {
        q: t.arg.float({
          required: true,
          description: 'From 0 (the least value) to 1 (the greatest). Example: 0.999.',
        }),
      },
      resolve: (read, { q }) => read(quantileAggregation(q).name),
    }),
  }),
})
