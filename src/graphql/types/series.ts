import { formatId, hashFields } from '../../model/id.ts'
import type { AnswerGroup, Line, QueryAnswer } from '../../query/compute/result.ts'
import { fillComparison, fillLine } from '../../query/compute/result.ts'
import type { Aggregation } from '../../query/plan/aggregation.ts'
import { builder } from '../builder.ts'
import { finiteOrNull, tagsOf } from './group.ts'

export interface SeriesSource {
  readonly answer: QueryAnswer
  readonly group: AnswerGroup
  readonly aggregation: Aggregation
  readonly line: Line
  /** Start and end of each bucket. */
  readonly times: Pick<QueryAnswer, 'startMs' | 'endMs'>
  /** Of a line of the earlier period: how it is called. */
  readonly earlier: string | undefined
}

interface PointSource {
  readonly timeMs: number
  readonly isComplete: boolean
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
      times: answer,
      earlier: undefined,
    })),
  )
}

const SeriesPointRef = builder.objectRef<PointSource>('SeriesPoint').implement({
  description: 'One bucket of a chart line.',
  fields: (t) => ({
    timestamp: t.field({
      type: 'DateTime',
      description: 'Start of the bucket.',
      resolve: ({ timeMs }) => timeMs,
    }),
    value: t.float({
      nullable: true,
      description: 'In the unit of the metric; null where the number does not exist.',
      resolve: ({ value }) => value,
    }),
    complete: t.boolean({
      description: 'Whether the bucket has ended; the value of an open one may still change.',
      resolve: (point) => point.isComplete,
    }),
  }),
})

export const SeriesRef = builder.objectRef<SeriesSource>('Series')

SeriesRef.implement({
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
      description:
        'For a legend: the aggregation and the tag values, "other" for a remainder, and of a comparison what it is. Example: "p95 · /users, eu · 1w before".',
      resolve: seriesLabel,
    }),
    tags: t.field({
      type: 'Tags',
      nullable: true,
      description:
        'The tags of the group, "" where a tag is missing; by series all tags of the series. Null of the remainder that `top` with `other` adds.',
      resolve: ({ group }) => tagsOf(group),
    }),
    aggregation: t.string({
      description: 'Name of the aggregation, lower case; a quantile is named as its percentile. Example: "p99.9".',
      resolve: ({ aggregation }) => aggregation.name,
    }),
    points: t.field({
      type: [SeriesPointRef],
      description: 'In order of time; empty buckets as `fill` says.',
      resolve: ({ answer, line, times }) =>
        line.bucket.map((bucket, row) => ({
          timeMs: times.startMs[bucket]!,
          isComplete: times.endMs[bucket]! <= answer.meta.nowMs,
          value: line.values[row]!,
        })),
    }),
    timestamps: t.floatList({
      description: 'Start of each bucket, UNIX time in milliseconds.',
      resolve: ({ line, times }) => line.bucket.map((bucket) => times.startMs[bucket]!),
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
    comparison: t.field({
      type: SeriesRef,
      nullable: true,
      description:
        'The same line of the range that `compare` names, row for row: its `values[i]` is held against this `values[i]`, its `timestamps[i]` is when that was. Null without `compare`.',
      resolve: comparisonOf,
    }),
  }),
})

/** The lines of groups without data in the earlier period are there, with no values. */
function comparisonOf({ answer, group, aggregation, earlier }: SeriesSource): SeriesSource | null {
  const times = answer.comparison
  const line = fillComparison(group, aggregation.name, answer.fill)
  if (times === undefined || group.comparison === undefined || line === undefined || earlier !== undefined) return null
  return { answer, group: group.comparison, aggregation, line, times, earlier: times.label }
}

function seriesKey({ answer, group, aggregation, earlier }: SeriesSource): string {
  const seriesId = group.series === undefined ? '' : formatId(group.series.seriesId)
  const kind = `${group.isRemainder === true ? 'remainder' : 'line'}${earlier === undefined ? '' : ` ${earlier}`}`
  return formatId(
    hashFields([kind, formatId(answer.metric.metricId), aggregation.name, seriesId, ...group.tags.flat()]),
  )
}

function seriesLabel({ group, aggregation, earlier }: SeriesSource): string {
  const words = [aggregation.name]
  if (group.isRemainder === true) words.push('other')
  else if (group.tags.length > 0)
    words.push(group.tags.map(([key, value]) => (value === '' ? `no ${key}` : value)).join(', '))
  else if (group.series !== undefined) words.push('no tags')
  if (earlier !== undefined) words.push(earlier)
  return words.join(' · ')
}
