import { compareIds } from '../../model/id.ts'
import {
  type FilledLine,
  fillComparison,
  fillLine,
  groupKey,
  type QueryResult,
  type ResultGroup,
} from '../compute/result.ts'

/**
 * The next update of a live query. A snapshot replaces everything that the client has. A patch has only new and changed
 * buckets, and only the groups that changed. The client removes the buckets that start before `dropBeforeMs`, and then
 * groups without buckets.
 */
export interface LiveUpdate {
  readonly kind: 'snapshot' | 'patch'
  /** In a snapshot the whole result. In a patch the changed part of the newest result, already filled (`fillLine`). */
  readonly result: QueryResult
  /** Undefined if the client has nothing to remove. */
  readonly dropBeforeMs: number | undefined
}

export interface PatchOptions {
  /** Whether the client selects totals. If so, a patch also holds groups of which only the totals changed. */
  readonly withTotals: boolean
  /** Whether groups are sorted by rank. A patch cannot change the order of groups. */
  readonly isRanked: boolean
}

export function snapshotOf(result: QueryResult): LiveUpdate {
  return { kind: 'snapshot', result, dropBeforeMs: undefined }
}

/**
 * Returns the update from one result to a later one: a snapshot if a patch cannot express it, undefined if the client
 * has everything already.
 */
export function updateBetween(before: QueryResult, after: QueryResult, options: PatchOptions): LiveUpdate | undefined {
  const shift = bucketShiftBetween(before, after)
  if (shift === undefined) return snapshotOf(after)
  const remainingGroups = new Map(before.groups.map((group) => [groupKey(group), group]))
  const groups: ResultGroup[] = []
  let lastPosition = -1
  const positions = new Map([...remainingGroups.keys()].map((key, index) => [key, index]))
  for (const group of after.groups) {
    const key = groupKey(group)
    const previousGroup = remainingGroups.get(key)
    remainingGroups.delete(key)
    const position = positions.get(key)
    // A patch cannot change the order of groups. A new group could belong anywhere in a ranking.
    if (position === undefined ? options.isRanked : position < lastPosition) return snapshotOf(after)
    if (position !== undefined) lastPosition = position
    const changed = changedBuckets(before, previousGroup, after, group, shift)
    if (changed === undefined) return snapshotOf(after)
    const isChanged =
      changed.includes(1) ||
      (options.withTotals && (previousGroup === undefined || !haveSameTotals(previousGroup, group)))
    if (isChanged) groups.push(onlyChangedBuckets(after, group, changed))
  }
  // A patch can remove a group only if the client has none of its buckets left, after it drops those before the range.
  for (const group of remainingGroups.values()) {
    if (after.fill !== 'none' || options.isRanked || bucketsInLine(group).some((bucket) => bucket >= shift))
      return snapshotOf(after)
  }
  if (groups.length === 0 && shift === 0) return undefined
  return {
    kind: 'patch',
    result: { ...after, fill: 'none', groups },
    dropBeforeMs: shift > 0 ? after.startMs[0] : undefined,
  }
}

/**
 * Returns by how many buckets the range moved: bucket i of `after` is bucket i + shift of `before`. Returns undefined
 * if the buckets do not match in this way, or if interval, time zone, metric or kind of comparison differ.
 */
function bucketShiftBetween(before: QueryResult, after: QueryResult): number | undefined {
  const areComparable =
    before.interval === after.interval &&
    before.timezone === after.timezone &&
    before.comparison?.label === after.comparison?.label &&
    compareIds(before.metric.metricId, after.metric.metricId) === 0
  const shift = before.startMs.indexOf(after.startMs[0] ?? Number.NaN)
  if (!areComparable || shift < 0) return undefined
  for (let i = 0; i + shift < before.startMs.length; i++) {
    if (before.startMs[i + shift] !== after.startMs[i]) return undefined
  }
  return shift
}

/**
 * Returns one entry per bucket of `after`: 1 = the group has this bucket, and the bucket is new, has another value here
 * or in the earlier period, or its end has passed since `before`. Undefined if the group lost a bucket that is still in
 * the range. `previousGroup` is the group in `before`; undefined if the group is new.
 */
function changedBuckets(
  before: QueryResult,
  previousGroup: ResultGroup | undefined,
  after: QueryResult,
  group: ResultGroup,
  shift: number,
): Uint8Array | undefined {
  const changed = new Uint8Array(after.startMs.length)
  for (const bucket of bucketsInLine(group, after.fill)) changed[bucket] = 1
  if (previousGroup === undefined) return changed
  const previousBuckets = bucketsInLine(previousGroup, before.fill)
  for (const bucket of previousBuckets) {
    if (bucket >= shift && changed[bucket - shift] === 0) return undefined
  }
  const differs = new Uint8Array(changed.length)
  for (const name of group.values.keys()) {
    markDifferences(fillLine(previousGroup, name, before.fill), fillLine(group, name, after.fill), shift, differs)
    const comparison = fillComparison(group, name, after.fill)
    const previousComparison = fillComparison(previousGroup, name, before.fill)
    if (comparison !== undefined && previousComparison !== undefined)
      markDifferences(previousComparison, comparison, shift, differs)
  }
  for (const bucket of previousBuckets) {
    const i = bucket - shift
    if (i < 0) continue
    const wasComplete = before.endMs[bucket]! <= before.meta.nowMs
    if (differs[i] === 0 && wasComplete === after.endMs[i]! <= after.meta.nowMs) changed[i] = 0
  }
  return changed
}

/** Sets `differs` to 1 for each bucket of `after` whose value is not the same in `before`. */
function markDifferences(before: FilledLine, after: FilledLine, shift: number, differs: Uint8Array): void {
  let row = 0
  for (let i = 0; i < after.bucketIndexes.length; i++) {
    const bucket = after.bucketIndexes[i]! + shift
    while (row < before.bucketIndexes.length && before.bucketIndexes[row]! < bucket) row++
    // If `before` lacks this bucket, the comparison is meaningless but harmless: a new bucket counts as changed anyway.
    if (before.values[row] !== after.values[i]) differs[after.bucketIndexes[i]!] = 1
  }
}

/** Returns the indexes of the buckets that a line of the group has after filling. */
function bucketsInLine(group: ResultGroup, fill: QueryResult['fill'] = 'none'): readonly number[] {
  return fillLine(group, '', fill).bucketIndexes
}

/** Returns the group reduced to its changed buckets, with filled values. */
function onlyChangedBuckets(result: QueryResult, group: ResultGroup, changed: Uint8Array): ResultGroup {
  const { comparison } = group
  const names = [...group.values.keys()]
  const columns = (lineOf: typeof fillComparison) =>
    new Map(names.map((name) => [name, columnOfLine(lineOf(group, name, result.fill), changed.length)]))
  return {
    ...group,
    bucketStates: changed,
    values: columns(fillLine),
    ...(comparison && { comparison: { ...comparison, bucketStates: changed, values: columns(fillComparison) } }),
  }
}

/** Returns the values of a line as a column with one entry per bucket; NaN where the line has none. */
function columnOfLine(line: FilledLine | undefined, bucketCount: number): Float64Array {
  const column = new Float64Array(bucketCount).fill(Number.NaN)
  line?.bucketIndexes.forEach((bucket, row) => {
    column[bucket] = line.values[row] ?? Number.NaN
  })
  return column
}

/** Whether two groups have the same totals, also in the earlier period. A missing total counts as NaN. */
function haveSameTotals(a: ResultGroup, b: ResultGroup): boolean {
  for (const name of new Set([...a.totals.keys(), ...b.totals.keys()]))
    if (!Object.is(a.totals.get(name) ?? Number.NaN, b.totals.get(name) ?? Number.NaN)) return false
  return a.comparison === undefined || b.comparison === undefined || haveSameTotals(a.comparison, b.comparison)
}
