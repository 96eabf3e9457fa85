import {
  type FilledLine,
  fillComparison,
  fillLine,
  type QueryResult,
  type ResultGroup,
} from '../../query/compute/result.ts'
import { builder } from '../builder.ts'
import { AggregatesRef } from './aggregates.ts'

/** A group of a result. The line of an aggregation (its values, with `fill` applied) is built when it is first read. */
export interface GroupSource {
  readonly result: QueryResult
  readonly group: ResultGroup
  /** Returns the line of an aggregation, by its name; undefined if the query did not compute it. */
  readonly lineOf: (name: string) => FilledLine | undefined
  /** Returns the same for the earlier range of `compare`; undefined also if the query has no `compare`. */
  readonly comparisonLineOf: (name: string) => FilledLine | undefined
}

interface BucketSource {
  readonly parent: GroupSource
  /** Index among the buckets of the result. */
  readonly bucketIndex: number
  /** Index in the lines of the group. It may be lower than `bucketIndex`, because `fill: none` leaves out buckets. */
  readonly lineIndex: number
}

export function groupSource(result: QueryResult, group: ResultGroup): GroupSource {
  const linesOf = (fill: typeof fillComparison): GroupSource['lineOf'] => {
    const lines = new Map<string, FilledLine | undefined>()
    return (name) => {
      if (!lines.has(name)) lines.set(name, group.values.has(name) ? fill(group, name, result.fill) : undefined)
      return lines.get(name)
    }
  }
  return { result, group, lineOf: linesOf(fillLine), comparisonLineOf: linesOf(fillComparison) }
}

/**
 * Returns the tags of a group. Returns null for the remainder (all groups outside of the top n, merged), because an
 * empty list could be the tags of an ordinary group.
 */
export function tagsOf(group: ResultGroup): ResultGroup['tags'] | null {
  return group.isRemainder === true ? null : group.tags
}

/** Replaces undefined by null, and also NaN and infinities, because GraphQL cannot represent them. */
export function finiteOrNull(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null
}

/** Whether a bucket had ended when the query ran. */
export function isBucketComplete(result: QueryResult, bucketIndex: number): boolean {
  return result.endMs[bucketIndex]! <= result.meta.nowMs
}

const BucketRef = builder.objectRef<BucketSource>('Bucket').implement({
  description: 'One time bucket of a group.',
  fields: (t) => ({
    start: t.field({
      type: 'DateTime',
      description: 'Start of the bucket, inclusive.',
      resolve: ({ parent, bucketIndex }) => parent.result.startMs[bucketIndex]!,
    }),
    end: t.field({
      type: 'DateTime',
      description: 'End of the bucket, exclusive.',
      resolve: ({ parent, bucketIndex }) => parent.result.endMs[bucketIndex]!,
    }),
    complete: t.boolean({
      description: 'Whether the bucket has ended; values of an open bucket still change.',
      resolve: ({ parent, bucketIndex }) => isBucketComplete(parent.result, bucketIndex),
    }),
    values: t.field({
      type: AggregatesRef,
      description: 'Aggregations of this bucket.',
      resolve:
        ({ parent, lineIndex }) =>
        (name) =>
          parent.lineOf(name)?.values[lineIndex] ?? null,
    }),
    previous: t.field({
      type: AggregatesRef,
      nullable: true,
      description:
        'Aggregations of the bucket it is compared with. Null without `compare`, and when that bucket does not exist, such as February 30.',
      resolve: ({ parent, bucketIndex, lineIndex }) => {
        const comparison = parent.result.comparison
        if (comparison === undefined || comparison.endMs[bucketIndex]! <= comparison.startMs[bucketIndex]!) return null
        return (name: string) => parent.comparisonLineOf(name)?.values[lineIndex] ?? null
      },
    }),
  }),
})

export const GroupRef = builder.objectRef<GroupSource>('Group').implement({
  description: 'Series with equal values of the `groupBy` tags; all series without grouping.',
  fields: (t) => ({
    tags: t.field({
      type: 'Tags',
      nullable: true,
      description:
        'Values of the `groupBy` tags, "" for a missing tag; all tags with `bySeries`. Null for the remainder of `top`.',
      resolve: ({ group }) => tagsOf(group),
    }),
    tag: t.string({
      nullable: true,
      description: 'Value of one tag; null when `tags` does not have it.',
      args: { key: t.arg.string({ required: true, description: 'A tag key. Example: "endpoint".' }) },
      resolve: ({ group }, { key }) => group.tags.find(([name]) => name === key)?.[1] ?? null,
    }),
    total: t.field({
      type: AggregatesRef,
      description: 'Aggregations of the whole range, computed exactly and not from the buckets.',
      resolve:
        ({ group }) =>
        (name) =>
          finiteOrNull(group.totals.get(name)),
    }),
    buckets: t.field({
      type: [BucketRef],
      description: 'Sorted by time; `fill` decides about empty buckets.',
      resolve: (parent) =>
        fillLine(parent.group, '', parent.result.fill).bucketIndexes.map((bucketIndex, lineIndex) => ({
          parent,
          bucketIndex,
          lineIndex,
        })),
    }),
  }),
})
