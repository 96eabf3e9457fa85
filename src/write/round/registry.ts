import { quote } from '../../model/errors.ts'
import { ItemCache } from '../../model/item-cache.ts'
import type { MetricType } from '../../model/metric.ts'
import { type MetricAbout, type Rejection, reject } from '../../model/point.ts'
import { type CanonicalTags, canonicalTags } from '../../model/series.ts'
import type { Store } from '../../store/store.ts'
import { Metric, type Series } from './cached-metric.ts'

/**
 * The cache of metrics and series: with it a point costs map look-ups and no round trip. It can be dropped at any
 * moment and is filled from the store again. It is dropped when it reaches its bound, and when the store lost writes.
 */

/** How many definitions of metrics the requests of this process have started and finished, in one project. */
export interface Definitions {
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
  /** How long one call to the store may take. */
  readonly storeWaitMsMax: number
  /** Metrics, series and tag paths held in memory; beyond it the registry is cleared. */
  readonly entriesMax: number
  /** Bytes of items cached for each project. */
  readonly itemMemoryBytesMax: number
}

export class Registry {
  readonly store: Store
  readonly limits: RegistryLimits
  #projects = new Map<string, Map<MetricType, Map<string, Metric>>>()
  #itemCaches = new Map<string, ItemCache<Series>>()
  /** Deletions in progress, by project and name. */
  readonly #deletions = new Map<string, Promise<unknown>>()
  /** By project. `clear` keeps it: the counts are those of requests in progress. */
  readonly #definitions = new Map<string, Definitions>()
  readonly #now: () => number
  #entries = 0
  #version = 1

  constructor(store: Store, limits: RegistryLimits, now: () => number) {
    this.store = store
    this.limits = limits
    this.#now = now
  }

  /** Drops everything; objects returned before stay valid until their commit. */
  clear(): void {
    this.#projects = new Map()
    this.#itemCaches = new Map()
    this.#entries = 0
  }

  /** Grows with `invalidate`. Series that were registered under an earlier version are announced again. */
  get version(): number {
    return this.#version
  }

  /** Drops everything, because the store lost writes or holds something else than was read from it. */
  invalidate(): void {
    this.#version++
    this.clear()
  }

  /** Drops the metrics of a name; objects returned before stay as they are. */
  evict(project: string, name: string): void {
    for (const names of this.#projects.get(project)?.values() ?? []) {
      const metric = names.get(name)
      if (metric !== undefined) this.discard(metric)
    }
    // It caches series by the bytes of their items.
    this.#itemCaches.delete(project)
  }

  /** Runs the deletion of a metric. Requests that define the name again wait for it (`waitForDeletions`). */
  async delete<T>(project: string, name: string, deletion: () => Promise<T>): Promise<T> {
    const key = JSON.stringify([project, name])
    const earlier = this.#deletions.get(key)
    const deleted = (earlier ?? Promise.resolve()).catch(() => {}).then(deletion)
    this.#deletions.set(key, deleted)
    this.evict(project, name)
    try {
      return await deleted
    } finally {
      if (this.#deletions.get(key) === deleted) this.#deletions.delete(key)
    }
  }

  get nowMs(): number {
    return this.#now()
  }

  /** Resolves when none of these is being deleted. */
  async waitForDeletions(metrics: readonly Metric[]): Promise<void> {
    if (this.#deletions.size === 0) return
    await Promise.all(metrics.map(({ project, name }) => this.#deletions.get(JSON.stringify([project, name]))))
  }

  definitionsOf(project: string): Definitions {
    let definitions = this.#definitions.get(project)
    if (definitions === undefined) this.#definitions.set(project, (definitions = { started: 0, finished: 0 }))
    return definitions
  }

  /** The metric of another type that a request is about to define under the same name. */
  competingClaim({ project, name, type }: Metric): Metric | undefined {
    for (const [other, names] of this.#projects.get(project) ?? []) {
      const claim = other === type ? undefined : names.get(name)
      if (claim !== undefined && claim.claims > 0) return claim
    }
    return undefined
  }

  /** Drops a metric that the store does not have; objects returned before stay as they are. */
  discard(metric: Metric): void {
    const names = this.#projects.get(metric.project)?.get(metric.type)
    if (names?.get(metric.name) !== metric) return
    names.delete(metric.name)
    this.#entries -= metric.entries
  }

  /** Drops those that nobody has defined, nor is about to. */
  discardUndefined(metrics: readonly Metric[]): void {
    for (const metric of metrics) if (metric.row === undefined && metric.claims === 0) this.discard(metric)
  }

  isRegistered(series: Series): boolean {
    return series.registeredIn === this.#version
  }

  /** Called after a commit that announced the series under the current version. */
  register(series: Series): void {
    if (this.isRegistered(series)) return
    series.registeredIn = this.#version
    series.metric.registerSeries(series)
  }

  /** Whether it has reached its bound: the caller clears it between requests. */
  get full(): boolean {
    return this.#entries > this.limits.entriesMax
  }

  /**
   * The decoders' cache of a project's items. It is dropped with everything else, so its series always belong to this
   * registry.
   */
  itemCache(project: string): ItemCache<Series> {
    let itemCache = this.#itemCaches.get(project)
    if (itemCache === undefined) {
      itemCache = new ItemCache(this.limits.itemMemoryBytesMax)
      this.#itemCaches.set(project, itemCache)
    }
    return itemCache
  }

  resolve(
    project: string,
    name: string,
    type: MetricType,
    pairs: readonly (readonly [string, string])[],
    about: MetricAbout | undefined,
    unknownMetrics = 0,
  ): Series | Rejection {
    const metric = this.#metric(project, name, type, unknownMetrics)
    if ('code' in metric) return metric
    if (metric.row === undefined) metric.about ??= about
    else if (metric.row.type !== type) {
      // Another gateway may have deleted it since. No commit would show it, because refused points are never committed.
      if (this.#now() - metric.rowReadMs < CONFLICT_CACHED_MS) return typeConflict(metric)
      metric.row = undefined
    }
    let node = metric.tags
    for (const [key, value] of pairs) {
      const next = node.child(key, value)
      if (next === undefined) return this.#addPath(metric, pairs)
      node = next
    }
    return node.series ?? this.#addPath(metric, pairs)
  }

  /** Refuses unknown metrics of a request that has more of them than can exist: each takes memory. */
  #metric(project: string, name: string, type: MetricType, unknownMetrics: number): Metric | Rejection {
    let types = this.#projects.get(project)
    if (types === undefined) this.#projects.set(project, (types = new Map()))
    let names = types.get(type)
    if (names === undefined) types.set(type, (names = new Map()))
    let metric = names.get(name)
    if (metric === undefined) {
      const { metricsPerProjectMax, newMetricsPerRequestMax } = this.limits
      if (unknownMetrics >= metricsPerProjectMax + newMetricsPerRequestMax)
        return reject('metric_limit_exceeded', `a project may have ${metricsPerProjectMax} metrics at most`)
      names.set(name, (metric = new Metric(project, name, type)))
      this.#entries++
    }
    return metric
  }

  /** Sorts the tags, finds or creates the series, and adds the path that finds it the next time. */
  #addPath(metric: Metric, pairs: readonly (readonly [string, string])[]): Series {
    const series = metric.seriesOf(pairs.length === 0 ? NO_TAGS : canonicalTags(pairs))
    let node = metric.tags
    for (const [name, value] of pairs) node = node.childOrNew(name, value)
    node.series = series
    this.#entries += 1 + pairs.length
    metric.entries += 1 + pairs.length
    return series
  }
}

const NO_TAGS: CanonicalTags = []

/** How long a type conflict is cached before the row is read again. */
const CONFLICT_CACHED_MS = 1_000

export function typeConflict(metric: Metric, stored: MetricType | undefined = metric.row?.type): Rejection {
  const found = stored ?? 'of another type'
  return reject('type_conflict', `metric ${quote(metric.name)} is a ${found}, not a ${metric.type}`)
}
