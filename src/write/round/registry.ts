import { quote } from '../../model/errors.ts'
import { ItemCache } from '../../model/item-cache.ts'
import type { MetricType } from '../../model/metric.ts'
import { type MetricMetadata, type Rejection, reject } from '../../model/point.ts'
import { type CanonicalTags, canonicalTags } from '../../model/series.ts'
import { isRecent } from '../../model/time.ts'
import type { Store } from '../../store/store.ts'
import { Metric, type Series } from './cached-metric.ts'

/**
 * The cache of metrics and series. A point of a cached series that a commit has registered needs only map look-ups and
 * no round trip to the store. The cache can be cleared at any time and is filled from the store again. It is cleared
 * when it is full, and when the store has lost writes or may differ from the cache.
 */

/**
 * Counts of the metrics of one project that requests of this process define: `started` counts those that were claimed,
 * without claims that were undone, and `finished` those whose definition was sent and whose claims have ended.
 */
export interface DefinitionCounts {
  started: number
  finished: number
}

export interface AdmissionLimits {
  readonly seriesPerMetricMax: number
  readonly tagKeysPerMetricMax: number
  readonly metricsPerProjectMax: number
  readonly newMetricsPerRequestMax: number
}

export interface RegistryLimits extends AdmissionLimits {
  /** Maximum duration of one call to the store. */
  readonly storeWaitMsMax: number
  /**
   * Maximum number of series, and of metrics, in memory. If there are more, the registry is cleared before the next
   * request. A series with long tags counts more than once (`Metric.registryEntries`).
   */
  readonly registryEntriesMax: number
  /** Maximum size of the item cache of each project. */
  readonly itemCacheBytesMax: number
}

export class Registry {
  readonly store: Store
  readonly limits: RegistryLimits
  #metricsByProject = new Map<string, Map<MetricType, Map<string, Metric>>>()
  #itemCaches = new Map<string, ItemCache<Series>>()
  /** Deletions in progress, by project and name. */
  readonly #deletions = new Map<string, Promise<unknown>>()
  /** By project. `clear` does not reset these counts, because they are about requests in progress. */
  readonly #definitionCounts = new Map<string, DefinitionCounts>()
  readonly #now: () => number
  #metricCount = 0
  #seriesEntries = 0
  #version = 1

  constructor(store: Store, limits: RegistryLimits, now: () => number) {
    this.store = store
    this.limits = limits
    this.#now = now
  }

  /** Clears the cache. Requests in progress can still use the metrics and series that they have. */
  clear(): void {
    this.#metricsByProject = new Map()
    this.#itemCaches = new Map()
    this.#metricCount = 0
    this.#seriesEntries = 0
  }

  /** Incremented by `invalidate`. Series that were registered under an earlier version are registered again. */
  get version(): number {
    return this.#version
  }

  /**
   * Clears the cache and increments the version. Called when the store has lost writes or no longer matches the rows
   * that were read from it, and when a commit was given up.
   */
  invalidate(): void {
    this.#version++
    this.clear()
  }

  /** Evicts all metrics of a name. Requests in progress can still use the metrics that they have. */
  evictName(project: string, name: string): void {
    for (const names of this.#metricsByProject.get(project)?.values() ?? []) {
      const metric = names.get(name)
      if (metric !== undefined) this.evictMetric(metric)
    }
    // The item cache of the project returns series, so it may hold series of the evicted metrics.
    this.#itemCaches.delete(project)
  }

  /**
   * Runs the deletion of a metric, after earlier deletions of the same name. Requests that then look up the name in the
   * store wait for the deletion (`waitForDeletions`).
   */
  async runDeletion<T>(project: string, name: string, deletion: () => Promise<T>): Promise<T> {
    const key = JSON.stringify([project, name])
    const earlier = this.#deletions.get(key)
    const deleted = (earlier ?? Promise.resolve()).catch(() => {}).then(deletion)
    this.#deletions.set(key, deleted)
    this.evictName(project, name)
    try {
      return await deleted
    } finally {
      if (this.#deletions.get(key) === deleted) this.#deletions.delete(key)
    }
  }

  get nowMs(): number {
    return this.#now()
  }

  /** Resolves when the deletions of these metrics that are in progress have ended, whether they succeeded or not. */
  async waitForDeletions(metrics: readonly Metric[]): Promise<void> {
    if (this.#deletions.size === 0) return
    const deletions = metrics.map(({ project, name }) => this.#deletions.get(JSON.stringify([project, name])))
    // The error of a deletion belongs to the request that deletes. Other requests read afterwards what is stored.
    await Promise.allSettled(deletions)
  }

  /** Returns the counts of a project. The caller updates them in place. */
  definitionCountsOf(project: string): DefinitionCounts {
    let definitions = this.#definitionCounts.get(project)
    if (definitions === undefined) this.#definitionCounts.set(project, (definitions = { started: 0, finished: 0 }))
    return definitions
  }

  /** Returns the metric of another type that a request is about to define under the same name; undefined if none. */
  competingClaim({ project, name, type }: Metric): Metric | undefined {
    for (const [other, names] of this.#metricsByProject.get(project) ?? []) {
      const claim = other === type ? undefined : names.get(name)
      if (claim !== undefined && claim.definingRequestCount > 0) return claim
    }
    return undefined
  }

  /** Evicts a metric. Requests in progress can still use it. */
  evictMetric(metric: Metric): void {
    const names = this.#metricsByProject.get(metric.project)?.get(metric.type)
    if (names?.get(metric.name) !== metric) return
    names.delete(metric.name)
    this.#metricCount--
    this.#seriesEntries -= metric.registryEntries
  }

  /** Evicts those of the metrics that have no row and that no request is about to define. */
  evictUndefined(metrics: readonly Metric[]): void {
    for (const metric of metrics)
      if (metric.row === undefined && metric.definingRequestCount === 0) this.evictMetric(metric)
  }

  /** Whether a commit of this process has registered the series under the current version. */
  isRegistered(series: Series): boolean {
    return series.registeredInVersion === this.#version
  }

  /** Records that a commit has registered the series in the store. */
  recordRegistered(series: Series): void {
    if (this.isRegistered(series)) return
    series.registeredInVersion = this.#version
    series.metric.recordRegistered(series)
  }

  /** Whether the registry has more entries than allowed. The caller then clears it before the next request. */
  get isFull(): boolean {
    return Math.max(this.#seriesEntries, this.#metricCount) > this.limits.registryEntriesMax
  }

  /**
   * Returns the item cache that all decoders of a project share. It is dropped when the registry is cleared or evicts a
   * name of the project, so that it has no evicted series.
   */
  itemCache(project: string): ItemCache<Series> {
    let itemCache = this.#itemCaches.get(project)
    if (itemCache === undefined) {
      itemCache = new ItemCache(this.limits.itemCacheBytesMax)
      this.#itemCaches.set(project, itemCache)
    }
    return itemCache
  }

  /**
   * Returns the series of a point; creates it if the registry does not have it. Returns a rejection if the metric has
   * another type in the store, or if the request has too many unknown metrics. `unknownMetricCount`: number of unknown
   * metrics of the request since its last review.
   */
  resolve(
    project: string,
    name: string,
    type: MetricType,
    pairs: readonly (readonly [string, string])[],
    metadata: MetricMetadata | undefined,
    unknownMetricCount = 0,
  ): Series | Rejection {
    const metric = this.#findOrCreateMetric(project, name, type, unknownMetricCount)
    if ('code' in metric) return metric
    if (metric.row === undefined) metric.metadata ??= metadata
    else if (metric.row.type !== type) {
      // Another gateway may have deleted the metric since its row was read. No refused commit would show that, because
      // rejected points are never committed.
      if (isRecent(TYPE_CONFLICT_CACHED_MS, metric.rowReadMs, this.#now())) return rejectTypeConflict(metric)
      metric.row = undefined
    }
    const entriesBefore = metric.registryEntries
    const series = metric.seriesOf(pairs.length === 0 ? NO_TAGS : canonicalTags(pairs))
    this.#seriesEntries += metric.registryEntries - entriesBefore
    return series
  }

  /**
   * Returns the metric of this name and type. Creates it if the registry does not have it. Returns a rejection instead
   * if `unknownMetricCount` has reached the number of metrics that can exist or be defined, because each unknown metric
   * takes memory.
   */
  #findOrCreateMetric(project: string, name: string, type: MetricType, unknownMetricCount: number): Metric | Rejection {
    let types = this.#metricsByProject.get(project)
    if (types === undefined) this.#metricsByProject.set(project, (types = new Map()))
    let names = types.get(type)
    if (names === undefined) types.set(type, (names = new Map()))
    let metric = names.get(name)
    if (metric === undefined) {
      const { metricsPerProjectMax, newMetricsPerRequestMax } = this.limits
      if (unknownMetricCount >= metricsPerProjectMax + newMetricsPerRequestMax)
        return reject('metric_limit_exceeded', `a project may have ${metricsPerProjectMax} metrics at most`)
      names.set(name, (metric = new Metric(project, name, type)))
      this.#metricCount++
    }
    return metric
  }
}

const NO_TAGS: CanonicalTags = []

/** How long a type conflict is cached. After this time the row is read again. */
const TYPE_CONFLICT_CACHED_MS = 1_000

export function rejectTypeConflict(metric: Metric, storedType: MetricType | undefined = metric.row?.type): Rejection {
  const actual = storedType === undefined ? '' : `a ${storedType}, `
  return reject('type_conflict', `metric ${quote(metric.name)} is ${actual}not a ${metric.type}`)
}
