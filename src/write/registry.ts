import { GatewayError, quote } from '../model/errors.ts'
import type { Id64 } from '../model/id.ts'
import { ItemMemory } from '../model/item-memory.ts'
import { type MetricType, type RollupKind, rollupKindOf } from '../model/metric.ts'
import { type MetricAbout, type Rejection, reject, type SeriesRef } from '../model/point.ts'
import { type CanonicalTags, canonicalTags, seriesIdOf, TagPairs } from '../model/series.ts'
import type { MetricDefinition, MetricRow, Store } from '../store/store.ts'

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
  /** What the store holds under this name. Of another type: every point of this claim is a conflict. */
  row: MetricRow | undefined = undefined
  learntMs = 0
  /** The row as commits repeat it, so that a store that forgot the metric makes it as it was. Known with the row. */
  definition: MetricDefinition
  /** Series in the store, as far as known, and those admitted. */
  seriesCount = 0
  /** Series on their way into the store: they count before they are there, so that requests at once do not share one place. */
  readonly admitted = new Set<Series>()
  readonly tags = new TagNode()
  readonly pairs = new TagPairs()
  readonly seriesByTags = new Map<string, Series>()
  /** The writer's: which round `slot` is of. */
  epoch = 0
  slot = 0

  constructor(project: string, name: string, type: MetricType) {
    this.project = project
    this.name = name
    this.type = type
    this.kind = rollupKindOf(type)
    this.definition = { project, name, type }
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
  /** It is among those that `seriesCount` counts because the store holds them. */
  counted = false
  /** The series limit was met and this series is beyond it, as of the registry's last look. */
  refused = false
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

export interface RegistryLimits {
  /** Series and tag paths held in memory; beyond it the registry starts anew. */
  readonly entriesMax: number
  readonly seriesPerMetricMax: number
  /** Bytes of items remembered for each project. */
  readonly itemMemoryBytesMax: number
}

export class Registry {
  readonly #store: Store
  readonly #limits: RegistryLimits
  #projects = new Map<string, Map<MetricType, Map<string, Metric>>>()
  #memories = new Map<string, ItemMemory<Series>>()
  /** Deletions under way, by project and name. */
  readonly #ending = new Map<string, Promise<unknown>>()
  readonly #now: () => number
  #entries = 0
  #generation = 1

  constructor(store: Store, limits: RegistryLimits, now: () => number) {
    this.#store = store
    this.#limits = limits
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

  /**
   * The series that stand for these, whose metrics are gone: the metrics are defined anew. Undefined: one of them cannot be written,
   * for its metric has another type now, or too many series. Rejects with `store_unavailable`.
   */
  async succeed(gone: readonly Series[]): Promise<ReadonlyMap<Series, Series> | undefined> {
    for (const { project, name } of new Set(gone.map(({ metric }) => metric))) this.forget(project, name)
    const heirs = new Map<Series, Series>()
    for (const series of gone) {
      const { project, name, type, definition } = series.metric
      const heir = this.resolve(project, name, type, series.tags, definition)
      if ('code' in heir) return undefined
      heirs.set(series, heir)
    }
    await this.define(new Set([...heirs.values()].map(({ metric }) => metric)))
    await this.enforceSeriesLimit(heirs.values())
    if ([...heirs.values()].every((heir) => this.judge(heir) === undefined)) return heirs
    for (const heir of heirs.values()) this.release(heir)
    return undefined
  }

  isRegistered(series: Series): boolean {
    return series.registeredIn === this.#generation
  }

  /** A commit that announced the series, made in this generation, has been applied. */
  register(series: Series): void {
    if (this.isRegistered(series)) return
    const { metric } = series
    series.registeredIn = this.#generation
    if (!metric.admitted.delete(series) && !series.counted) metric.seriesCount++
    series.counted = true
  }

  /** A commit that announced the series has not been applied, or nobody knows: its place is free again. */
  release(series: Series): void {
    const { metric } = series
    if (metric.admitted.delete(series)) metric.seriesCount--
  }

  /** Whether it has outgrown its bound: the caller clears it between requests. */
  get full(): boolean {
    return this.#entries > this.#limits.entriesMax
  }

  /** What decoders remember of a project's items. It is dropped with all else, so a series in it is always one of ours. */
  memory(project: string): ItemMemory<Series> {
    let memory = this.#memories.get(project)
    if (memory === undefined) {
      memory = new ItemMemory(this.#limits.itemMemoryBytesMax)
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
  ): Series | Rejection {
    const metric = this.#metric(project, name, type)
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

  /**
   * Learns the rows of metrics not asked for before; afterwards every one of them has its row. Rejects with
   * `store_unavailable`.
   */
  async define(metrics: Iterable<Metric>): Promise<void> {
    const unknown = [...metrics].filter((metric) => metric.row === undefined)
    if (unknown.length === 0) return
    const definitions: MetricDefinition[] = unknown.map(({ project, name, type, about }) => ({
      project,
      name,
      type,
      ...about,
    }))
    await Promise.all(unknown.map(({ project, name }) => this.#ending.get(JSON.stringify([project, name]))))
    const rows = await this.#store.defineMetrics(definitions)
    for (const [i, metric] of unknown.entries()) {
      const row = rows[i]
      if (row === undefined) throw new GatewayError('internal', 'the store left a metric undefined')
      if (metric.row === undefined) learn(metric, row, this.#now())
      metric.seriesCount = Math.max(metric.seriesCount, row.seriesCount)
    }
  }

  /** Why a series must not be written, after `define`. Gives it its id on the way. */
  judge(series: Series): Rejection | undefined {
    const { metric } = series
    if (metric.row?.type !== metric.type) return typeConflict(metric)
    series.id ??= seriesIdOf(metric.row.metricId, series.tags)
    if (series.refused) {
      const limit = this.#limits.seriesPerMetricMax
      return reject(
        'series_limit_exceeded',
        `metric ${quote(metric.name)} has ${limit} series, the most allowed; this one would be new`,
      )
    }
    return undefined
  }

  /**
   * Marks those of the series that would take their metric over its limit. A series that we have not seen may still be in the
   * store, so near the limit the store is asked.
   */
  async enforceSeriesLimit(candidates: Iterable<Series>): Promise<void> {
    const byMetric = new Map<Metric, Series[]>()
    for (const series of candidates) {
      if (this.isRegistered(series) || series.counted || series.metric.row?.type !== series.metric.type) continue
      const list = byMetric.get(series.metric)
      if (list === undefined) byMetric.set(series.metric, [series])
      else list.push(series)
    }
    for (const [metric, list] of byMetric) {
      const { row, admitted } = metric
      if (row === undefined) continue
      const fresh = list.filter((series) => !admitted.has(series))
      if (metric.seriesCount + fresh.length <= this.#limits.seriesPerMetricMax) {
        for (const series of fresh) admit(series)
        continue
      }
      const ids = list.map((series) => (series.id ??= seriesIdOf(row.metricId, series.tags)))
      const [known, now] = await Promise.all([
        this.#store.hasSeries(row.partition, row.metricId, ids),
        this.#store.readMetric(metric.project, metric.name),
      ])
      for (const [i, series] of list.entries()) {
        if (known[i] !== true) continue
        // Counted, and announced all the same: only what our own commits announced do we hear about when it is forgotten.
        series.counted = true
        series.refused = false
        admitted.delete(series)
      }
      // Our own count takes a series for new that another gateway, or we before a restart, had registered.
      metric.seriesCount = (now?.seriesCount ?? 0) + admitted.size
      for (const series of list) {
        if (series.counted || admitted.has(series)) continue
        if (metric.seriesCount < this.#limits.seriesPerMetricMax) admit(series)
        else series.refused = true
      }
    }
  }

  #metric(project: string, name: string, type: MetricType): Metric {
    let types = this.#projects.get(project)
    if (types === undefined) this.#projects.set(project, (types = new Map()))
    let names = types.get(type)
    if (names === undefined) types.set(type, (names = new Map()))
    let metric = names.get(name)
    if (metric === undefined) {
      names.set(name, (metric = new Metric(project, name, type)))
      this.#entries++
    }
    return metric
  }

  /** The long way: sorts the tags, finds or makes the series, and lays the path for the next time. */
  #firstSight(metric: Metric, pairs: readonly (readonly [string, string])[]): Series {
    const tags = canonicalTags(pairs)
    const key = JSON.stringify(tags)
    let series = metric.seriesByTags.get(key)
    if (series === undefined) metric.seriesByTags.set(key, (series = new Series(metric, metric.pairs.share(tags))))
    let node = metric.tags
    for (const [name, value] of pairs) node = node.grow(name, value)
    node.series = series
    this.#entries += 1 + pairs.length
    return series
  }
}

/** How long a claim that was found to be wrong counts as wrong without asking again. */
const CONFLICT_TRUST_MS = 1_000

function learn(metric: Metric, row: MetricRow, nowMs: number): void {
  metric.row = row
  metric.learntMs = nowMs
  metric.definition = {
    ...metric.definition,
    ...(row.unit === undefined ? {} : { unit: row.unit }),
    ...(row.description === undefined ? {} : { description: row.description }),
  }
}

function admit(series: Series): void {
  series.refused = false
  series.metric.admitted.add(series)
  series.metric.seriesCount++
}

function typeConflict(metric: Metric): Rejection {
  const stored = metric.row?.type ?? 'of another type'
  return reject('type_conflict', `metric ${quote(metric.name)} is a ${stored}, not a ${metric.type}`)
}
