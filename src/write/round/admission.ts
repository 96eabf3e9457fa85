import { GatewayError, quote } from '../../model/errors.ts'
import { type Rejection, reject } from '../../model/point.ts'
import { seriesIdOf } from '../../model/series.ts'
import { withTimeout } from '../../model/with-timeout.ts'
import type { MetricDefinition, MetricRow, Store } from '../../store/store.ts'
import type { Metric, Series } from './cached-metric.ts'
import type { PointBatch } from './point-batch.ts'
import { type Registry, typeConflict } from './registry.ts'

/**
 * Maximum number of metrics and series in one call to the store, and number of points validated before the event loop
 * runs other work.
 */
const METRICS_PER_CALL = 500
const SERIES_PER_CALL = 1_000
const POINTS_PER_YIELD = 1_000
const SERIES_PER_YIELD = 5_000

/** Number of unknown names after which a request is reviewed while it is still being decoded. */
const NAMES_REVIEWED = 1_000

/** Estimated memory of a new metric or series. */
const NEW_BYTES = 1_024

/** Number of admissions that this process has created. Each admission has a unique number. */
let admissions = 0

/**
 * Decides which items of a request may be stored. Until the request ends, it reserves places for new series, new tag
 * keys and the names of new metrics. An item is validated completely before any of its metrics is defined, so a
 * rejected item leaves nothing behind. The points of rejected items are removed from the batch.
 *
 * A body with many unknown names is reviewed while it is decoded: names that must not be defined are freed before more
 * names are decoded. Metrics are defined only after the whole body has been validated.
 *
 * `end` releases all reservations that no commit has registered. The creator of an admission must call it.
 */
export class Admission {
  readonly #registry: Registry
  readonly #batch: PointBatch
  /** Called when the estimated memory of metrics and series that wait for the store changes. */
  readonly #onBytes: (change: number) => void
  #bytes = 0
  readonly #id = ++admissions
  /** The decoding attempt that the fields below belong to, and the number of its points that are admitted. */
  #restarts: number
  #admitted = 0
  /** Series with a reserved place. A series occurs once for each of its reservations. */
  #reserved: Series[] = []
  /** Metrics to define, as a set and in the order of their claims. */
  readonly #claimed = new Set<Metric>()
  readonly #claims: Metric[] = []
  /** Metrics whose rows were read from the store. */
  readonly #read = new Set<Metric>()
  /** Metrics that the store did not have at the previous review, and at the latest review. */
  #missingBefore: readonly Metric[] = []
  #missing: readonly Metric[] = []
  /**
   * By project: the number of metrics in the store, and the number of definitions that were finished before it was
   * read.
   */
  readonly #counts = new Map<string, { readonly metrics: number; readonly finished: number }>()
  #isDefining = false
  #hasEnded = false

  constructor(registry: Registry, batch: PointBatch, onBytes: (change: number) => void = () => {}) {
    this.#registry = registry
    this.#batch = batch
    this.#onBytes = onBytes
    this.#restarts = batch.restarts
  }

  /** Whether the batch has so many unknown names that they must be reviewed before more names are decoded. */
  static isReviewDue({ newMetrics }: PointBatch): boolean {
    return newMetrics.length >= NAMES_REVIEWED
  }

  /** Admits the items decoded so far except the last one, which may be incomplete. */
  async review(): Promise<void> {
    const { item, length } = this.#batch
    let to = length
    while (to > 0 && item[to - 1] === item[length - 1]) to--
    await this.#admit(to)
  }

  /** Admits the items of the whole body and defines their metrics. Throws `store_unavailable`. */
  async finish(): Promise<void> {
    await this.#admit(this.#batch.length)
    this.#discardMissing()
    const defined = await this.#define()
    // Another gateway may have defined the same name with another type in the meantime.
    if (defined.some(hasOtherType)) await this.#keepPoints(0, this.#batch.length, (series) => conflictOf(series.metric))
    await this.#setSeriesIds()
    this.#setBytes(0)
  }

  /** Releases all reservations. Resolves when they are released. */
  async end(): Promise<void> {
    if (this.#hasEnded) return
    this.#hasEnded = true
    await this.#release()
    this.#setBytes(0)
  }

  /** Admits the points before the position `to`, and removes the points of rejected items. */
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
   * Validates the points of a range with `judge`. If one point of an item is rejected, removes all points of the item
   * and releases its reservations. Returns the number of points left up to the end of the range.
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

  /** Releases the latest reservations and claims until only `reserved` series and `claimed` claims are left. */
  #rollBack(reserved: number, claimed: number): void {
    while (this.#reserved.length > reserved) this.#releaseLast()
    while (this.#claims.length > claimed) this.#endLastClaim()
  }

  #releaseLast(): void {
    const series = this.#reserved.pop()!
    series.reservedBy = 0
    series.metric.release(series)
  }

  /** Releases all reservations and claims. */
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

  /** Reads from the store all rows and counts that validation needs. */
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
   * Evicts from the registry names that are still undefined, because a client may send many of them. `unknown` are the
   * undefined names of the latest review: one of them may belong to an incomplete item, so they are kept until the next
   * call. Without `unknown`, all undefined names are evicted.
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
   * Reads rows again if the cached rows may be too old: for metrics that get a new tag key, which another gateway may
   * have added, and for metrics without room for all new series, some of which the store may already have.
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

  /** Reserves a place for a series that no commit has registered, unless this request has already reserved one. */
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

  /** Defines the claimed metrics in the store and returns them. */
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

  /**
   * Calls the store. The time limit applies to each call and not to the request, because a request may need many calls.
   */
  #call<T>(run: (store: Store) => Promise<T>): Promise<T> {
    return withTimeout(this.#registry.limits.storeWaitMsMax, () => run(this.#registry.store))
  }

  /** Yields to the event loop, so that other requests run. */
  async #yield(): Promise<void> {
    await new Promise(setImmediate)
    this.#requireOpen()
  }

  /** Throws if the request ended while it waited for the store, because its reservations are already released. */
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

/**
 * Yields chunks of metrics. All metrics of a chunk belong to one project, and one call to the store can take the chunk.
 */
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
