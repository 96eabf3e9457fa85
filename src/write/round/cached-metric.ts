import { randomInt } from 'node:crypto'
import type { Id64 } from '../../model/id.ts'
import { type MetricType, type RollupKind, rollupKindOf } from '../../model/metric.ts'
import type { MetricMetadata, SeriesRef } from '../../model/point.ts'
import { areTagsEqual, type CanonicalTags, SharedTagPairs } from '../../model/series.ts'
import type { MetricDefinition, MetricRow } from '../../store/catalog.ts'

/**
 * Metrics and series as the registry caches them. A metric also counts the places for new series and tag keys that
 * requests in progress have reserved.
 */

/**
 * A metric name together with the type that the points of a request have. If the stored metric has another type, these
 * points are rejected.
 */
export class Metric {
  readonly project: string
  readonly name: string
  readonly type: MetricType
  readonly kind: RollupKind
  /**
   * Unit and description of the first item that had any while `row` was undefined. Stored only if this process defines
   * the metric.
   */
  metadata: MetricMetadata | undefined = undefined
  /**
   * The row in the store, without its tag keys. Undefined: not read yet, to be read again, or the metric is not
   * defined. Its type may differ from `type`.
   */
  row: MetricRow | undefined = undefined
  /** The time at which `row` was read, or at which the metric's definition began. */
  rowReadMs = 0
  /** The definition. Each commit with the metric repeats it, so that a store that lost the row can create it again. */
  #definition: MetricDefinition | undefined = undefined
  /**
   * Number of requests that have claimed the metric: each of them will define it, if no other request does so first.
   */
  definingRequestCount = 0
  /** Whether a request that has claimed the metric has sent the definition to the store. */
  isDefinitionSent = false
  /**
   * Estimated number of series in the store. It is too great after commits have registered series that the store
   * already had. `refresh` corrects it when the limit of series would be exceeded.
   */
  #storedSeriesCount = 0
  /**
   * Number of series for which requests have reserved a place, without those that count as stored
   * (`Series.isCountedAsStored`). The store may have some of them, for example from another gateway.
   */
  #reservedSeriesCount = 0
  /** Number of series that count as stored because a commit of this process registered them. It only grows. */
  registeredSeriesCount = 0
  /** Tag keys that are known to be in the store. */
  #tagKeys: Set<string> | undefined = undefined
  /** Tag keys that are not known to be in the store, each with the number of series that have reserved it. */
  #reservedTagKeys: Map<string, number> | undefined = undefined
  /** By `hashOf` of their tags. Undefined until the first series is created. */
  #seriesByHash: Map<number, Series> | undefined = undefined
  /** Series whose hash another series had before, by `keyOf` of their tags. */
  #seriesWithSameHash: Map<string, Series> | undefined = undefined
  #sharedTagPairs: SharedTagPairs | undefined = undefined
  /**
   * How much the series of this metric count towards `RegistryLimits.registryEntriesMax`: 1 for each series, and 1 for
   * each `CHARS_PER_ENTRY` characters of its tags.
   */
  registryEntries = 0
  /** Number of the last attempt to decode a body (see `PointBatch`) that found the metric unknown. */
  newInAttempt = 0
  /** The number of the last `Round` with points of this metric, and the metric's index in that round. 0: none. */
  lastRoundNumber = 0
  indexInLastRound = 0

  constructor(project: string, name: string, type: MetricType) {
    this.project = project
    this.name = name
    this.type = type
    this.kind = rollupKindOf(type)
  }

  get definition(): MetricDefinition {
    this.#definition ??= { project: this.project, name: this.name, type: this.type }
    return this.#definition
  }

  /** Returns the series with these tags, and creates it if it does not exist. */
  seriesOf(tags: CanonicalTags): Series {
    this.#seriesByHash ??= new Map()
    const hash = hashOf(tags)
    const sameHash = this.#seriesByHash.get(hash)
    if (sameHash !== undefined && areTagsEqual(sameHash.tags, tags)) return sameHash
    if (sameHash !== undefined) return this.#seriesWithUsedHash(tags)
    const series = this.#newSeries(tags)
    this.#seriesByHash.set(hash, series)
    return series
  }

  #seriesWithUsedHash(tags: CanonicalTags): Series {
    this.#seriesWithSameHash ??= new Map()
    const key = keyOf(tags)
    let series = this.#seriesWithSameHash.get(key)
    if (series === undefined) this.#seriesWithSameHash.set(key, (series = this.#newSeries(tags)))
    return series
  }

  #newSeries(tags: CanonicalTags): Series {
    this.#sharedTagPairs ??= new SharedTagPairs()
    this.registryEntries += 1 + Math.floor(charsOf(tags) / CHARS_PER_ENTRY)
    return new Series(this, this.#sharedTagPairs.share(tags))
  }

  /** Estimated number of series, with reserved places, so that concurrent requests cannot reserve the same place. */
  get seriesTotal(): number {
    return this.#storedSeriesCount + this.#reservedSeriesCount
  }

  setRow(row: MetricRow, nowMs: number): void {
    this.row = { ...row, tagKeys: [] }
    this.rowReadMs = nowMs
    this.#storedSeriesCount = Math.max(this.#storedSeriesCount, row.seriesCount)
    for (const key of row.tagKeys) this.#markTagKeyStored(key)
    this.#definition = {
      ...this.definition,
      ...(row.unit === undefined ? {} : { unit: row.unit }),
      ...(row.description === undefined ? {} : { description: row.description }),
    }
  }

  /**
   * Updates the number of series and the tag keys from a row that was read again. `registeredBefore` is the value of
   * `registeredSeriesCount` when the row was requested: the row may lack series that were registered later.
   */
  refresh(row: MetricRow, registeredBefore: number): void {
    this.#storedSeriesCount = row.seriesCount + this.registeredSeriesCount - registeredBefore
    for (const key of row.tagKeys) this.#markTagKeyStored(key)
  }

  /** Reserves a place for the series and its tag keys, until `release` is called. */
  reserve(series: Series): void {
    if (series.reservationCount++ > 0 || series.isCountedAsStored) return
    this.#reservedSeriesCount++
    for (const [key] of series.tags) {
      if (this.#tagKeys?.has(key) === true) continue
      this.#reservedTagKeys ??= new Map()
      this.#reservedTagKeys.set(key, (this.#reservedTagKeys.get(key) ?? 0) + 1)
    }
  }

  /** Releases a place that `reserve` has reserved. */
  release(series: Series): void {
    if (--series.reservationCount > 0 || series.isCountedAsStored) return
    this.#reservedSeriesCount--
    for (const [key] of series.tags) {
      const reservations = this.#reservedTagKeys?.get(key)
      if (reservations === undefined) continue
      if (reservations > 1) this.#reservedTagKeys!.set(key, reservations - 1)
      else this.#reservedTagKeys!.delete(key)
    }
  }

  /** Records that a commit of this process has registered the series. */
  recordRegistered(series: Series): void {
    if (series.isCountedAsStored) return
    this.#storedSeriesCount++
    this.registeredSeriesCount++
    this.markStored(series)
  }

  /**
   * Records that the store has the series. From then on its reservation does not count, so the caller must make sure
   * that `#storedSeriesCount` includes the series.
   */
  markStored(series: Series): void {
    if (series.isCountedAsStored) return
    series.isCountedAsStored = true
    if (series.reservationCount > 0) this.#reservedSeriesCount--
    for (const [key] of series.tags) this.#markTagKeyStored(key)
  }

  /** Whether a tag key of the series is neither known to be in the store nor reserved. */
  hasNewTagKey({ tags }: Series): boolean {
    return tags.some(([key]) => this.#isNewTagKey(key))
  }

  /** Returns the number of tag keys that the metric would have with the tags of the series, including reserved ones. */
  tagKeyCountWith({ tags }: Series): number {
    let count = (this.#tagKeys?.size ?? 0) + (this.#reservedTagKeys?.size ?? 0)
    for (const [key] of tags) if (this.#isNewTagKey(key)) count++
    return count
  }

  #isNewTagKey(key: string): boolean {
    return this.#tagKeys?.has(key) !== true && this.#reservedTagKeys?.has(key) !== true
  }

  #markTagKeyStored(key: string): void {
    this.#tagKeys ??= new Set()
    this.#tagKeys.add(key)
    this.#reservedTagKeys?.delete(key)
  }
}

/** The tags of most series are shorter, so that most series count as one entry. */
const CHARS_PER_ENTRY = 256

function charsOf(tags: CanonicalTags): number {
  let chars = 0
  for (const [key, value] of tags) chars += key.length + value.length
  return chars
}

/** Returns a key that is unique for each set of tags. */
function keyOf(tags: CanonicalTags): string {
  return JSON.stringify(tags)
}

/** Random, so that a client cannot know which tags have equal hashes. */
const HASH_SEED = randomInt(2 ** 32) | 0

/**
 * Returns a hash of the tags of a series. A map by hash takes less memory than one by text. An integer of 32 bits is
 * stored in the map itself, without an object.
 */
function hashOf(tags: CanonicalTags): number {
  let hash = HASH_SEED
  for (const [key, value] of tags) hash = hashText(value, hashText(key, hash))
  return hash
}

function hashText(text: string, seed: number): number {
  let hash = seed ^ text.length
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash ^ (hash >>> 15)
}

export class Series implements SeriesRef {
  readonly metric: Metric
  readonly kind: RollupKind
  readonly tags: CanonicalTags
  /** The series id, which is computed from the metric id and the tags. Undefined until an admission has set it. */
  id: Id64 | undefined = undefined
  /** The registry version in which a commit of this process registered the series. 0: not registered. */
  registeredInVersion = 0
  /** Whether `Metric` counts this series as one that is in the store. */
  isCountedAsStored = false
  /** Number of requests in progress that have reserved a place for this series. */
  reservationCount = 0
  /** Id of the last admission that reserved a place. 0: none, or an admission has released its place since. */
  reservedByAdmission = 0
  /** Number of the last attempt to decode a body (see `PointBatch`) that found the series unregistered. */
  newInAttempt = 0
  /** The start of the counter that this process has last stored for this series. NaN: none. */
  storedCounterStartMs = Number.NaN
  /**
   * The number of the last `Round` with points of this series (0: none), and the index of its latest row there.
   */
  lastRoundNumber = 0
  lastRowIndex = 0

  constructor(metric: Metric, tags: CanonicalTags) {
    this.metric = metric
    this.kind = metric.kind
    this.tags = tags
  }
}
