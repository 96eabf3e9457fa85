import { GatewayError, quote } from '../../model/errors.ts'
import { type Rejection, reject } from '../../model/point.ts'
import { seriesIdOf } from '../../model/series.ts'
import { within } from '../../model/within.ts'
import type { MetricDefinition, MetricRow, Store } from '../../store/store.ts'
import type { PointBatch } from './point-batch.ts'
import { type AdmissionLimits, type Metric, type Registry, type Series, typeConflict } from './registry.ts'

/** Metrics in one call of the store, series in one question, and items judged, between two turns of the event loop. */
const METRICS_PER_CALL = 500
const SERIES_PER_CALL = 1_000
const ITEMS_PER_TURN = 1_000

/**
 * Decides which items of a request may be stored and holds what they take until the request has ended: places of new series, new tag
 * keys, names of new metrics. An item is judged whole before any of its metrics is defined, so that a refused one leaves nothing behind.
 *
 * `end` gives back what no commit has registered meanwhile. Whoever makes an admission ends it, whatever happens.
 */
export class Admission {
  readonly #registry: Registry
  readonly #limits: AdmissionLimits
  readonly #held = new Set<Series>()
  /** Metrics to be defined. */
  readonly #claimed = new Set<Metric>()
  /** Metrics that the store was asked for. */
  readonly #learnt = new Set<Metric>()
  /** By project: how many metrics there are at most, but for those that are being defined since. */
  readonly #counts = new Map<string, { readonly metrics: number; readonly ended: number }>()
  #isDefining = false
  #hasEnded = false

  constructor(registry: Registry, limits: Partial<AdmissionLimits> = {}) {
    this.#registry = registry
    this.#limits = { ...registry.limits, ...limits }
  }

  /** Rejects the items of a batch that may not be stored, and returns which. Rejects with `store_unavailable`. */
  async admit(batch: PointBatch): Promise<ReadonlySet<number>> {
    await this.#ask(batch.undefinedMetrics, batch.newSeries)
    const refused = new Set<number>()
    let judged = 0
    for (let from = 0, to = 0; from < batch.length; from = to) {
      const item = batch.item[from]!
      while (to < batch.length && batch.item[to] === item) to++
      const rejection = this.#hold(batch.series, from, to)
      if (rejection !== undefined) {
        refused.add(item)
        batch.reject(item, rejection)
      }
      if (++judged % ITEMS_PER_TURN === 0) await this.#turn()
    }
    await this.#define()
    // Another gateway may have been faster.
    for (let i = 0; i < batch.length; i++) {
      const { metric } = batch.series[i]!
      const item = batch.item[i]!
      if (metric.row?.type === metric.type || refused.has(item)) continue
      refused.add(item)
      batch.reject(item, typeConflict(metric))
    }
    await this.#identify()
    return refused
  }

  /** All of these series or none; whether they may be stored. */
  async admitSeries(series: readonly Series[]): Promise<boolean> {
    await this.#ask(new Set(series.map(({ metric }) => metric)), series)
    if (this.#hold(series, 0, series.length) !== undefined) return false
    await this.#define()
    if (series.some(({ metric }) => metric.row?.type !== metric.type)) return false
    await this.#identify()
    return true
  }

  end(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    for (const series of this.#held) series.metric.free(series)
    if (!this.#isDefining) this.#endClaims()
    // Names that nobody defined: many may be asked for that will never exist.
    for (const metric of this.#learnt)
      if (metric.row === undefined && metric.claims === 0) this.#registry.discard(metric)
  }

  /** Everything that the store has to say about these before they are judged. */
  async #ask(metrics: Iterable<Metric>, series: Iterable<Series>): Promise<void> {
    const unknown = [...metrics].filter((metric) => metric.row === undefined)
    for (const metric of unknown) this.#learnt.add(metric)
    await this.#within(() => this.#registry.deletionsOf(unknown))
    await this.#read(unknown, (metric, row) => {
      if (metric.row === undefined) metric.learn(row, this.#registry.nowMs)
    })
    await this.#refresh(series)
    for (const { project, row } of unknown) {
      if (row !== undefined || this.#counts.has(project)) continue
      const { ended } = this.#registry.definitionsOf(project)
      this.#counts.set(project, { metrics: await this.#within((store) => store.countMetrics(project)), ended })
    }
    this.#requireOpen()
  }

  /**
   * Asks anew about metrics of which our own knowledge does not suffice: those that get a tag key, because other gateways add some
   * too, and those whose new series may not find a place, because some of them may be stored.
   */
  async #refresh(candidates: Iterable<Series>): Promise<void> {
    const fresh = new Map<Metric, Series[]>()
    for (const series of candidates) {
      const { metric } = series
      if (series.counted || series.holds > 0 || metric.row?.type !== metric.type) continue
      const ofMetric = fresh.get(metric)
      if (ofMetric === undefined) fresh.set(metric, [series])
      else ofMetric.push(series)
    }
    const { seriesPerMetricMax } = this.#limits
    const full = [...fresh].filter(([metric, series]) => metric.seriesTotal + series.length > seriesPerMetricMax)
    const registered = new Map<Metric, number>()
    for (const [metric, series] of full) {
      registered.set(metric, metric.registrations)
      await this.#findStored(metric, series)
    }
    const asked = [...fresh].filter(
      ([metric, series]) =>
        registered.has(metric) || (!this.#learnt.has(metric) && series.some((one) => metric.bringsTagKey(one))),
    )
    for (const [metric] of asked) registered.set(metric, registered.get(metric) ?? metric.registrations)
    await this.#read(
      asked.map(([metric]) => metric),
      (metric, row) => metric.refresh(row, registered.get(metric)!),
    )
  }

  async #findStored(metric: Metric, series: readonly Series[]): Promise<void> {
    const { partition, metricId } = metric.row!
    for (let from = 0; from < series.length; from += SERIES_PER_CALL) {
      const chunk = series.slice(from, from + SERIES_PER_CALL)
      const ids = chunk.map((one) => (one.id ??= seriesIdOf(metricId, one.tags)))
      const known = await this.#within((store) => store.hasSeries(partition, metricId, ids))
      for (const [i, one] of chunk.entries()) if (known[i] === true) metric.markStored(one)
      await this.#turn()
    }
  }

  async #read(metrics: readonly Metric[], found: (metric: Metric, row: MetricRow) => void): Promise<void> {
    for (const chunk of chunksByProject(metrics)) {
      const names = chunk.map(({ name }) => name)
      const rows = await this.#within((store) => store.readMetrics(chunk[0]!.project, names))
      for (const [i, metric] of chunk.entries()) {
        const row = rows[i]
        if (row !== undefined) found(metric, row)
      }
      if (metrics.length > METRICS_PER_CALL) await this.#turn()
    }
  }

  /** Holds what an item takes, or nothing, and why not. */
  #hold(series: readonly Series[], from: number, to: number): Rejection | undefined {
    const held: Series[] = []
    const claimed: Metric[] = []
    for (let i = from; i < to; i++) {
      const one = series[i]!
      if (this.#registry.isRegistered(one) || this.#held.has(one)) continue
      const { metric } = one
      const rejection = this.#claim(metric, claimed) ?? this.#judge(one)
      if (rejection !== undefined) {
        for (const earlier of held) {
          this.#held.delete(earlier)
          earlier.metric.free(earlier)
        }
        for (const earlier of claimed) this.#endClaim(earlier)
        return rejection
      }
      metric.hold(one)
      this.#held.add(one)
      held.push(one)
    }
    return undefined
  }

  /** A metric that does not exist is to be defined, if it may be. */
  #claim(metric: Metric, claimed: Metric[]): Rejection | undefined {
    if (metric.row !== undefined) return metric.row.type === metric.type ? undefined : typeConflict(metric)
    if (this.#claimed.has(metric)) return undefined
    const { newMetricsPerRequestMax, metricsPerProjectMax } = this.#limits
    const rival = this.#registry.rivalOf(metric)
    if (rival !== undefined) return typeConflict(metric, rival.type)
    if (this.#claimed.size >= newMetricsPerRequestMax)
      return tooMany(metric, `a request may bring ${newMetricsPerRequestMax} new metrics at most`)
    const counted = this.#counts.get(metric.project)
    const definitions = this.#registry.definitionsOf(metric.project)
    const metrics = (counted?.metrics ?? 0) + definitions.begun - (counted?.ended ?? definitions.ended)
    if (metric.claims === 0 && metrics >= metricsPerProjectMax)
      return tooMany(metric, `the project has ${metricsPerProjectMax} metrics, the most allowed`)
    if (metric.claims++ === 0) definitions.begun++
    this.#claimed.add(metric)
    claimed.push(metric)
    return undefined
  }

  #judge(series: Series): Rejection | undefined {
    const { metric } = series
    if (series.counted || series.holds > 0) return undefined
    const { seriesPerMetricMax, tagKeysPerMetricMax } = this.#limits
    if (metric.seriesTotal >= seriesPerMetricMax)
      return reject(
        'series_limit_exceeded',
        `metric ${quote(metric.name)} has ${seriesPerMetricMax} series, the most allowed; this one would be new`,
      )
    if (metric.bringsTagKey(series) && metric.tagKeysWith(series) > tagKeysPerMetricMax)
      return reject(
        'invalid_tags',
        `metric ${quote(metric.name)} may have ${tagKeysPerMetricMax} tag keys at most; this point would bring more`,
      )
    return undefined
  }

  async #define(): Promise<void> {
    const { nowMs } = this.#registry
    this.#isDefining = true
    try {
      for (const chunk of chunksByProject([...this.#claimed])) {
        for (const metric of chunk) metric.isOffered = true
        const rows = await this.#within((store) => store.defineMetrics(chunk.map(definitionOf)))
        for (const [i, metric] of chunk.entries()) {
          const row = rows[i]
          if (row === undefined) throw new GatewayError('internal', 'the store left a metric undefined')
          if (metric.row === undefined) metric.learn(row, nowMs)
        }
        if (this.#claimed.size > METRICS_PER_CALL) await this.#turn()
      }
    } finally {
      this.#isDefining = false
      this.#endClaims()
    }
    this.#requireOpen()
  }

  async #identify(): Promise<void> {
    let identified = 0
    for (const series of this.#held) {
      series.id ??= seriesIdOf(series.metric.row!.metricId, series.tags)
      if (++identified % ITEMS_PER_TURN === 0) await this.#turn()
    }
  }

  #endClaims(): void {
    for (const metric of this.#claimed) this.#endClaim(metric)
  }

  #endClaim(metric: Metric): void {
    this.#claimed.delete(metric)
    if (--metric.claims > 0) return
    const definitions = this.#registry.definitionsOf(metric.project)
    if (metric.isOffered) definitions.ended++
    else definitions.begun--
    metric.isOffered = false
  }

  /** A request may have much to ask: each question has the time that a request waits for the store. */
  #within<T>(ask: (store: Store) => Promise<T>): Promise<T> {
    return within(this.#registry.limits.storeWaitMsMax, () => ask(this.#registry.store))
  }

  /** Lets other requests run. */
  async #turn(): Promise<void> {
    await new Promise(setImmediate)
    this.#requireOpen()
  }

  /** The request may have ended while the store kept it waiting: nothing is held for it any more. */
  #requireOpen(): void {
    if (this.#hasEnded) throw new GatewayError('store_unavailable', 'the store does not answer')
  }
}

/** Which series stands for a series of a metric that is gone, and what holds their places. */
export interface Succession {
  readonly heirs: ReadonlyMap<Series, Series>
  readonly admission: Admission
}

/**
 * Defines the metrics of these series anew, which are gone. Undefined: one of the series cannot be written, for its metric has
 * another type now, or there would be too many. Rejects with `store_unavailable`.
 */
export async function succeed(registry: Registry, gone: readonly Series[]): Promise<Succession | undefined> {
  for (const { project, name } of new Set(gone.map(({ metric }) => metric))) registry.forget(project, name)
  const heirs = new Map<Series, Series>()
  for (const series of gone) {
    const { project, name, type, definition } = series.metric
    const heir = registry.resolve(project, name, type, series.tags, definition)
    if ('code' in heir) return undefined
    heirs.set(series, heir)
  }
  // They were admitted by many requests.
  const admission = new Admission(registry, { newMetricsPerRequestMax: Number.POSITIVE_INFINITY })
  let isAdmitted = false
  try {
    isAdmitted = await admission.admitSeries([...heirs.values()])
  } finally {
    if (!isAdmitted) admission.end()
  }
  return isAdmitted ? { heirs, admission } : undefined
}

function definitionOf({ project, name, type, about }: Metric): MetricDefinition {
  return { project, name, type, ...about }
}

function tooMany({ name }: Metric, reason: string): Rejection {
  return reject('metric_limit_exceeded', `${reason}; ${quote(name)} would be new`)
}

/** In pieces that a store answers in one call. */
function* chunksByProject(metrics: readonly Metric[]): Iterable<readonly Metric[]> {
  const byProject = new Map<string, Metric[]>()
  for (const metric of metrics) {
    const ofProject = byProject.get(metric.project)
    if (ofProject === undefined) byProject.set(metric.project, [metric])
    else ofProject.push(metric)
  }
  for (const ofProject of byProject.values())
    for (let from = 0; from < ofProject.length; from += METRICS_PER_CALL)
      yield ofProject.slice(from, from + METRICS_PER_CALL)
}
