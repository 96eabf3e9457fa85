import { formatId, type Id64 } from '../../model/id.ts'
import { entryOf, HyperLogLog, unionEncoded } from '../../sketch/hyperloglog.ts'
import { type SetKey, type SetMembers, type WindowKey, windowWidthMs } from '../store.ts'
import { setKey, windowKey } from './keys.ts'
import { hasExpiredStretch, isExpired } from './stretches.ts'
import type { Tables } from './table.ts'
import type { WriteSet } from './write-set.ts'

/**
 * Stores set sketches: one HyperLogLog for each series and bucket of a set metric, at each set resolution. A
 * `SetChange` collects the members of a commit, so that each sketch is decoded and encoded only once. If the window of
 * a member has expired at one resolution, the member is added only at coarser resolutions.
 */
export class SetChange {
  readonly #writes: WriteSet
  readonly #partition: number
  readonly #resolutions: readonly number[]
  readonly #sketches = new Map<string, ChangedSketch>()
  /**
   * Whether a timeline has expired stretches, by metric id and resolution. Most timelines have none, and then no
   * look-up is needed for each bucket.
   */
  readonly #hasExpired = new Map<string, boolean>()

  constructor(writes: WriteSet, partition: number, resolutions: readonly number[]) {
    this.#writes = writes
    this.#partition = partition
    this.#resolutions = resolutions
  }

  add(set: SetMembers): void {
    const entries = set.members.map(entryOf)
    for (const resolutionMs of this.#resolutions) {
      const bucketMs = Math.floor(set.bucketMs / resolutionMs) * resolutionMs
      if (this.#isExpired(set.metricId, resolutionMs, bucketMs)) continue
      const target = this.#sketch(setKey(this.#partition, set.metricId, resolutionMs, bucketMs, set.seriesId))
      for (const entry of entries) {
        if (target.sketch.addEntry(entry)) (target.added ??= new HyperLogLog()).addEntry(entry)
      }
    }
  }

  write(): void {
    for (const { key, sketch, isNew, added } of this.#sketches.values()) {
      if (added === undefined) continue
      if (isNew) this.#writes.put('sets', key, sketch.encode())
      else this.#writes.putSketch('sets', key, sketch.encode(), added.encode())
    }
  }

  #isExpired(metricId: Id64, resolutionMs: number, bucketMs: number): boolean {
    const timeline = `${formatId(metricId)} ${resolutionMs}`
    let hasExpired = this.#hasExpired.get(timeline)
    if (hasExpired === undefined) {
      hasExpired = hasExpiredStretch(this.#writes.tables, this.#partition, metricId, resolutionMs)
      this.#hasExpired.set(timeline, hasExpired)
    }
    return hasExpired && isExpired(this.#writes.tables, this.#partition, metricId, resolutionMs, bucketMs)
  }

  #sketch(key: Buffer): ChangedSketch {
    const text = key.toString('latin1')
    let target = this.#sketches.get(text)
    if (target === undefined) {
      const bytes = this.#writes.tables.sets.get(key)
      const sketch = bytes === undefined ? new HyperLogLog() : HyperLogLog.decode(bytes)
      target = { key, sketch, isNew: bytes === undefined, added: undefined }
      this.#sketches.set(text, target)
    }
    return target
  }
}

interface ChangedSketch {
  readonly key: Buffer
  readonly sketch: HyperLogLog
  readonly isNew: boolean
  /** The members of this commit that the stored sketch lacks; undefined if there are none. */
  added: HyperLogLog | undefined
}

export function countDistinct(tables: Tables, partition: number, union: readonly SetKey[]): number {
  const united = new HyperLogLog()
  for (const { metricId, resolutionMs, bucketMs, seriesId } of union) {
    const bytes = tables.sets.get(setKey(partition, metricId, resolutionMs, bucketMs, seriesId))
    if (bytes !== undefined) unionEncoded(united, bytes)
  }
  return united.estimate()
}

/** Maximum number of sketches that one write removes, which takes a few milliseconds. */
export const SKETCHES_PER_REMOVAL_MAX = 1_000

/** Removes at most `SKETCHES_PER_REMOVAL_MAX` sketches of a window. Returns whether more are left. */
export function removeSketches(
  writes: WriteSet,
  partition: number,
  { metricId, resolutionMs, windowMs }: WindowKey,
): boolean {
  const start = windowKey(partition, metricId, resolutionMs, windowMs)
  const end = windowKey(partition, metricId, resolutionMs, windowMs + windowWidthMs(resolutionMs))
  let removed = 0
  for (const key of writes.tables.sets.keys({ start, end, limit: SKETCHES_PER_REMOVAL_MAX + 1 })) {
    if (removed === SKETCHES_PER_REMOVAL_MAX) return true
    writes.remove('sets', key)
    removed++
  }
  return false
}
