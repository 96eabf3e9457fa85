import { compareIds } from '../../model/id.ts'
import { fillComparison, fillLine, groupKey, type Line, type QueryResult, type ResultGroup } from '../compute/result.ts'

/**
 * The next update of a live query. A snapshot replaces everything that the client has. A patch holds the buckets that
 * are new or changed, and only groups with such buckets. The client removes buckets that start before `dropBeforeMs`,
 * and groups without buckets.
 */
export interface LiveUpdate {
  readonly kind: 'snapshot' | 'patch'
  /** In a patch: the changed part of the newest result, already filled. */
  readonly result: QueryResult
  readonly dropBeforeMs: number | undefined
}

export interface PatchOptions {
  /** Whether the client selects totals: a group with changed totals is then in a patch even without changed buckets. */
  readonly totals: boolean
  /** Whether groups are ordered by rank. A patch cannot change the order. */
  readonly ranked: boolean
}

export function snapshotOf(result: QueryResult): LiveUpdate {
  return { kind: 'snapshot', result, dropBeforeMs: undefined }
}

/** The update from one result to a later one: a snapshot if a patch cannot express it, undefined if they are equal. */
export function updateBetween(before: QueryResult, after: QueryResult, options: PatchOptions): LiveUpdate | undefined {
  const shift = shiftOf(before, after)
  if (shift === undefined) return snapshotOf(after)
  const known = new Map(before.groups.map((group) => [groupKey(group), group]))
  const groups: ResultGroup[] = []
  let place = -1
  const places = new Map([...known.keys()].map((key, index) => [key, index]))
  for (const group of after.groups) {
    const key = groupKey(group)
    const earlier = known.get(key)
    known.delete(key)
    const at = places.get(key)
    // The order changed, or a new group is ranked.
    if (at === undefined ? options.ranked : at < place) return snapshotOf(after)
    if (at !== undefined) place = at
    const changed = changedBuckets(before, earlier, after, group, shift)
    if (changed === undefined) return snapshotOf(after)
    const isChanged =
      changed.includes(1) || (options.totals && (earlier === undefined || !sameNumbers(earlier.totals, group.totals)))
    if (isChanged) groups.push(changedPart(after, group, changed))
  }
  // A removed group must have no buckets left after the client drops those before the range.
  for (const group of known.values()) {
    if (after.fill !== 'none' || options.ranked || listed(group).some((bucket) => bucket >= shift))
      return snapshotOf(after)
  }
  if (groups.length === 0 && shift === 0) return undefined
  return {
    kind: 'patch',
    result: { ...after, fill: 'none', groups },
    dropBeforeMs: shift > 0 ? after.startMs[0] : undefined,
  }
}

/** How many buckets the range has moved: bucket i was bucket i + shift before. Undefined: the buckets are different. */
function shiftOf(before: QueryResult, after: QueryResult): number | undefined {
  const isSame =
    before.interval === after.interval &&
    before.timezone === after.timezone &&
    before.comparison?.label === after.comparison?.label &&
    compareIds(before.metric.metricId, after.metric.metricId) === 0
  const shift = before.startMs.indexOf(after.startMs[0] ?? Number.NaN)
  if (!isSame || shift < 0) return undefined
  for (let i = 0; i + shift < before.startMs.length; i++) {
    if (before.startMs[i + shift] !== after.startMs[i]) return undefined
  }
  return shift
}

/** 1 for each bucket of the group that is new or changed. Undefined: a bucket was removed. */
function changedBuckets(
  before: QueryResult,
  earlier: ResultGroup | undefined,
  after: QueryResult,
  group: ResultGroup,
  shift: number,
): Uint8Array | undefined {
  const changed = new Uint8Array(after.startMs.length)
  for (const bucket of listed(group, after.fill)) changed[bucket] = 1
  if (earlier === undefined) return changed
  const shown = listed(earlier, before.fill)
  for (const bucket of shown) {
    if (bucket >= shift && changed[bucket - shift] === 0) return undefined
  }
  const differs = new Uint8Array(changed.length)
  for (const name of group.values.keys()) {
    markDifferences(fillLine(earlier, name, before.fill), fillLine(group, name, after.fill), shift, differs)
    const comparison = fillComparison(group, name, after.fill)
    const compared = fillComparison(earlier, name, before.fill)
    if (comparison !== undefined && compared !== undefined) markDifferences(compared, comparison, shift, differs)
  }
  for (const bucket of shown) {
    const i = bucket - shift
    if (i < 0) continue
    const wasComplete = before.endMs[bucket]! <= before.meta.nowMs
    if (differs[i] === 0 && wasComplete === after.endMs[i]! <= after.meta.nowMs) changed[i] = 0
  }
  return changed
}

function markDifferences(before: Line, after: Line, shift: number, differs: Uint8Array): void {
  let row = 0
  for (let i = 0; i < after.bucket.length; i++) {
    const bucket = after.bucket[i]! + shift
    while (row < before.bucket.length && before.bucket[row]! < bucket) row++
    // The mark does not matter for a bucket that was not shown before: it counts as changed anyway.
    if (before.values[row] !== after.values[i]) differs[after.bucket[i]!] = 1
  }
}

/** The buckets in a line of the group. */
function listed(group: ResultGroup, fill: QueryResult['fill'] = 'none'): readonly number[] {
  return fillLine(group, '', fill).bucket
}

/** The group with only these buckets, filled. */
function changedPart(result: QueryResult, group: ResultGroup, changed: Uint8Array): ResultGroup {
  const { comparison } = group
  const names = [...group.values.keys()]
  const columns = (fill: typeof fillComparison) =>
    new Map(names.map((name) => [name, columnOf(fill(group, name, result.fill), changed.length)]))
  return {
    ...group,
    present: changed,
    values: columns(fillLine),
    ...(comparison && { comparison: { ...comparison, present: changed, values: columns(fillComparison) } }),
  }
}

function columnOf(line: Line | undefined, buckets: number): Float64Array {
  const column = new Float64Array(buckets).fill(Number.NaN)
  line?.bucket.forEach((bucket, row) => {
    column[bucket] = line.values[row] ?? Number.NaN
  })
  return column
}

function sameNumbers(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean {
  for (const [name, value] of b) if (!Object.is(a.get(name), value)) return false
  return true
}
