import { type AnswerGroup, fillComparison, fillLine, type Line, type QueryAnswer } from '../../query/compute/result.ts'
import { builder } from '../builder.ts'
import { AggregatesRef } from './aggregates.ts'

/** A group of an answer, whose columns are filled when they are first read. */
export interface GroupSource {
  readonly answer: QueryAnswer
  readonly group: AnswerGroup
  /** The column of an aggregation, undefined when it was not computed. */
  readonly line: (name: string) => Line | undefined
  /** The same of the period that it is compared with. */
  readonly comparison: (name: string) => Line | undefined
}

interface BucketSource {
  readonly parent: GroupSource
  /** Position in the answer's row of buckets. */
  readonly bucket: number
  /** Position in the group's lines. */
  readonly row: number
}

export function groupSource(answer: QueryAnswer, group: AnswerGroup): GroupSource {
  const linesOf = (fill: typeof fillComparison): GroupSource['line'] => {
    const lines = new Map<string, Line | undefined>()
    return (name) => {
      if (!lines.has(name)) lines.set(name, group.values.has(name) ? fill(group, name, answer.fill) : undefined)
      return lines.get(name)
    }
  }
  return { answer, group, line: linesOf(fillLine), comparison: linesOf(fillComparison) }
}

/** Null of a remainder, which no tag value can look like. */
export function tagsOf(group: AnswerGroup): AnswerGroup['tags'] | null {
  return group.isRemainder === true ? null : group.tags
}

/** A number for an answer: GraphQL has no NaN. */
export function finiteOrNull(value: number | undefined): number | null {
  return value !== undefined && Number.isFinite(value) ? value : null
}

/** A bucket is complete when its (exclusive) end has passed. */
export function isComplete(answer: QueryAnswer, bucket: number): boolean {
  return answer.endMs[bucket]! <= answer.meta.nowMs
}

const BucketRef = builder.objectRef<BucketSource>('Bucket').implement({
  description: 'A stretch of time and what is known of it.',
  fields: (t) => ({
    start: t.field({
      type: 'DateTime',
      description: 'First instant of the bucket.',
      resolve: ({ parent, bucket }) => parent.answer.startMs[bucket]!,
    }),
    end: t.field({
      type: 'DateTime',
      description: 'End of the bucket, exclusive.',
      resolve: ({ parent, bucket }) => parent.answer.endMs[bucket]!,
    }),
    complete: t.boolean({
      description: 'Whether the bucket has ended; the numbers of an open one still grow.',
      resolve: ({ parent, bucket }) => isComplete(parent.answer, bucket),
    }),
    values: t.field({
      type: AggregatesRef,
      description: 'The numbers of this bucket.',
      resolve:
        ({ parent, row }) =>
        (name) =>
          parent.line(name)?.values[row] ?? null,
    }),
    previous: t.field({
      type: AggregatesRef,
      nullable: true,
      description:
        'The numbers of the bucket that this one is compared with; null without `compare`, and where the clock or the calendar skipped that bucket (February 30).',
      resolve: ({ parent, bucket, row }) => {
        const times = parent.answer.comparison
        if (times === undefined || times.endMs[bucket]! <= times.startMs[bucket]!) return null
        return (name: string) => parent.comparison(name)?.values[row] ?? null
      },
    }),
  }),
})

export const GroupRef = builder.objectRef<GroupSource>('Group').implement({
  description: 'The series that share the values of the tags grouped by; without grouping all of them.',
  fields: (t) => ({
    tags: t.field({
      type: 'Tags',
      nullable: true,
      description:
        'The values of the tags grouped by, "" where a tag is missing; by series all tags of the series. Null of the remainder that `top` with `other` adds.',
      resolve: ({ group }) => tagsOf(group),
    }),
    tag: t.string({
      nullable: true,
      description: 'One of `tags`; null when the group has no such tag.',
      args: { key: t.arg.string({ required: true, description: 'A tag key. Example: "endpoint".' }) },
      resolve: ({ group }, { key }) => group.tags.find(([name]) => name === key)?.[1] ?? null,
    }),
    total: t.field({
      type: AggregatesRef,
      description: 'The numbers of the whole range, exact: not derived from those of the buckets.',
      resolve:
        ({ group }) =>
        (name) =>
          finiteOrNull(group.totals.get(name)),
    }),
    buckets: t.field({
      type: [BucketRef],
      description: 'In order of time; empty buckets as `fill` says.',
      resolve: (parent) =>
        fillLine(parent.group, '', parent.answer.fill).bucket.map((bucket, row) => ({ parent, bucket, row })),
    }),
  }),
})
