import type { Id64 } from '../../model/id.ts'
import { StepBudget, type Steps } from '../../model/steps.ts'
import { HyperLogLog, registerEntryOf } from '../../sketch/hyperloglog.ts'
import type { SetKey, SetMembers, WindowKey } from '../store.ts'
import { windowWidthMs } from '../windows.ts'
import { setKey, windowKey } from './keys.ts'
import { hasExpiredStretch, isTimeExpired } from './stretches.ts'
import { keyTextOf, type Tables } from './table.ts'
import { REMOVALS_PER_WRITE_MAX, type WriteSet } from './write-set.ts'

/**
 * Stores set sketches: one HyperLogLog for each series and bucket of a set metric, at each set resolution.
 *
 * A `SetChanges` collects the members of a commit, without reading a sketch from LMDB: layers collect the members that
 * are added to each sketch (`RowWrite`), and the next checkpoint adds these to the sketch in LMDB. A member is not
 * added at resolutions at which its window has expired.
 */
export class SetChanges {
  readonly #writes: WriteSet
  readonly #partition: number
  readonly #resolutions: readonly number[]
  readonly #changes = new Map<string, SketchChange>()
  /**
   * Whether a timeline has expired stretches, by resolution and metric id. If it has none, its buckets are not looked
   * up. The sets of a metric mostly share one id object, so the maps compare objects.
   */
  readonly #hasExpiredByTimeline = new Map<number, Map<Id64, boolean>>()

  constructor(writes: WriteSet, partition: number, resolutions: readonly number[]) {
    this.#writes = writes
    this.#partition = partition
    this.#resolutions = resolutions
  }

  add(set: SetMembers): void {
    // A new sketch is a sorted list of entries. Sorted entries are appended to it, others would be inserted.
    const entries = set.members.map(registerEntryOf).sort((a, b) => a - b)
    for (const resolutionMs of this.#resolutions) {
      const bucketMs = Math.floor(set.bucketMs / resolutionMs) * resolutionMs
      if (this.#isExpired(set.metricId, resolutionMs, bucketMs)) continue
      const key = setKey(this.#partition, set.metricId, resolutionMs, bucketMs, set.seriesId)
      const text = keyTextOf(key)
      let change = this.#changes.get(text)
      if (change === undefined) {
        change = { key, earlierMembers: this.#writes.tables.sets.addedMembers(text), newMembers: undefined }
        this.#changes.set(text, change)
      }
      for (const entry of entries) {
        if (!isInAny(change.earlierMembers, entry)) (change.newMembers ??= new HyperLogLog()).addEntry(entry)
      }
    }
  }

  write(): void {
    for (const { key, newMembers } of this.#changes.values()) {
      if (newMembers !== undefined) this.#writes.addMembers(key, newMembers)
    }
  }

  #isExpired(metricId: Id64, resolutionMs: number, bucketMs: number): boolean {
    let byMetric = this.#hasExpiredByTimeline.get(resolutionMs)
    if (byMetric === undefined) this.#hasExpiredByTimeline.set(resolutionMs, (byMetric = new Map()))
    let hasExpired = byMetric.get(metricId)
    if (hasExpired === undefined) {
      hasExpired = hasExpiredStretch(this.#writes.tables, this.#partition, metricId, resolutionMs)
      byMetric.set(metricId, hasExpired)
    }
    return hasExpired && isTimeExpired(this.#writes.tables, this.#partition, metricId, resolutionMs, bucketMs)
  }
}

interface SketchChange {
  readonly key: Buffer
  /** Members that earlier writes have added: they are in layers already, and in the journal or its next frame. */
  readonly earlierMembers: readonly HyperLogLog[]
  /** The other members of this commit; undefined if there are none. */
  newMembers: HyperLogLog | undefined
}

function isInAny(sketches: readonly HyperLogLog[], entry: number): boolean {
  for (const members of sketches) if (members.isUnchangedBy(entry)) return true
  return false
}

/** Units of work (`StepBudget`) of reading a sketch or of an estimate: up to about 20 µs. */
const SKETCH_STEP_UNITS = 512

/**
 * Returns the estimated number of members of each union. Each step sees the commits that are durable when it runs, so
 * later unions may have members of later commits.
 */
export function* countDistinct(
  tables: Tables,
  partition: number,
  unions: readonly (readonly SetKey[])[],
): Steps<readonly number[]> {
  const counts: number[] = []
  const budget = new StepBudget()
  for (const union of unions) {
    const united = new HyperLogLog()
    for (const { metricId, resolutionMs, bucketMs, seriesId } of union) {
      tables.sets.addMembersTo(united, setKey(partition, metricId, resolutionMs, bucketMs, seriesId))
      if (budget.spend(SKETCH_STEP_UNITS)) yield
    }
    counts.push(united.estimate())
    if (budget.spend(SKETCH_STEP_UNITS)) yield
  }
  return counts
}

/** Removes at most `REMOVALS_PER_WRITE_MAX` sketches of a window. Returns whether more are left. */
export function removeSketches(
  writes: WriteSet,
  partition: number,
  { metricId, resolutionMs, windowMs }: WindowKey,
): boolean {
  const start = windowKey(partition, metricId, resolutionMs, windowMs)
  const end = windowKey(partition, metricId, resolutionMs, windowMs + windowWidthMs(resolutionMs))
  let removed = 0
  for (const key of writes.tables.sets.keys({ start, end, limit: REMOVALS_PER_WRITE_MAX + 1 })) {
    if (removed === REMOVALS_PER_WRITE_MAX) return true
    writes.remove('sets', key)
    removed++
  }
  return false
}
