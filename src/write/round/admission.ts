import { GatewayError, quote } from '../../model/errors.ts'
import { type Rejection, reject } from '../../model/point.ts'
import { seriesIdOf } from '../../model/series.ts'
import { within } from '../../model/within.ts'
import type { MetricDefinition, MetricRow, Store } from '../../store/store.ts'
import type { Metric, Series } from './cached-metric.ts'
import type { PointBatch } from './point-batch.ts'
import { type Registry, typeConflict } from './registry.ts'

/** Metrics and series in one call to the store, and items validated before the event loop gets a turn. */
const METRICS_PER_CALL = 500
const SERIES_PER_CALL = 1_000
const ITEMS_PER_YIELD = 1_000

/**
 * Decides which items of a request may be stored, and reserves what they need until the request ends: places for new
 * series, tag keys and names of new metrics. An item is validated whole before any of its metrics is defined, so a
 * refused item leaves nothing behind.
 *
 * `end` releases what no commit has registered meanwhile. Whoever creates an admission must end it.
 */
export class Admission {
  readonly #registry: Registry
  readonly #reserved = new Set<Series>()
  /** Metrics to define. */
  readonly #claimed = new Set<Metric>()
  /** Metrics whose rows were read from the store. */
  readonly #read = new Set<Metric>()
  /** By project: how many metrics the store had, and how many definitions were finished before it was asked. */
  readonly #counts = new Map<string, { readonly metrics: number; readonly finished: number }>()
  #isDefining = false
  #hasEnded = false

  constructor(registry: Registry) {
    this.#registry = registry
  }

  /** Rejects the items of a batch that may not be stored, and returns their indexes. Throws `store_unavailable`. */
  async admit(batch: PointBatch): Promise<ReadonlySet<number>> {
    await this.#readStore(batch.undefinedMetrics, batch.newSeries)
    const refused = new Set<number>()
    let validated = 0
    for (let from = 0, to = 0; from < batch.length; from = to) {
      const item = batch.item[from]!
      while (to < batch.length && batch.item[to] === item) to++
      const rejection = this.#reserveItem(batch.series, from, to)
      if (rejection !== undefined) {
        refused.add(item)
        batch.reject(item, rejection)
      }
      if (++validated % ITEMS_PER_YIELD === 0) await this.#yield()
    }
    await this.#define()
    // Another gateway may have defined the name first, with another type.
    for (let i = 0; i < batch.length; i++) {
      const { metric } = batch.series[i]!
      const item = batch.item[i]!
      if (metric.row?.type === metric.type || refused.has(item)) continue
      refused.add(item)
      batch.reject(item, typeConflict(metric))
    }
    await this.#setSeriesIds()
    return refused
  }

  end(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    for (const series of this.#reserved) series.metric.release(series)
    if (!this.#isDefining) this.#endClaims()
    // Names that were never defined: a client may send many of them.
    for (const metric of this.#read) if (metric.row === undefined && metric.claims === 0) this.#registry.discard(metric)
  }

  /** Reads all that validation needs. */
  async #readStore(metrics: Iterable<Metric>, series: Iterable<Series>): Promise<void> {
    const unknown = [...metrics].filter((metric) => metric.row === undefined)
    for (const metric of unknown) this.#read.add(metric)
    await this.#call(() => this.#registry.waitForDeletions(unknown))
    await this.#readRows(unknown, (metric, row) => {
      if (metric.row === undefined) metric.setRow(row, this.#registry.nowMs)
    })
    await this.#refresh(series)
    for (const { project, row } of unknown) {
      if (row !== undefined || this.#counts.has(project)) continue
      const { finished } = this.#registry.definitionsOf(project)
      this.#counts.set(project, { metrics: await this.#call((store) => store.countMetrics(project)), finished })
    }
    this.#requireOpen()
  }

  /**
   * Reads rows again where the cache may refuse too much: metrics that get a new tag key, which another gateway may
   * have added, and metrics without room for all new series, some of which the store may already have.
   */
  async #refresh(candidates: Iterable<Series>): Promise<void> {
    const fresh = new Map<Metric, Series[]>()
    for (const series of candidates) {
      const { metric } = series
      if (series.counted || series.reservations > 0 || metric.row?.type !== metric.type) continue
      const known = fresh.get(metric)
      if (known === undefined) fresh.set(metric, [series])
      else known.push(series)
    }
    const { seriesPerMetricMax } = this.#registry.limits
    const full = [...fresh].filter(([metric, series]) => metric.seriesTotal + series.length > seriesPerMetricMax)
    const registrations = new Map<Metric, number>()
    for (const [metric, series] of full) {
      registrations.set(metric, metric.registrations)
      await this.#findStored(metric, series)
    }
    const stale = [...fresh]
      .filter(
        ([metric, series]) =>
          registrations.has(metric) ||
          (!this.#read.has(metric) && series.some((candidate) => metric.hasNewTagKey(candidate))),
      )
      .map(([metric]) => metric)
    for (const metric of stale) registrations.set(metric, registrations.get(metric) ?? metric.registrations)
    await this.#readRows(stale, (metric, row) => metric.refresh(row, registrations.get(metric)!))
  }

  async #findStored(metric: Metric, series: readonly Series[]): Promise<void> {
    const { partition, metricId } = metric.row!
    for (let from = 0; from < series.length; from += SERIES_PER_CALL) {
      const chunk = series.slice(from, from + SERIES_PER_CALL)
      const ids = chunk.map((candidate) => (candidate.id ??= seriesIdOf(metricId, candidate.tags)))
      const stored = await this.#call((store) => store.hasSeries(partition, metricId, ids))
      for (const [i, candidate] of chunk.entries()) if (stored[i] === true) metric.markStored(candidate)
      await this.#yield()
    }
  }

  async #readRows(metrics: readonly Metric[], onRow: (metric: Metric, row: MetricRow) => void): Promise<void> {
    for (const chunk of chunksByProject(metrics)) {
      const names = chunk.map(({ name }) => name)
      const rows = await this.#call((store) => store.readMetrics(chunk[0]!.project, names))
      for (const [i, metric] of chunk.entries()) {
        const row = rows[i]
        if (row !== undefined) onRow(metric, row)
      }
      if (metrics.length > METRICS_PER_CALL) await this.#yield()
    }
  }

  /** Reserves all that an item needs, or nothing: then it returns why. */
  #reserveItem(series: readonly Series[], from: number, to: number): Rejection | undefined {
    const reserved: Series[] = []
    const claimed: Metric[] = []
    for (let i = from; i < to; i++) {
      const candidate = series[i]!
      if (this.#registry.isRegistered(candidate) || this.#reserved.has(candidate)) continue
      const { metric } = candidate
      const rejection = this.#claim(metric, claimed) ?? this.#validate(candidate)
      if (rejection !== undefined) {
        for (const earlier of reserved) {
          this.#reserved.delete(earlier)
          earlier.metric.release(earlier)
        }
        for (const earlier of claimed) this.#endClaim(earlier)
        return rejection
      }
      metric.reserve(candidate)
      this.#reserved.add(candidate)
      reserved.push(candidate)
    }
    return undefined
  }

  /** Claims a metric that does not exist, so that this request defines it. */
  #claim(metric: Metric, claimed: Metric[]): Rejection | undefined {
    if (metric.row !== undefined) return metric.row.type === metric.type ? undefined : typeConflict(metric)
    if (this.#claimed.has(metric)) return undefined
    const { newMetricsPerRequestMax, metricsPerProjectMax } = this.#registry.limits
    const competing = this.#registry.competingClaim(metric)
    if (competing !== undefined) return typeConflict(metric, competing.type)
    if (this.#claimed.size >= newMetricsPerRequestMax)
      return tooMany(metric, `a request may bring ${newMetricsPerRequestMax} new metrics at most`)
    const counted = this.#counts.get(metric.project)
    const definitions = this.#registry.definitionsOf(metric.project)
    const metrics = (counted?.metrics ?? 0) + definitions.started - (counted?.finished ?? definitions.finished)
    if (metric.claims === 0 && metrics >= metricsPerProjectMax)
      return tooMany(metric, `the project has ${metricsPerProjectMax} metrics, the most allowed`)
    if (metric.claims++ === 0) definitions.started++
    this.#claimed.add(metric)
    claimed.push(metric)
    return undefined
  }

  /** Checks a new series against the limits of its metric. */
  #validate(series: Series): Rejection | undefined {
    const { metric } = series
    if (series.counted || series.reservations > 0) return undefined
    const { seriesPerMetricMax, tagKeysPerMetricMax } = this.#registry.limits
    if (metric.seriesTotal >= seriesPerMetricMax)
      return reject(
        'series_limit_exceeded',
        `metric ${quote(metric.name)} has ${seriesPerMetricMax} series, the most allowed; this one would be new`,
      )
    if (metric.hasNewTagKey(series) && metric.tagKeysWith(series) > tagKeysPerMetricMax)
      return reject(
        'invalid_tags',
        `metric ${quote(metric.name)} may have ${tagKeysPerMetricMax} tag keys at most; this point would bring more`,
      )
    return undefined
  }

  /** Defines the claimed metrics. */
  async #define(): Promise<void> {
    const { nowMs } = this.#registry
    this.#isDefining = true
    try {
      for (const chunk of chunksByProject([...this.#claimed])) {
        for (const metric of chunk) metric.isDefinitionSent = true
        const rows = await this.#call((store) => store.defineMetrics(chunk.map(definitionOf)))
        for (const [i, metric] of chunk.entries()) {
          const row = rows[i]
          if (row === undefined) throw new GatewayError('internal', 'the store left a metric undefined')
          if (metric.row === undefined) metric.setRow(row, nowMs)
        }
        if (this.#claimed.size > METRICS_PER_CALL) await this.#yield()
      }
    } finally {
      this.#isDefining = false
      this.#endClaims()
    }
    this.#requireOpen()
  }

  async #setSeriesIds(): Promise<void> {
    let done = 0
    for (const series of this.#reserved) {
      series.id ??= seriesIdOf(series.metric.row!.metricId, series.tags)
      if (++done % ITEMS_PER_YIELD === 0) await this.#yield()
    }
  }

  #endClaims(): void {
    for (const metric of this.#claimed) this.#endClaim(metric)
  }

  #endClaim(metric: Metric): void {
    this.#claimed.delete(metric)
    if (--metric.claims > 0) return
    const definitions = this.#registry.definitionsOf(metric.project)
    if (metric.isDefinitionSent) definitions.finished++
    else definitions.started--
    metric.isDefinitionSent = false
  }

  /** Calls the store. Each call may take as long as a request waits for the store, because a request may need many. */
  #call<T>(run: (store: Store) => Promise<T>): Promise<T> {
    return within(this.#registry.limits.storeWaitMsMax, () => run(this.#registry.store))
  }

  /** Yields to the event loop, so that other requests run. */
  async #yield(): Promise<void> {
    await new Promise(setImmediate)
    this.#requireOpen()
  }

  /** Throws when the request has ended while the store kept it waiting: its reservations are released. */
  #requireOpen(): void {
    if (this.#hasEnded) throw new GatewayError('store_unavailable', 'the store does not respond')
  }
}

function definitionOf({ project, name, type, about }: Metric): MetricDefinition {
  return { project, name, type, ...about }
}

function tooMany({ name }: Metric, reason: string): Rejection {
  return reject('metric_limit_exceeded', `${reason}; ${quote(name)} would be new`)
}

/** Metrics in chunks of one project each, small enough for one call to the store. */
function* chunksByProject(metrics: readonly Metric[]): Iterable<readonly Metric[]> {
  const byProject = new Map<string, Metric[]>()
  for (const metric of metrics) {
    const sameProject = byProject.get(metric.project)
    if (sameProject === undefined) byProject.set(metric.project, [metric])
    else sameProject.push(metric)
  }
  for (const sameProject of byProject.values())
    for (let from = 0; from < sameProject.length; from += METRICS_PER_CALL)
      yield sameProject.slice(from, from + METRICS_PER_CALL)
}
