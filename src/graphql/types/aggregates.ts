import { AGGREGATIONS, quantileAggregation } from '../../query/plan/aggregation.ts'
import { builder } from '../builder.ts'

/** Reads one number by the name of its aggregation; null where there is none. */
export type AggregatesSource = (name: string) => number | null

export const AggregatesRef = builder.objectRef<AggregatesSource>('Aggregates').implement({
  description:
    'Numbers over one stretch of time. What is selected is computed; null where the number does not exist or the type of the metric does not answer it.',
  fields: (t) => ({
    ...Object.fromEntries(
      AGGREGATIONS.map(({ name, description }) => [
        name,
        t.float({ nullable: true, description, resolve: (read) => read(name) }),
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
