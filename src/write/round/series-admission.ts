import { GatewayError, quote } from '../../model/errors.ts'
import { type Rejection, reject } from '../../model/point.ts'
import { seriesIdOf } from '../../model/series.ts'
import { withTimeout } from '../../model/with-timeout.ts'
import type { MetricDefinition, MetricRow } from '../../store/catalog.ts'
import type { Store } from '../../store/store.ts'
import type { Metric, Series } from './cached-metric.ts'
import { chunksByProject } from './chunks-by-project.ts'
import type { PointBatch } from './point-batch.ts'
import { type Registry, rejectTypeConflict } from './registry.ts'

/** Maximum number of metrics, and of series, in one call to the store. */
const METRICS_PER_CALL_MAX = 500
const SERIES_PER_CALL_MAX = 1_000
/** Number of points (or of series ids to compute), and of series, that are handled before the admission yields. */
const POINTS_PER_YIELD = 1_000
const SERIES_PER_YIELD = 5_000

/** Number of unknown metric names at which the points decoded so far are reviewed (`review`). */
const REVIEW_NAMES_MIN = 1_000

/** Estimated memory of a new metric or series until the request is admitted. */
const NEW_ENTRY_MEMORY_BYTES = 1_024

/** Id of the newest admission. Ids are unique in this process. */
let lastAdmissionId = 0

/**
 * Decides which items of a request may be stored. A new series, tag key or metric counts towards its limit before it is
 * stored: the admission reserves a place for a series and its tag keys until the request ends, and claims a metric
 * until it is defined. A rejected item defines no metric, unless another gateway defines one of the item's metrics at
 * the same time with another type. The points of rejected items are removed from the batch.
 *
 * A body with many unknown metric names is reviewed while it is decoded: names that neither exist nor are claimed are
 * freed two reviews later at the latest. Metrics are defined only after the whole body has been validated.
 *
 * The creator of an admission must call `end`, which releases its reservations. Series that a commit has registered
 * stay counted.
 */
export class Admission {
  readonly #registry: Registry
  readonly #batch: PointBatch
  /** Called with each change, in bytes, of the estimated memory of the new metrics and series. */
  readonly #onMemoryChange: (change: number) => void
  #memoryBytes = 0
  readonly #id = ++lastAdmissionId
  /**
   * The decoding attempt (`PointBatch.decodingAttempts`) whose points are admitted. When another attempt has begun, all
   * reservations and claims are released, and `#admittedPoints` is set to 0.
   */
  #decodingAttempt: number
  /** Number of points at the beginning of the batch that are admitted. */
  #admittedPoints = 0
  /** Series for which this admission has reserved a place, in the order of the reservations. */
  #reservedSeries: Series[] = []
  /**
   * Metrics that this request will define, unless another one does first: as a set for look-ups, and as a list in the
   * order of the claims, so that the latest can be undone.
   */
  readonly #claimedMetrics = new Set<Metric>()
  readonly #claimOrder: Metric[] = []
  /** Metrics that this admission has looked up in the store, except undefined ones that were evicted since. */
  readonly #lookedUpMetrics = new Set<Metric>()
  /**
   * Metrics that were looked up in the store by the last review but one (`#previousLookups`) and by the last review.
   */
  #previousLookups: readonly Metric[] = []
  #latestLookups: readonly Metric[] = []
  /**
   * By project: the number of metrics in the store, and how many definitions this process had finished before it read
   * that number.
   */
  readonly #metricCounts = new Map<string, { readonly metricCount: number; readonly finishedDefinitions: number }>()
  #isDefining = false
  #hasEnded = false

  constructor(registry: Registry, batch: PointBatch, onMemoryChange: (change: number) => void = () => {}) {
    this.#registry = registry
    this.#batch = batch
    this.#onMemoryChange = onMemoryChange
    this.#decodingAttempt = batch.decodingAttempts
  }

  /** Whether the batch has so many unknown metric names that they must be reviewed before more points are decoded. */
  static isReviewDue({ unknownMetrics }: PointBatch): boolean {
    return unknownMetrics.length >= REVIEW_NAMES_MIN
  }

  /**
   * Decides which of the items decoded so far may be stored, and removes the points of the others. Leaves out the last
   * item, which may be incomplete.
   */
  async review(): Promise<void> {
    const { itemIndex, length } = this.#batch
    let to = length
    while (to > 0 && itemIndex[to - 1] === itemIndex[length - 1]) to--
    await this.#admit(to)
  }

  /** Admits the items of the whole body and defines their metrics. Throws if the store is unavailable. */
  async admitAllAndDefine(): Promise<void> {
    await this.#admit(this.#batch.length)
    this.#evictUndefined()
    const defined = await this.#defineClaimedMetrics()
    // Another gateway may have defined the same name with another type in the meantime.
    if (defined.some(hasOtherType))
      await this.#removeRejectedPoints(0, this.#batch.length, (series) => typeConflictOf(series.metric))
    await this.#setSeriesIds()
    this.#setMemoryBytes(0)
  }

  /** Ends the admission. Resolves when all of its reservations are released. Later calls do nothing. */
  async end(): Promise<void> {
    if (this.#hasEnded) return
    this.#hasEnded = true
    await this.#releaseAll()
    this.#setMemoryBytes(0)
  }

  /** Admits the points before the position `to`, and removes the points of rejected items. */
  async #admit(to: number): Promise<void> {
    const batch = this.#batch
    if (batch.decodingAttempts !== this.#decodingAttempt) {
      this.#decodingAttempt = batch.decodingAttempts
      this.#admittedPoints = 0
      await this.#releaseAll()
    }
    const { metrics, series } = batch.takeUnknown()
    this.#setMemoryBytes(
      (this.#claimOrder.length + this.#reservedSeries.length + metrics.length + series.length) * NEW_ENTRY_MEMORY_BYTES,
    )
    await this.#readRowsAndCounts(metrics, series)
    this.#admittedPoints = await this.#removeRejectedPoints(this.#admittedPoints, to, (candidate) =>
      this.#reserve(candidate),
    )
    this.#setMemoryBytes((this.#claimOrder.length + this.#reservedSeries.length) * NEW_ENTRY_MEMORY_BYTES)
  }

  /**
   * Validates the series of the points from position `from` up to `to`, without the registered ones. If one point of an
   * item is rejected, removes all points of the item and undoes the reservations and claims that `validate` has made
   * for it. Returns the position at which the range ends after the removals.
   */
  async #removeRejectedPoints(
    from: number,
    to: number,
    validate: (series: Series) => Rejection | undefined,
  ): Promise<number> {
    const batch = this.#batch
    const { version } = this.#registry
    let keptEnd = from
    let item = -1
    let isRejected = false
    let keptEndBefore = keptEnd
    let reservedBefore = this.#reservedSeries.length
    let claimedBefore = this.#claimOrder.length
    for (let i = from; i < to; i++) {
      const series = batch.series[i]!
      if (batch.itemIndex[i] !== item) {
        item = batch.itemIndex[i]!
        isRejected = false
        keptEndBefore = keptEnd
        reservedBefore = this.#reservedSeries.length
        claimedBefore = this.#claimOrder.length
      }
      if (!isRejected) {
        const rejection = series.registeredInVersion === version ? undefined : validate(series)
        if (rejection === undefined) {
          if (keptEnd < i) batch.move(i, keptEnd)
          keptEnd++
        } else {
          batch.reject(item, rejection)
          isRejected = true
          keptEnd = keptEndBefore
          this.#rollBackTo(reservedBefore, claimedBefore)
        }
      }
      if ((i - from) % POINTS_PER_YIELD === POINTS_PER_YIELD - 1) await this.#yield()
    }
    if (keptEnd === to) return keptEnd
    const { length } = batch
    for (let i = to; i < length; i++) batch.move(i, keptEnd + i - to)
    batch.truncate(keptEnd + length - to)
    return keptEnd
  }

  /** Releases reservations and claims, the latest first, until these numbers of reservations and claims are left. */
  #rollBackTo(reservationCount: number, claimCount: number): void {
    while (this.#reservedSeries.length > reservationCount) this.#releaseLastReservation()
    while (this.#claimOrder.length > claimCount) this.#endLastClaim()
  }

  #releaseLastReservation(): void {
    const series = this.#reservedSeries.pop()!
    series.reservedByAdmission = 0
    series.metric.release(series)
  }

  /** Releases all reservations and claims. While metrics are being defined, the claims stay until that has ended. */
  async #releaseAll(): Promise<void> {
    while (this.#reservedSeries.length > 0) {
      this.#releaseLastReservation()
      if (this.#reservedSeries.length % SERIES_PER_YIELD === 0) await new Promise(setImmediate)
    }
    const claimed = [...this.#claimOrder]
    if (!this.#isDefining) this.#endClaims()
    this.#evictUndefined()
    this.#evictIfUndefined(claimed)
  }

  /** Reads from the store the metric rows, stored series and numbers of metrics that validation needs. */
  async #readRowsAndCounts(metrics: readonly Metric[], series: readonly Series[]): Promise<void> {
    const unknown: Metric[] = []
    for (const metric of metrics) {
      if (metric.row !== undefined || this.#lookedUpMetrics.has(metric)) continue
      this.#lookedUpMetrics.add(metric)
      unknown.push(metric)
    }
    this.#evictUndefined(unknown)
    await this.#callStore(() => this.#registry.waitForDeletions(unknown))
    const { nowMs } = this.#registry
    await this.#readRows(unknown, (metric, row) => metric.row ?? metric.setRow(row, nowMs))
    await this.#refreshRows(series)
    for (const { project, row } of unknown) {
      if (row !== undefined || this.#metricCounts.has(project)) continue
      const { finished } = this.#registry.definitionCountsOf(project)
      this.#metricCounts.set(project, {
        metricCount: await this.#callStore((store) => store.countMetrics(project)),
        finishedDefinitions: finished,
      })
    }
    this.#requireNotEnded()
  }

  /**
   * Evicts metrics that were looked up, are undefined and not claimed, because a client may send many wrong names.
   * `unknown` are the metrics that the current review looks up. They stay until the review after the next, because an
   * item that is not completely decoded yet may use them. Without `unknown`, those of both latest reviews are evicted.
   */
  #evictUndefined(unknown?: readonly Metric[]): void {
    this.#evictIfUndefined(this.#previousLookups)
    if (unknown === undefined) this.#evictIfUndefined(this.#latestLookups)
    this.#previousLookups = unknown === undefined ? [] : this.#latestLookups
    this.#latestLookups = unknown ?? []
  }

  #evictIfUndefined(metrics: readonly Metric[]): void {
    for (const metric of metrics) {
      if (metric.row !== undefined || metric.definingRequestCount > 0) continue
      this.#registry.evictMetric(metric)
      this.#lookedUpMetrics.delete(metric)
    }
  }

  /**
   * Reads the rows of some metrics again, because another gateway may have stored tag keys or series since they were
   * read. There are two cases:
   *
   * - Metrics that would exceed their series limit. For these, first asks the store which of the new series it has.
   * - Metrics that would get a new tag key, unless this admission has looked them up itself.
   */
  async #refreshRows(candidates: readonly Series[]): Promise<void> {
    const newSeriesByMetric = new Map<Metric, { readonly series: Series[]; hasNewTagKey: boolean }>()
    for (const [i, series] of candidates.entries()) {
      if (i % SERIES_PER_YIELD === SERIES_PER_YIELD - 1) await this.#yield()
      const { metric } = series
      if (series.isCountedAsStored || series.reservationCount > 0 || metric.row?.type !== metric.type) continue
      let newSeries = newSeriesByMetric.get(metric)
      if (newSeries === undefined) newSeriesByMetric.set(metric, (newSeries = { series: [], hasNewTagKey: false }))
      newSeries.series.push(series)
      newSeries.hasNewTagKey ||= metric.hasNewTagKey(series)
    }
    const { seriesPerMetricMax } = this.#registry.limits
    const countsBefore = new Map<Metric, number>()
    for (const [metric, { series }] of newSeriesByMetric) {
      if (metric.seriesTotal + series.length <= seriesPerMetricMax) continue
      countsBefore.set(metric, metric.registeredSeriesCount)
      await this.#markStoredSeries(metric, series)
    }
    for (const [metric, { hasNewTagKey }] of newSeriesByMetric)
      if (hasNewTagKey && !this.#lookedUpMetrics.has(metric) && !countsBefore.has(metric))
        countsBefore.set(metric, metric.registeredSeriesCount)
    await this.#readRows([...countsBefore.keys()], (metric, row) => metric.refresh(row, countsBefore.get(metric)!))
  }

  /** Asks the store which of these series it has, and marks those as stored. */
  async #markStoredSeries(metric: Metric, series: readonly Series[]): Promise<void> {
    const { partition, metricId } = metric.row!
    for (let from = 0; from < series.length; from += SERIES_PER_CALL_MAX) {
      const chunk = series.slice(from, from + SERIES_PER_CALL_MAX)
      const ids = chunk.map((candidate) => (candidate.id ??= seriesIdOf(metricId, candidate.tags)))
      const areStored = await this.#callStore((store) => store.hasSeries(partition, metricId, ids))
      for (const [i, candidate] of chunk.entries()) if (areStored[i] === true) metric.markStored(candidate)
      await this.#yield()
    }
  }

  async #readRows(metrics: readonly Metric[], onRow: (metric: Metric, row: MetricRow) => void): Promise<void> {
    for (const chunk of chunksByProject(metrics, METRICS_PER_CALL_MAX)) {
      const names = chunk.map(({ name }) => name)
      const rows = await this.#callStore((store) => store.readMetrics(chunk[0]!.project, names))
      for (const [i, metric] of chunk.entries()) {
        const row = rows[i]
        if (row !== undefined) onRow(metric, row)
      }
      if (metrics.length > METRICS_PER_CALL_MAX) await this.#yield()
    }
  }

  /**
   * Claims the metric of an unregistered series, checks the series against the limits, and reserves a place for it.
   * Does nothing if this admission was the last one that reserved a place for the series.
   */
  #reserve(series: Series): Rejection | undefined {
    if (series.reservedByAdmission === this.#id) return undefined
    const { metric } = series
    const rejection = this.#claim(metric) ?? this.#checkLimits(series)
    if (rejection !== undefined) return rejection
    metric.reserve(series)
    series.reservedByAdmission = this.#id
    this.#reservedSeries.push(series)
    return undefined
  }

  /** Checks the type of a metric. Claims it if it does not exist, unless a limit or a competing claim prevents that. */
  #claim(metric: Metric): Rejection | undefined {
    if (metric.row !== undefined) return metric.row.type === metric.type ? undefined : rejectTypeConflict(metric)
    if (this.#claimedMetrics.has(metric)) return undefined
    const { newMetricsPerRequestMax, metricsPerProjectMax } = this.#registry.limits
    const competing = this.#registry.competingClaim(metric)
    if (competing !== undefined) return rejectTypeConflict(metric, competing.type)
    if (this.#claimedMetrics.size >= newMetricsPerRequestMax)
      return rejectTooMany(metric, `a request may bring ${newMetricsPerRequestMax} new metrics at most`)
    const counted = this.#metricCounts.get(metric.project)
    const definitions = this.#registry.definitionCountsOf(metric.project)
    const definitionsSince = definitions.started - (counted?.finishedDefinitions ?? definitions.finished)
    const metricCount = (counted?.metricCount ?? 0) + definitionsSince
    if (metric.definingRequestCount === 0 && metricCount >= metricsPerProjectMax)
      return rejectTooMany(metric, `the project has ${metricsPerProjectMax} metrics, the most allowed`)
    if (metric.definingRequestCount++ === 0) definitions.started++
    this.#claimedMetrics.add(metric)
    this.#claimOrder.push(metric)
    return undefined
  }

  /** Checks a new series against the limits of its metric. */
  #checkLimits(series: Series): Rejection | undefined {
    const { metric } = series
    if (series.isCountedAsStored || series.reservationCount > 0) return undefined
    const { seriesPerMetricMax, tagKeysPerMetricMax } = this.#registry.limits
    if (metric.seriesTotal >= seriesPerMetricMax)
      return reject(
        'series_limit_exceeded',
        `metric ${quote(metric.name)} has ${seriesPerMetricMax} series, the most allowed; this one would be new`,
      )
    if (metric.hasNewTagKey(series) && metric.tagKeyCountWith(series) > tagKeysPerMetricMax)
      return reject(
        'invalid_tags',
        `metric ${quote(metric.name)} may have ${tagKeysPerMetricMax} tag keys at most; this point would bring more`,
      )
    return undefined
  }

  /** Defines the claimed metrics in the store and returns them. */
  async #defineClaimedMetrics(): Promise<readonly Metric[]> {
    const { nowMs } = this.#registry
    const defined = [...this.#claimOrder]
    this.#isDefining = true
    try {
      for (const chunk of chunksByProject(defined, METRICS_PER_CALL_MAX)) {
        for (const metric of chunk) metric.isDefinitionSent = true
        const rows = await this.#callStore((store) => store.defineMetrics(chunk.map(definitionOf)))
        for (const [i, metric] of chunk.entries()) {
          const row = rows[i]
          if (row === undefined) throw new GatewayError('internal', 'the store left a metric undefined')
          if (metric.row === undefined) metric.setRow(row, nowMs)
        }
        if (defined.length > METRICS_PER_CALL_MAX) await this.#yield()
      }
    } finally {
      this.#isDefining = false
      this.#endClaims()
    }
    this.#requireNotEnded()
    return defined
  }

  async #setSeriesIds(): Promise<void> {
    let done = 0
    for (const series of this.#reservedSeries) {
      if (!hasOtherType(series.metric)) series.id ??= seriesIdOf(series.metric.row!.metricId, series.tags)
      if (++done % POINTS_PER_YIELD === 0) await this.#yield()
    }
  }

  #endClaims(): void {
    while (this.#claimOrder.length > 0) this.#endLastClaim()
  }

  #endLastClaim(): void {
    const metric = this.#claimOrder.pop()!
    this.#claimedMetrics.delete(metric)
    if (--metric.definingRequestCount > 0) return
    const definitions = this.#registry.definitionCountsOf(metric.project)
    if (metric.isDefinitionSent) definitions.finished++
    else definitions.started--
    metric.isDefinitionSent = false
  }

  #setMemoryBytes(bytes: number): void {
    this.#onMemoryChange(bytes - this.#memoryBytes)
    this.#memoryBytes = bytes
  }

  /**
   * Waits for a call to the store, for at most `storeWaitMsMax`. The limit applies to each call and not to the whole
   * request, because a request may need many calls.
   */
  #callStore<T>(run: (store: Store) => Promise<T>): Promise<T> {
    return withTimeout(this.#registry.limits.storeWaitMsMax, () => run(this.#registry.store))
  }

  /** Yields to the event loop, so that other requests run. Throws if `end` was called meanwhile. */
  async #yield(): Promise<void> {
    await new Promise(setImmediate)
    this.#requireNotEnded()
  }

  /** Throws if `end` was called while this admission waited: its reservations are then released, or soon will be. */
  #requireNotEnded(): void {
    if (this.#hasEnded) throw new GatewayError('store_unavailable', 'the store does not respond')
  }
}

function hasOtherType({ row, type }: Metric): boolean {
  return row?.type !== type
}

function typeConflictOf(metric: Metric): Rejection | undefined {
  return hasOtherType(metric) ? rejectTypeConflict(metric) : undefined
}

function definitionOf({ project, name, type, metadata }: Metric): MetricDefinition {
  return { project, name, type, ...metadata }
}

function rejectTooMany({ name }: Metric, reason: string): Rejection {
  return reject('metric_limit_exceeded', `${reason}; ${quote(name)} would be new`)
}
