import { HyperLogLog, unionEncoded } from '../../sketch/hyperloglog.ts'
import { type SetKey, type SetMembers, windowWidthMs } from '../store.ts'
import { setKey, windowKey } from './keys.ts'
import { isExpired } from './stretches.ts'
import type { Tables } from './table.ts'
import type { WriteSet } from './write-set.ts'

/**
 * Set sketches: one HyperLogLog per series and bucket of a set metric, at each set resolution. A `SetChange` collects
 * the members of a commit, so that each sketch is decoded and encoded once. Members in an expired stretch of a
 * resolution are skipped there; a coarser resolution holds them.
 */
export class SetChange {
  readonly #writes: WriteSet
  readonly #partition: number
  readonly #resolutions: readonly number[]
  readonly #sketches = new Map<string, Sketch>()

  constructor(writes: WriteSet, partition: number, resolutions: readonly number[]) {
    this.#writes = writes
    this.#partition = partition
    this.#resolutions = resolutions
  }

  add(set: SetMembers): void {
    for (const resolutionMs of this.#resolutions) {
      const bucketMs = Math.floor(set.bucketMs / resolutionMs) * resolutionMs
      if (isExpired(this.#writes.tables, this.#partition, set.metricId, resolutionMs, bucketMs)) continue
      const target = this.#sketch(setKey(this.#partition, set.metricId, resolutionMs, bucketMs, set.seriesId))
      for (const member of set.members) {
        if (target.sketch.add(member)) (target.added ??= new HyperLogLog()).add(member)
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

  #sketch(key: Buffer): Sketch {
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

interface Sketch {
  readonly key: Buffer
  readonly sketch: HyperLogLog
  readonly isNew: boolean
  /** The members of this commit that changed it. */
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

/** Removes the sketches of a window: one transaction, however many there are. */
export function removeSets(
  writes: WriteSet,
  partition: number,
  timeline: Pick<SetKey, 'metricId' | 'resolutionMs'>,
  windowMs: number,
): void {
  const { metricId, resolutionMs } = timeline
  const start = windowKey(partition, metricId, resolutionMs, windowMs)
  const end = windowKey(partition, metricId, resolutionMs, windowMs + windowWidthMs(resolutionMs))
  for (const key of writes.tables.sets.keys({ start, end })) writes.remove('sets', key)
}
