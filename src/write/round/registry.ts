import { quote } from '../../model/errors.ts'
import type { Id64 } from '../../model/id.ts'
import { ItemCache } from '../../model/item-cache.ts'
import { type MetricType, type RollupKind, rollupKindOf } from '../../model/metric.ts'
import { type MetricAbout, type Rejection, reject, type SeriesRef } from '../../model/point.ts'
import { type CanonicalTags, canonicalTags, TagPairs } from '../../model/series.ts'
import type { MetricDefinition, MetricRow, Store } from '../../store/store.ts'

/**
 * What this gateway knows of metrics and series, so that a point costs map look-ups and no round trip. It is a cache: all
 * of it can be dropped at any moment and is learnt again from the store, which is what happens when it grows over its bound
 * and when the store turns out to have gone back in time.
 */

/** A name with one claimed type. Until the store has answered, nobody knows whether the claim holds. */
export class Metric {
  readonly project: string
  readonly name: string
  readonly type: MetricType
  readonly kind: RollupKind
  /** What the first item that told anything told of it; it matters when the item defines the metric. */
  about: MetricAbout | undefined = undefined
  /** What the store holds under this name, without its tag keys. Of another type: every point of this claim is a conflict. */
  row: MetricRow | undefined = undefined
  learntMs = 0
  /** The row as commits repeat it, so that a store that forgot the metric makes it as it was. Known with the row. */
  #definition: MetricDefinition | undefined = undefined
  /** Requests that are about to define it, and whether the store may have heard of it from one of them. */
  claims = 0
  isOffered = false
  /** Series in the store, as far as known; those on their way into it; and how often our own commits brought one. */
  #seriesStored = 0
  #seriesHeld = 0
  registrations = 0
  /** Tag keys in the store, as far as known, and those on their way into it with how many series bring them. */
  #tagKeys: Set<string> | undefined = undefined
  #tagKeysHeld: Map<string, number> | undefined = undefined
  readonly tags = new TagNode()
  /** Made with the first: a body may bring a hundred thousand names, and most of them are refused. */
  #seriesByTags: Map<string, Series> | undefined = undefined
  #pairs: TagPairs | undefined = undefined
  /** What the registry counts for it. */
  entries = 1
  /** The writer's: which round `slot` is of. */
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

  /** The series of these tags, made when there is none. */
  seriesOf(tags: CanonicalTags): Series {
    this.#seriesByTags ??= new Map()
    const key = JSON.stringify(tags)
    let series = this.#seriesByTags.get(key)
    if (series === undefined) {
      this.#pairs ??= new TagPairs()
      this.#seriesByTags.set(key, (series = new Series(this, this.#pairs.share(tags))))
    }
    return series
  }

  /** Those on their way count before they are there, so that requests at once do not share one place. */
  get seriesTotal(): number {
    return this.#seriesStored + this.#seriesHeld
  }

  learn(row: MetricRow, nowMs: number): void {
    this.row = { ...row, tagKeys: [] }
    this.learntMs = nowMs
    this.#seriesStored = Math.max(this.#seriesStored, row.seriesCount)
    for (const key of row.tagKeys) this.#storeTagKey(key)
    this.#definition = {
      ...this.definition,
      ...(row.unit === undefined ? {} : { unit: row.unit }),
      ...(row.description === undefined ? {} : { description: row.description }),
    }
  }

  /** The row was asked for when there had been so many registrations: later ones may be in it or not. */
  refresh(row: MetricRow, registrations: number): void {
    this.#seriesStored = row.seriesCount + this.registrations - registrations
    for (const key of row.tagKeys) this.#storeTagKey(key)
  }

  hold(series: Series): void {
    if (series.holds++ > 0 || series.counted) return
    this.#seriesHeld++
    for (const [key] of series.tags) {
      if (this.#tagKeys?.has(key) === true) continue
      this.#tagKeysHeld ??= new Map()
      this.#tagKeysHeld.set(key, (this.#tagKeysHeld.get(key) ?? 0) + 1)
    }
  }

  free(series: Series): void {
    if (--series.holds > 0 || series.counted) return
    this.#seriesHeld--
    for (const [key] of series.tags) {
      const holds = this.#tagKeysHeld?.get(key)
      if (holds === undefined) continue
      if (holds > 1) this.#tagKeysHeld!.set(key, holds - 1)
      else this.#tagKeysHeld!.delete(key)
    }
  }

  /** A commit of ours has brought it into the store. */
  registerSeries(series: Series): void {
    if (series.counted) return
    this.#seriesStored++
    this.registrations++
    this.markStored(series)
  }

  /** The store holds it, and counts it already. */
  markStored(series: Series): void {
    if (series.counted) return
    series.counted = true
    if (series.holds > 0) this.#seriesHeld--
    for (const [key] of series.tags) this.#storeTagKey(key)
  }

  bringsTagKey({ tags }: Series): boolean {
    return tags.some(([key]) => this.#isNewTagKey(key))
  }

  /** How many tag keys there would be with those of the series. */
  tagKeysWith({ tags }: Series): number {
    let count = (this.#tagKeys?.size ?? 0) + (this.#tagKeysHeld?.size ?? 0)
    for (const [key] of tags) if (this.#isNewTagKey(key)) count++
    return count
  }

  #isNewTagKey(key: string): boolean {
    return this.#tagKeys?.has(key) !== true && this.#tagKeysHeld?.has(key) !== true
  }

  #storeTagKey(key: string): void {
    this.#tagKeys ??= new Set()
    this.#tagKeys.add(key)
    this.#tagKeysHeld?.delete(key)
  }
}

export class Series implements SeriesRef {
  readonly metric: Metric
  readonly kind: RollupKind
  readonly tags: CanonicalTags
  /** Known once the metric's row is. */
  id: Id64 | undefined = undefined
  /** The registry's generation in which a commit of ours that announces this series was applied; 0: in none. */
  registeredIn = 0
  /** Its metric counts it among those that the store holds. */
  counted = false
  /** Requests under way that keep its place. */
  holds = 0
  /** The writer's: the round that this series was last in, and its latest row there. */
  epoch = 0
  bucketMs = 0
  row = 0

  constructor(metric: Metric, tags: CanonicalTags) {
    this.metric = metric
    this.kind = metric.kind
    this.tags = tags
  }
}

/** Tags as a walk in the order a client sends them: clients repeat their order, so the walk finds the series without sorting. */
class TagNode {
  series: Series | undefined = undefined
  /** Undefined at the ends of paths, which are most of the nodes. */
  #children: Map<string, Map<string, TagNode>> | undefined = undefined

  child(key: string, value: string): TagNode | undefined {
    return this.#children?.get(key)?.get(value)
  }

  grow(key: string, value: string): TagNode {
    this.#children ??= new Map()
    let values = this.#children.get(key)
    if (values === undefined) this.#children.set(key, (values = new Map()))
    let node = values.get(value)
    if (node === undefined) values.set(value, (node = new TagNode()))
    return node
  }
}

/** How many definitions of metrics the requests of this process have begun and ended. */
export interface Definitions {
  begun: number
  ended: number
}

export interface AdmissionLimits {
  readonly seriesPerMetricMax: number
  readonly tagKeysPerMetricMax: number
  readonly metricsPerProjectMax: number
  readonly newMetricsPerRequestMax: number
}

export interface RegistryLimits extends AdmissionLimits {
  /** How long one question to the store may take. */
  readonly storeWaitMsMax: number
  /** Series and tag paths held in memory; beyond it the registry starts anew. */
  readonly entriesMax: number
  /** Bytes of items remembered for each project. */
  readonly itemMemoryBytesMax: number
}

export class Registry {
  readonly store: Store
  readonly limits: RegistryLimits
  #projects = new Map<string, Map<MetricType, Map<string, Metric>>>()
  #memories = new Map<string, ItemCache<Series>>()
  /** Deletions under way, by project and name. */
  readonly #ending = new Map<string, Promise<unknown>>()
  /** By project. It outlives `clear`: the numbers are of requests under way. */
  readonly #definitions = new Map<string, Definitions>()
  readonly #now: () => number
  #entries = 0
  #generation = 1

  constructor(store: Store, limits: RegistryLimits, now: () => number) {
    this.store = store
    this.limits = limits
    this.#now = now
  }

  /** Forgets everything; objects handed out before stay valid until their commit. */
  clear(): void {
    this.#projects = new Map()
    this.#memories = new Map()
    this.#entries = 0
  }

  /**
   * Grows when the store turns out to have gone back in time. What was registered in an earlier generation is announced
   * again, by objects handed out before too.
   */
  get generation(): number {
    return this.#generation
  }

  /** Nothing that was learnt of the store holds any more. */
  distrust(): void {
    this.#generation++
    this.clear()
  }

  /** Forgets what it knows under a name; objects handed out before stay as they are. */
  forget(project: string, name: string): void {
    for (const names of this.#projects.get(project)?.values() ?? []) names.delete(name)
    // Decoders may know series of it by their bytes.
    this.#memories.delete(project)
  }

  /** Has a metric deleted. Whoever defines the name anew meanwhile waits for it. */
  async end<T>(project: string, name: string, deletion: () => Promise<T>): Promise<T> {
    const key = JSON.stringify([project, name])
    const earlier = this.#ending.get(key)
    const ended = (earlier ?? Promise.resolve()).catch(() => {}).then(deletion)
    this.#ending.set(key, ended)
    this.forget(project, name)
    try {
      return await ended
    } finally {
      if (this.#ending.get(key) === ended) this.#ending.delete(key)
    }
  }

  get nowMs(): number {
    return this.#now()
  }

  /** Resolves when none of these is being deleted. */
  async deletionsOf(metrics: readonly Metric[]): Promise<void> {
    if (this.#ending.size === 0) return
    await Promise.all(metrics.map(({ project, name }) => this.#ending.get(JSON.stringify([project, name]))))
  }

  definitionsOf(project: string): Definitions {
    let definitions = this.#definitions.get(project)
    if (definitions === undefined) this.#definitions.set(project, (definitions = { begun: 0, ended: 0 }))
    return definitions
  }

  /** The metric of another type that a request is about to define under the same name. */
  rivalOf({ project, name, type }: Metric): Metric | undefined {
    for (const [other, names] of this.#projects.get(project) ?? []) {
      const rival = other === type ? undefined : names.get(name)
      if (rival !== undefined && rival.claims > 0) return rival
    }
    return undefined
  }

  /** Forgets a metric that the store does not have; objects handed out before stay as they are. */
  discard(metric: Metric): void {
    const names = this.#projects.get(metric.project)?.get(metric.type)
    if (names?.get(metric.name) !== metric) return
    names.delete(metric.name)
    this.#entries -= metric.entries
  }

  isRegistered(series: Series): boolean {
    return series.registeredIn === this.#generation
  }

  /** A commit that announced the series, made in this generation, has been applied. */
  register(series: Series): void {
    if (this.isRegistered(series)) return
    series.registeredIn = this.#generation
    series.metric.registerSeries(series)
  }

  /** Whether it has outgrown its bound: the caller clears it between requests. */
  get full(): boolean {
    return this.#entries > this.limits.entriesMax
  }

  /** What decoders remember of a project's items. It is dropped with all else, so a series in it is always one of ours. */
  memory(project: string): ItemCache<Series> {
    let memory = this.#memories.get(project)
    if (memory === undefined) {
      memory = new ItemCache(this.limits.itemMemoryBytesMax)
      this.#memories.set(project, memory)
    }
    return memory
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
      // It may have been deleted since, through another gateway: nobody tells us, for nothing of it is ever committed.
      if (this.#now() - metric.learntMs < CONFLICT_TRUST_MS) return typeConflict(metric)
      metric.row = undefined
    }
    let node = metric.tags
    for (const [key, value] of pairs) {
      const next = node.child(key, value)
      if (next === undefined) return this.#firstSight(metric, pairs)
      node = next
    }
    return node.series ?? this.#firstSight(metric, pairs)
  }

  /** A request that brings so many unknown metrics that not all can exist may bring no more of them: each takes memory. */
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

  /** The long way: sorts the tags, finds or makes the series, and lays the path for the next time. */
  #firstSight(metric: Metric, pairs: readonly (readonly [string, string])[]): Series {
    const series = metric.seriesOf(pairs.length === 0 ? NO_TAGS : canonicalTags(pairs))
    let node = metric.tags
    for (const [name, value] of pairs) node = node.grow(name, value)
    node.series = series
    this.#entries += 1 + pairs.length
    metric.entries += 1 + pairs.length
    return series
  }
}

const NO_TAGS: CanonicalTags = []

/** How long a claim that was found to be wrong counts as wrong without asking again. */
const CONFLICT_TRUST_MS = 1_000

export function typeConflict(metric: Metric, stored: MetricType | undefined = metric.row?.type): Rejection {
  const found = stored ?? 'of another type'
  return reject('type_conflict', `metric ${quote(metric.name)} is a ${found}, not a ${metric.type}`)
}
