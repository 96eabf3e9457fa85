import { AGGREGATIONS, quantileAggregation } from '../../query/aggregations.ts'
import { builder } from '../builder.ts'

/** Returns the value of an aggregation by its name; null when there is none. */
export type AggregatesSource = (name: string) => number | null

export const AggregatesRef = builder.objectRef<AggregatesSource>('Aggregates').implement({
  description:
    'Aggregations of one bucket or range. Only selected ones are computed; null when there is no value or the type of the metric does not support the aggregation.',
  fields: (t) => ({
    ...Object.fromEntries(
      AGGREGATIONS.map(({ name, description }) => [
        name,
        t.float({ nullable: true, description, resolve: (read) => read(name) }),
      ]),
    ),
    quantile: t.float({
      nullable: true,
      description: 'Any quantile: of a DISTRIBUTION within 1 %, of a HISTOGRAM interpolated within its buckets.',
      args: {
        q: t.arg.float({
          required: true,
          description: 'From 0 (the minimum) to 1 (the maximum). Example: 0.999.',
        }),
      },
      resolve: (read, { q }) => read(quantileAggregation(q).name),
    }),
  }),
})
