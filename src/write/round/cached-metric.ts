import type { Id64 } from '../../model/id.ts'
import { type MetricType, type RollupKind, rollupKindOf } from '../../model/metric.ts'
import type { MetricAbout, SeriesRef } from '../../model/point.ts'
import { type CanonicalTags, TagPairs } from '../../model/series.ts'
import type { MetricDefinition, MetricRow } from '../../store/store.ts'

/**
 * Metrics and series as the registry caches them. Besides what is known of the store, a metric counts what requests in
 * progress have reserved: places for new series and tag keys.
 */

/** A name with the type that points claim for it. The claim is right when the row in the store has the same type. */
export class Metric {
  readonly project: string
  readonly name: string
  readonly type: MetricType
  readonly kind: RollupKind
  /** Unit and description from the first item that has any; used when a request of this process defines the metric. */
  about: MetricAbout | undefined = undefined
  /**
   * The row in the store, without its tag keys. Undefined: not read yet. When its type differs, all points of this
   * claim are refused.
   */
  row: MetricRow | undefined = undefined
  rowReadMs = 0
  /** The definition that commits repeat, so that the store can define the metric again after lost writes. */
  #definition: MetricDefinition | undefined = undefined
  /** Requests that are about to define it, and whether one of them has sent the definition to the store. */
  claims = 0
  isDefinitionSent = false
  /**
   * Series in the store, as far as known; series with a reserved place; and how many the commits of this process
   * registered.
   */
  #seriesStored = 0
  #seriesReserved = 0
  registrations = 0
  /** Tag keys in the store, as far as known; and reserved ones, with the number of series that have each. */
  #tagKeys: Set<string> | undefined = undefined
  #tagKeysReserved: Map<string, number> | undefined = undefined
  readonly tags = new TagNode()
  /** Created with the first series: a body may bring 100,000 names, most of them refused. */
  #seriesByTags: Map<string, Series> | undefined = undefined
  #pairs: TagPairs | undefined = undefined
  /** What the registry counts for it: itself and its tag paths. */
  entries = 1
  /** Written by `PointBatch`: the batch that met it last. */
  metIn = 0
  /** Written by `Round`: the round that `slot` belongs to. */
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

  /** The series with these tags, created when there is none. */
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

  /** Reserved places count too, so that concurrent requests cannot take the same place. */
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

  /** Updates the counts from a row that was requested when there were `registrations`; the row may lack later ones. */
  refresh(row: MetricRow, registrations: number): void {
    this.#seriesStored = row.seriesCount + this.registrations - registrations
    for (const key of row.tagKeys) this.#storeTagKey(key)
  }

  /** Reserves a place for a series until `release`. */
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

  /** A commit of this process has registered it. */
  registerSeries(series: Series): void {
    if (series.counted) return
    this.#seriesStored++
    this.registrations++
    this.markStored(series)
  }

  /** The store has it, and its count includes it. */
  markStored(series: Series): void {
    if (series.counted) return
    series.counted = true
    if (series.reservations > 0) this.#seriesReserved--
    for (const [key] of series.tags) this.#storeTagKey(key)
  }

  hasNewTagKey({ tags }: Series): boolean {
    return tags.some(([key]) => this.#isNewTagKey(key))
  }

  /** How many tag keys the metric would have with those of the series. */
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

/** Equal for equal tags alone: each text follows its length. */
function keyOf(tags: CanonicalTags): string {
  let key = ''
  for (const [name, value] of tags) key += `${name.length}:${name}${value.length}:${value}`
  return key
}

export class Series implements SeriesRef {
  readonly metric: Metric
  readonly kind: RollupKind
  readonly tags: CanonicalTags
  /** Undefined until the metric's row is known. */
  id: Id64 | undefined = undefined
  /** The version of the registry in which a commit of this process registered the series; 0: none did. */
  registeredIn = 0
  /** Its metric counts it among the series in the store. */
  counted = false
  /** Requests in progress that reserve its place, and the admission that did so last. */
  reservations = 0
  reservedBy = 0
  /** Written by `PointBatch`: the batch that met it last. */
  metIn = 0
  /** The start of its running totals that was stored last; see `PointBatch.addTotalSince`. */
  startMs = Number.NaN
  /** Written by `Round`: the round that this series was last in, and its latest row there. */
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
 * A node of a tree of tags in the order in which clients send them. Clients repeat their order, so a walk finds the
 * series without sorting its tags.
 */
class TagNode {
  series: Series | undefined = undefined
  /** Undefined in leaves, which are most of the nodes. */
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
