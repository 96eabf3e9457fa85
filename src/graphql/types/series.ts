import { formatId, hashToId } from '../../model/id.ts'
import type { Aggregation } from '../../query/aggregations.ts'
import type { FilledLine, QueryResult, ResultGroup } from '../../query/compute/result.ts'
import { fillComparison, fillLine } from '../../query/compute/result.ts'
import { builder } from '../builder.ts'
import { finiteOrNull, tagsOf } from './group.ts'

/** A chart line: one aggregation of one group, in the requested range or in the earlier range of `compare`. */
export interface SeriesSource {
  readonly result: QueryResult
  readonly group: ResultGroup
  readonly aggregation: Aggregation
  readonly line: FilledLine
  /** Start and end of each bucket of the line's range. `line.bucketIndexes` are indexes in these two columns. */
  readonly times: Pick<QueryResult, 'startMs' | 'endMs'>
  /**
   * For a line of the earlier range (GraphQL `comparison`): the label of that range. Undefined for a line of the
   * requested range.
   */
  readonly earlierLabel: string | undefined
}

interface SeriesPointSource {
  readonly timeMs: number
  readonly isComplete: boolean
  readonly value: number | null
}

/** Returns a chart line for each group and aggregation: group by group, aggregations in the requested order. */
export function seriesSourcesOf(result: QueryResult): readonly SeriesSource[] {
  return result.groups.flatMap((group) =>
    result.aggregations.map((aggregation) => ({
      result,
      group,
      aggregation,
      line: fillLine(group, aggregation.name, result.fill),
      times: result,
      earlierLabel: undefined,
    })),
  )
}

const SeriesPointRef = builder.objectRef<SeriesPointSource>('SeriesPoint').implement({
  description: 'One point of a chart line: a bucket and its value.',
  fields: (t) => ({
    timestamp: t.expose('timeMs', {
      type: 'DateTime',
      description: 'Start of the bucket.',
    }),
    value: t.exposeFloat('value', {
      nullable: true,
      description: 'In the unit of the metric; null when there is no value.',
    }),
    complete: t.exposeBoolean('isComplete', {
      description: 'Whether the bucket has ended; the value of an open bucket still changes.',
    }),
  }),
})

export const SeriesRef = builder.objectRef<SeriesSource>('Series')

SeriesRef.implement({
  description: 'A chart line: one aggregation of one group. `timestamps` and `values` are columns of equal length.',
  fields: (t) => ({
    id: t.id({
      description: 'Stable across requests for the same metric, group and aggregation.',
      resolve: seriesKey,
    }),
    seriesId: t.id({
      nullable: true,
      description: 'Id of the stored series; null without `bySeries`.',
      resolve: ({ group }) => (group.series === undefined ? null : formatId(group.series.seriesId)),
    }),
    label: t.string({
      description:
        'Text for a legend: the aggregation, the tag values ("other" for the remainder) and the comparison. Example: "p95 · /users, eu · 1w before".',
      resolve: seriesLabel,
    }),
    tags: t.field({
      type: 'Tags',
      nullable: true,
      description:
        'Values of the `groupBy` tags, "" for a missing tag; all tags with `bySeries`. Null for the remainder of `top`.',
      resolve: ({ group }) => tagsOf(group),
    }),
    aggregation: t.string({
      description: 'Name in lower case; a quantile has the name of its percentile. Example: "p99.9".',
      resolve: ({ aggregation }) => aggregation.name,
    }),
    points: t.field({
      type: [SeriesPointRef],
      description: 'Sorted by time; `fill` decides about empty buckets.',
      resolve: ({ result, line, times }) =>
        line.bucketIndexes.map((bucketIndex, lineIndex) => ({
          timeMs: times.startMs[bucketIndex]!,
          isComplete: times.endMs[bucketIndex]! <= result.meta.nowMs,
          value: line.values[lineIndex]!,
        })),
    }),
    timestamps: t.floatList({
      description: 'Start of each bucket as UNIX time in milliseconds.',
      resolve: ({ line, times }) => line.bucketIndexes.map((bucketIndex) => times.startMs[bucketIndex]!),
    }),
    values: t.field({
      type: ['Float'],
      nullable: { list: false, items: true },
      description: 'In the unit of the metric; null when there is no value.',
      resolve: ({ line }) => line.values,
    }),
    total: t.float({
      nullable: true,
      description: 'The aggregation of the whole range, computed exactly and not from the buckets.',
      resolve: ({ group, aggregation }) => finiteOrNull(group.totals.get(aggregation.name)),
    }),
    comparison: t.field({
      type: SeriesRef,
      nullable: true,
      description:
        'The same line of the earlier range: compare `values[i]` with its `values[i]`, at its `timestamps[i]`. Null without `compare`.',
      resolve: comparisonOf,
    }),
  }),
})

/**
 * Returns the line of the same group and aggregation in the earlier range; null if the query has no `compare`, and for
 * a line of the earlier range itself. If the group has no data there, the values of the line are null or filled.
 */
function comparisonOf({ result, group, aggregation, earlierLabel }: SeriesSource): SeriesSource | null {
  const times = result.comparison
  const line = fillComparison(group, aggregation.name, result.fill)
  if (times === undefined || group.comparison === undefined || line === undefined || earlierLabel !== undefined)
    return null
  return { result, group: group.comparison, aggregation, line, times, earlierLabel: times.label }
}

/** Returns the id of a line. The same line has the same id in every result. */
function seriesKey({ result, group, aggregation, earlierLabel }: SeriesSource): string {
  const seriesId = group.series === undefined ? '' : formatId(group.series.seriesId)
  const kind = `${group.isRemainder === true ? 'remainder' : 'line'}${earlierLabel === undefined ? '' : ` ${earlierLabel}`}`
  return formatId(hashToId([kind, formatId(result.metric.metricId), aggregation.name, seriesId, ...group.tags.flat()]))
}

function seriesLabel({ group, aggregation, earlierLabel }: SeriesSource): string {
  const words = [aggregation.name]
  if (group.isRemainder === true) words.push('other')
  else if (group.tags.length > 0)
    words.push(group.tags.map(([key, value]) => (value === '' ? `no ${key}` : value)).join(', '))
  else if (group.series !== undefined) words.push('no tags')
  if (earlierLabel !== undefined) words.push(earlierLabel)
  return words.join(' · ')
}
