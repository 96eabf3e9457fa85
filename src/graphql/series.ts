import { formatId, hashFields } from '../model/id.ts'
import type { Aggregation } from '../query/aggregation.ts'
import type { AnswerGroup, Line, QueryAnswer } from '../query/answer.ts'
import { fillLine } from '../query/answer.ts'
import { builder } from './builder.ts'
import { finiteOrNull, isComplete } from './group.ts'

export interface SeriesSource {
  readonly answer: QueryAnswer
  readonly group: AnswerGroup
  readonly aggregation: Aggregation
  readonly line: Line
}

interface PointSource {
  readonly answer: QueryAnswer
  readonly bucket: number
  readonly value: number | null
}

/** One chart line for each group and aggregation: group by group, aggregations in the order asked. */
export function seriesSources(answer: QueryAnswer): readonly SeriesSource[] {
  return answer.groups.flatMap((group) =>
    answer.aggregations.map((aggregation) => ({
      answer,
      group,
      aggregation,
      line: fillLine(group, aggregation.name, answer.fill),
    })),
  )
}

const SeriesPointRef = builder.objectRef<PointSource>('SeriesPoint').implement({
  description: 'One bucket of a chart line.',
  fields: (t) => ({
    timestamp: t.field({
      type: 'DateTime',
      description: 'Start of the bucket.',
      resolve: ({ answer, bucket }) => answer.startMs[bucket]!,
    }),
    value: t.float({
      nullable: true,
      description: 'In the unit of the metric; null where the number does not exist.',
      resolve: ({ value }) => value,
    }),
    complete: t.boolean({
      description: 'Whether the bucket has ended; the value of an open one may still change.',
      resolve: ({ answer, bucket }) => isComplete(answer, bucket),
    }),
  }),
})

export const SeriesRef = builder.objectRef<SeriesSource>('Series').implement({
  description:
    'A chart line: one aggregation of one group. `timestamps` and `values` are its columns, of equal length.',
  fields: (t) => ({
    id: t.id({
      description: 'The same for the same metric, group and aggregation in every answer: a key for a list of lines.',
      resolve: seriesKey,
    }),
    seriesId: t.id({
      nullable: true,
      description: 'Id of the stored series; null unless the query is by series.',
      resolve: ({ group }) => (group.series === undefined ? null : formatId(group.series.seriesId)),
    }),
    label: t.string({
      description: 'For a legend: the aggregation and the tag values. Example: "p95 · /users, eu".',
      resolve: seriesLabel,
    }),
    tags: t.field({
      type: 'Tags',
      description: 'The tags of the group, "" where a tag is missing; by series all tags of the series.',
      resolve: ({ group }) => group.tags,
    }),
    aggregation: t.string({
      description: 'Name of the aggregation, lower case; a quantile is named as its percentile. Example: "p99.9".',
      resolve: ({ aggregation }) => aggregation.name,
    }),
    points: t.field({
      type: [SeriesPointRef],
      description: 'In order of time; empty buckets as `fill` says.',
      resolve: ({ answer, line }) => line.bucket.map((bucket, row) => ({ answer, bucket, value: line.values[row]! })),
    }),
    timestamps: t.floatList({
      description: 'Start of each bucket, UNIX time in milliseconds.',
      resolve: ({ answer, line }) => line.bucket.map((bucket) => answer.startMs[bucket]!),
    }),
    values: t.field({
      type: ['Float'],
      nullable: { list: false, items: true },
      description: 'In the unit of the metric; null where the number does not exist.',
      resolve: ({ line }) => line.values,
    }),
    total: t.float({
      nullable: true,
      description: 'The aggregation over the whole range, exact: not derived from the buckets.',
      resolve: ({ group, aggregation }) => finiteOrNull(group.totals.get(aggregation.name)),
    }),
  }),
})

function seriesKey({ answer, group, aggregation }: SeriesSource): string {
  const seriesId = group.series === undefined ? '' : formatId(group.series.seriesId)
  return formatId(
    hashFields(['line', formatId(answer.metric.metricId), aggregation.name, seriesId, ...group.tags.flat()]),
  )
}

function seriesLabel({ group, aggregation }: SeriesSource): string {
  if (group.tags.length > 0) {
    return `${aggregation.name} · ${group.tags.map(([key, value]) => (value === '' ? `no ${key}` : value)).join(', ')}`
  }
  return group.series === undefined ? aggregation.name : `${aggregation.name} · no tags`
}
