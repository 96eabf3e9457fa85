import { GatewayError, quote } from '../../model/errors.ts'
import { type Rejection, reject } from '../../model/point.ts'
import { seriesIdOf } from '../../model/series.ts'
import { within } from '../../model/within.ts'
import type { MetricDefinition, MetricRow, Store } from '../../store/store.ts'
import type { Metric, Series } from './cached-metric.ts'
import type { PointBatch } from './point-batch.ts'
import { type Registry, typeConflict } from './registry.ts'

/** Metrics and series in one call to the store, and points validated before the event loop gets a turn. */
const METRICS_PER_CALL = 500
const SERIES_PER_CALL = 1_000
const POINTS_PER_YIELD = 1_000
const SERIES_PER_YIELD = 5_000

/** Unknown names that a request may have decoded before they are reviewed. */
const NAMES_REVIEWED = 1_000

/** Estimated memory of a new metric or series. */
const NEW_BYTES = 1_024

/** Numbers the admissions of this process. */
let admissions = 0

/**
 * Decides which items of a request may be stored, and reserves what they need until the request ends: places for new
 * series, tag keys and names of new metrics. An item is validated whole before any of its metrics is defined, so a
 * refused item leaves nothing behind. The points of refused items are removed from the batch.
 *
 * A body of many unknown names is reviewed while it is decoded: names that may not be defined are freed before the next
 * ones are decoded. Metrics are defined when the whole body has turned out to be good.
 *
 * `end` releases what no commit has registered meanwhile. Whoever creates an admission must end it.
 */
export class Admission {
  readonly #registry: Registry
  readonly #batch: PointBatch
  /** Called with changes of the estimated memory of what waits for the store. */
  readonly #onBytes: (change: number) => void
  #bytes = 0
  readonly #id = ++admissions
  /** The attempt to decode that the fields below belong to, and how many of its points are admitted. */
  #restarts: number
  #admitted = 0
  /** A series occurs as often as its place was reserved. */
  #reserved: Series[] = []
  /** Metrics to define, and the same in the order of their claims. */
  readonly #claimed = new Set<Metric>()
  readonly #claims: Metric[] = []
  /** Metrics whose rows were read from the store. */
  readonly #read = new Set<Metric>()
  /** Metrics that the store did not have at the review before, and at the latest one. */
  #missingBefore: readonly Metric[] = []
  #missing: readonly Metric[] = []
  /** By project: how many metrics the store had, and how many definitions were finished before it was asked. */
  readonly #counts = new Map<string, { readonly metrics: number; readonly finished: number }>()
  #isDefining = false
  #hasEnded = false

  constructor(registry: Registry, batch: PointBatch, onBytes: (change: number) => void = () => {}) {
    this.#registry = registry
    this.#batch = batch
    this.#onBytes = onBytes
    this.#restarts = batch.restarts
  }

  /** Whether so many unknown names were decoded that they should be reviewed before the next ones are decoded. */
  static isReviewDue({ newMetrics }: PointBatch): boolean {
    return newMetrics.length >= NAMES_REVIEWED
  }

  /** Admits the items decoded so far, but for the last one, which may not be complete. */
  async review(): Promise<void> {
    const { item, length } = this.#batch
    let to = length
    while (to > 0 && item[to - 1] === item[length - 1]) to--
    await this.#admit(to)
  }

  /** Admits the items of the whole body, and defines their metrics. Throws `store_unavailable`. */
  async finish(): Promise<void> {
    await this.#admit(this.#batch.length)
    this.#discardMissing()
    const defined = await this.#define()
    // Another gateway may have defined a name first, with another type.
    if (defined.some(hasOtherType)) await this.#keepPoints(0, this.#batch.length, (series) => conflictOf(series.metric))
    await this.#setSeriesIds()
    this.#setBytes(0)
  }

  /** Resolves when everything reserved is released. */
  async end(): Promise<void> {
    if (this.#hasEnded) return
    this.#hasEnded = true
    await this.#release()
    this.#setBytes(0)
  }

  /** Admits the points up to a position, and removes those of refused items. */
  async #admit(to: number): Promise<void> {
    const batch = this.#batch
    if (batch.restarts !== this.#restarts) {
      this.#restarts = batch.restarts
      this.#admitted = 0
      await this.#release()
    }
    const { metrics, series } = batch.takeNew()
    this.#setBytes((this.#claims.length + this.#reserved.length + metrics.length + series.length) * NEW_BYTES)
    await this.#readStore(metrics, series)
    this.#admitted = await this.#keepPoints(this.#admitted, to, (candidate) => this.#reserve(candidate))
    this.#setBytes((this.#claims.length + this.#reserved.length) * NEW_BYTES)
  }

  /**
   * Judges the points of a range, and removes all points of an item that has a rejected one. What such an item has
   * reserved is released. Returns how many points there are up to the end of the range.
   */
  async #keepPoints(from: number, to: number, judge: (series: Series) => Rejection | undefined): Promise<number> {
    const batch = this.#batch
    const { version } = this.#registry
    let kept = from
    let item = -1
    let isRejected = false
    let keptBefore = kept
    let reservedBefore = this.#reserved.length
    let claimedBefore = this.#claims.length
    for (let i = from; i < to; i++) {
      const series = batch.series[i]!
      if (batch.item[i] !== item) {
        item = batch.item[i]!
        isRejected = false
        keptBefore = kept
        reservedBefore = this.#reserved.length
        claimedBefore = this.#claims.length
      }
      if (!isRejected) {
        const rejection = series.registeredIn === version ? undefined : judge(series)
        if (rejection === undefined) {
          if (kept < i) batch.move(i, kept)
          kept++
        } else {
          batch.reject(item, rejection)
          isRejected = true
          kept = keptBefore
          this.#rollBack(reservedBefore, claimedBefore)
        }
      }
      if ((i - from) % POINTS_PER_YIELD === POINTS_PER_YIELD - 1) await this.#yield()
    }
    if (kept === to) return kept
    const { length } = batch
    for (let i = to; i < length; i++) batch.move(i, kept + i - to)
    batch.truncate(kept + length - to)
    return kept
  }

  /** Releases what was reserved last, down to these numbers of series and claims. */
  #rollBack(reserved: number, claimed: number): void {
    while (this.#reserved.length > reserved) this.#releaseLast()
    while (this.#claims.length > claimed) this.#endLastClaim()
  }

  #releaseLast(): void {
    const series = this.#reserved.pop()!
    series.reservedBy = 0
    series.metric.release(series)
  }

  /** Releases everything. */
  async #release(): Promise<void> {
    while (this.#reserved.length > 0) {
      this.#releaseLast()
      if (this.#reserved.length % SERIES_PER_YIELD === 0) await new Promise(setImmediate)
    }
    const claimed = [...this.#claims]
    if (!this.#isDefining) this.#endClaims()
    this.#discardMissing()
    this.#discard(claimed)
  }

  /** Reads all that validation needs. */
  async #readStore(metrics: readonly Metric[], series: readonly Series[]): Promise<void> {
    const unknown: Metric[] = []
    for (const metric of metrics) {
      if (metric.row !== undefined || this.#read.has(metric)) continue
      this.#read.add(metric)
      unknown.push(metric)
    }
    this.#discardMissing(unknown)
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
   * Drops names that were not defined from the registry: a client may send many of them. Without `unknown` all of them,
   * otherwise those of the review before: an item that is not complete yet may have the latest ones.
   */
  #discardMissing(unknown?: readonly Metric[]): void {
    this.#discard(this.#missingBefore)
    if (unknown === undefined) this.#discard(this.#missing)
    this.#missingBefore = unknown === undefined ? [] : this.#missing
    this.#missing = unknown ?? []
  }

  #discard(metrics: readonly Metric[]): void {
    for (const metric of metrics) {
      if (metric.row !== undefined || metric.claims > 0) continue
      this.#registry.discard(metric)
      this.#read.delete(metric)
    }
  }

  /**
   * Reads rows again where the cache may refuse too much: metrics that get a new tag key, which another gateway may
   * have added, and metrics without room for all new series, some of which the store may already have.
   */
  async #refresh(candidates: readonly Series[]): Promise<void> {
    const fresh = new Map<Metric, { readonly series: Series[]; hasNewTagKey: boolean }>()
    for (const [i, series] of candidates.entries()) {
      if (i % SERIES_PER_YIELD === SERIES_PER_YIELD - 1) await this.#yield()
      const { metric } = series
      if (series.counted || series.reservations > 0 || metric.row?.type !== metric.type) continue
      let known = fresh.get(metric)
      if (known === undefined) fresh.set(metric, (known = { series: [], hasNewTagKey: false }))
      known.series.push(series)
      known.hasNewTagKey ||= metric.hasNewTagKey(series)
    }
    const { seriesPerMetricMax } = this.#registry.limits
    const registrations = new Map<Metric, number>()
    for (const [metric, { series }] of fresh) {
      if (metric.seriesTotal + series.length <= seriesPerMetricMax) continue
      registrations.set(metric, metric.registrations)
      await this.#findStored(metric, series)
    }
    for (const [metric, { hasNewTagKey }] of fresh)
      if (hasNewTagKey && !this.#read.has(metric) && !registrations.has(metric))
        registrations.set(metric, metric.registrations)
    await this.#readRows([...registrations.keys()], (metric, row) => metric.refresh(row, registrations.get(metric)!))
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

  /** Reserves a place for a series that no commit has registered, unless this request has one. */
  #reserve(series: Series): Rejection | undefined {
    if (series.reservedBy === this.#id) return undefined
    const { metric } = series
    const rejection = this.#claim(metric) ?? this.#validate(series)
    if (rejection !== undefined) return rejection
    metric.reserve(series)
    series.reservedBy = this.#id
    this.#reserved.push(series)
    return undefined
  }

  /** Claims a metric that does not exist, so that this request defines it. */
  #claim(metric: Metric): Rejection | undefined {
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
    this.#claims.push(metric)
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

  /** Defines the claimed metrics and returns them. */
  async #define(): Promise<readonly Metric[]> {
    const { nowMs } = this.#registry
    const defined = [...this.#claims]
    this.#isDefining = true
    try {
      for (const chunk of chunksByProject(defined)) {
        for (const metric of chunk) metric.isDefinitionSent = true
        const rows = await this.#call((store) => store.defineMetrics(chunk.map(definitionOf)))
        for (const [i, metric] of chunk.entries()) {
          const row = rows[i]
          if (row === undefined) throw new GatewayError('internal', 'the store left a metric undefined')
          if (metric.row === undefined) metric.setRow(row, nowMs)
        }
        if (defined.length > METRICS_PER_CALL) await this.#yield()
      }
    } finally {
      this.#isDefining = false
      this.#endClaims()
    }
    this.#requireOpen()
    return defined
  }

  async #setSeriesIds(): Promise<void> {
    let done = 0
    for (const series of this.#reserved) {
      series.id ??= seriesIdOf(series.metric.row!.metricId, series.tags)
      if (++done % POINTS_PER_YIELD === 0) await this.#yield()
    }
  }

  #endClaims(): void {
    while (this.#claims.length > 0) this.#endLastClaim()
  }

  #endLastClaim(): void {
    const metric = this.#claims.pop()!
    this.#claimed.delete(metric)
    if (--metric.claims > 0) return
    const definitions = this.#registry.definitionsOf(metric.project)
    if (metric.isDefinitionSent) definitions.finished++
    else definitions.started--
    metric.isDefinitionSent = false
  }

  #setBytes(bytes: number): void {
    this.#onBytes(bytes - this.#bytes)
    this.#bytes = bytes
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

function hasOtherType({ row, type }: Metric): boolean {
  return row?.type !== type
}

function conflictOf(metric: Metric): Rejection | undefined {
  return hasOtherType(metric) ? typeConflict(metric) : undefined
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
