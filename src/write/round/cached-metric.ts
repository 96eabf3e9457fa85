import type { Id64 } from '../../model/id.ts'
import { type MetricType, type RollupKind, rollupKindOf } from '../../model/metric.ts'
import type { MetricMetadata, SeriesRef } from '../../model/point.ts'
import { type CanonicalTags, TagPairs } from '../../model/series.ts'
import type { MetricDefinition, MetricRow } from '../../store/store.ts'

/**
 * Metrics and series as the registry caches them. A metric also counts the places for new series and tag keys that
 * requests in progress have reserved.
 */

/**
 * A metric name with the type that points claim for it. The claim is valid if the row in the store has the same type.
 */
export class Metric {
  readonly project: string
  readonly name: string
  readonly type: MetricType
  readonly kind: RollupKind
  /** Unit and description, from the first item that has any. Used if a request of this process defines the metric. */
  about: MetricMetadata | undefined = undefined
  /**
   * The row in the store, without its tag keys. Undefined: not read yet. If its type differs, all points of this claim
   * are rejected.
   */
  row: MetricRow | undefined = undefined
  rowReadMs = 0
  /** The definition, which every commit repeats so that the store can define the metric again after lost writes. */
  #definition: MetricDefinition | undefined = undefined
  /**
   * Number of requests that are about to define the metric, and whether one of them has sent the definition to the
   * store.
   */
  claims = 0
  isDefinitionSent = false
  /**
   * Three counts: known series in the store, reserved places for series, and series that commits of this process
   * registered.
   */
  #seriesStored = 0
  #seriesReserved = 0
  registrations = 0
  /** Known tag keys in the store, and reserved tag keys with the number of series that reserved each. */
  #tagKeys: Set<string> | undefined = undefined
  #tagKeysReserved: Map<string, number> | undefined = undefined
  readonly tags = new TagNode()
  /** Created with the first series, because a body may contain 100,000 names and most of them are rejected. */
  #seriesByTags: Map<string, Series> | undefined = undefined
  #pairs: TagPairs | undefined = undefined
  /** Number of registry entries of this metric: the metric itself and its tag paths. */
  entries = 1
  /** The mark of the `PointBatch` that used the metric last. Written by `PointBatch`. */
  metIn = 0
  /** The epoch of the `Round` in which `slot` is valid. Written by `Round`. */
  epoch = 0
  slot = 0

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
    this.#seriesByTags ??= new Map()
    const key = keyOf(tags)
    let series = this.#seriesByTags.get(key)
    if (series === undefined) {
      this.#pairs ??= new TagPairs()
      this.#seriesByTags.set(key, (series = new Series(this, this.#pairs.share(tags))))
    }
    return series
  }

  /** Number of series, including reserved places, so that concurrent requests cannot reserve the same place. */
  get seriesTotal(): number {
    return this.#seriesStored + this.#seriesReserved
  }

  setRow(row: MetricRow, nowMs: number): void {
    this.row = { ...row, tagKeys: [] }
    this.rowReadMs = nowMs
    this.#seriesStored = Math.max(this.#seriesStored, row.seriesCount)
    for (const key of row.tagKeys) this.#storeTagKey(key)
    this.#definition = {
      ...this.definition,
      ...(row.unit === undefined ? {} : { unit: row.unit }),
      ...(row.description === undefined ? {} : { description: row.description }),
    }
  }

  /**
   * Updates the counts from a row. `registrations` is the count when the row was requested: the row may lack later
   * ones.
   */
  refresh(row: MetricRow, registrations: number): void {
    this.#seriesStored = row.seriesCount + this.registrations - registrations
    for (const key of row.tagKeys) this.#storeTagKey(key)
  }

  /** Reserves a place for the series. The place stays reserved until `release`. */
  reserve(series: Series): void {
    if (series.reservations++ > 0 || series.counted) return
    this.#seriesReserved++
    for (const [key] of series.tags) {
      if (this.#tagKeys?.has(key) === true) continue
      this.#tagKeysReserved ??= new Map()
      this.#tagKeysReserved.set(key, (this.#tagKeysReserved.get(key) ?? 0) + 1)
    }
  }

  release(series: Series): void {
    if (--series.reservations > 0 || series.counted) return
    this.#seriesReserved--
    for (const [key] of series.tags) {
      const reservations = this.#tagKeysReserved?.get(key)
      if (reservations === undefined) continue
      if (reservations > 1) this.#tagKeysReserved!.set(key, reservations - 1)
      else this.#tagKeysReserved!.delete(key)
    }
  }

  /** Records that a commit of this process has registered the series. */
  registerSeries(series: Series): void {
    if (series.counted) return
    this.#seriesStored++
    this.registrations++
    this.markStored(series)
  }

  /** Records that the store has the series and already counts it. */
  markStored(series: Series): void {
    if (series.counted) return
    series.counted = true
    if (series.reservations > 0) this.#seriesReserved--
    for (const [key] of series.tags) this.#storeTagKey(key)
  }

  hasNewTagKey({ tags }: Series): boolean {
    return tags.some(([key]) => this.#isNewTagKey(key))
  }

  /** Returns the number of tag keys that the metric has after the tags of the series are added. */
  tagKeysWith({ tags }: Series): number {
    let count = (this.#tagKeys?.size ?? 0) + (this.#tagKeysReserved?.size ?? 0)
    for (const [key] of tags) if (this.#isNewTagKey(key)) count++
    return count
  }

  #isNewTagKey(key: string): boolean {
    return this.#tagKeys?.has(key) !== true && this.#tagKeysReserved?.has(key) !== true
  }

  #storeTagKey(key: string): void {
    this.#tagKeys ??= new Set()
    this.#tagKeys.add(key)
    this.#tagKeysReserved?.delete(key)
  }
}

/**
 * Returns a key that is unique for each set of tags: every text is preceded by its length. It is joined at once,
 * because V8 keeps a text that is made by many additions as a tree, which takes five times the memory.
 */
function keyOf(tags: CanonicalTags): string {
  const parts: (string | number)[] = []
  for (const [name, value] of tags) parts.push(name.length, ':', name, value.length, ':', value)
  return parts.join('')
}

export class Series implements SeriesRef {
  readonly metric: Metric
  readonly kind: RollupKind
  readonly tags: CanonicalTags
  /** The series id. Undefined until the row of the metric is known. */
  id: Id64 | undefined = undefined
  /** The registry version in which a commit of this process registered the series. 0: not registered. */
  registeredIn = 0
  /** Whether the metric counts this series as one that the store has. */
  counted = false
  /** Number of requests in progress that reserve a place for this series, and the last admission that did so. */
  reservations = 0
  reservedBy = 0
  /** The mark of the `PointBatch` that used the series last. Written by `PointBatch`. */
  metIn = 0
  /** The start of a running total that the store has for this series. NaN: none is known to be stored. */
  startMs = Number.NaN
  /** The epoch of the last `Round` with points of this series, and the series' latest row in it. Written by `Round`. */
  epoch = 0
  bucketMs = 0
  row = 0

  constructor(metric: Metric, tags: CanonicalTags) {
    this.metric = metric
    this.kind = metric.kind
    this.tags = tags
  }
}

/**
 * A node in a tree of tags, in the order in which clients send them. A client repeats its order, so the tree finds the
 * series without sorting the tags.
 */
class TagNode {
  series: Series | undefined = undefined
  /** Undefined in leaf nodes. Most nodes are leaves. */
  #children: Map<string, Map<string, TagNode>> | undefined = undefined

  child(key: string, value: string): TagNode | undefined {
    return this.#children?.get(key)?.get(value)
  }

  childOrNew(key: string, value: string): TagNode {
    this.#children ??= new Map()
    let values = this.#children.get(key)
    if (values === undefined) this.#children.set(key, (values = new Map()))
    let node = values.get(value)
    if (node === undefined) values.set(value, (node = new TagNode()))
    return node
  }
}
