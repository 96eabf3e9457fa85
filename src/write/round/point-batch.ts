import { ErrorMessageBudget, type ItemError } from '../../model/errors.ts'
import type { ItemCache } from '../../model/item-cache.ts'
import type { MetricType } from '../../model/metric.ts'
import type { MetricMetadata, PointSink, Rejection } from '../../model/point.ts'
import { DAY_MS } from '../../model/time.ts'
import type { Metric, Series } from './cached-metric.ts'
import type { Registry } from './registry.ts'

/** The kind of a point. It decides which columns of `PointBatch` the point uses, and how a round adds the point. */
export type PointKind = 0 | 1 | 2 | 3 | 4 | 5
export const VALUE: PointKind = 0
export const WEIGHTED_VALUE: PointKind = 1
export const RUNNING_TOTAL: PointKind = 2
export const SET_MEMBER: PointKind = 3
/**
 * A running total of 0 at the start of a counter or 1 ms later (`addTotalSince`). The column `value` has the time of
 * the start.
 */
export const COUNTER_START: PointKind = 4
/** An end marker, which is not a point. */
export const END_MARKER: PointKind = 5

const NO_REJECTED_ITEMS: readonly ItemError[] = []
const NO_COUNTER_STARTS: ReadonlyMap<Series, number> = new Map()

/** Number of the newest attempt to decode a body. Attempt numbers are unique in this process. */
let lastAttemptNumber = 0

/**
 * A request with more points, set members or unregistered series than this is large: it gets a round of its own, to
 * which its points are added in steps.
 */
export const ORDINARY_POINTS_MAX = 10_000
export const ORDINARY_MEMBERS_MAX = 1_000
export const ORDINARY_NEW_SERIES_MAX = 1_000

/** Memory of one place in the columns of numbers: three of 8 bytes, one of 4 and one of 1. */
const COLUMN_BYTES_PER_POINT = 29

/**
 * Maximum time from the start of a counter to a running total with which the start is stored. Beyond it, the first
 * running total of the series adds nothing to the counter, because there is no earlier total to subtract.
 */
const COUNTER_START_AGE_MS_MAX = 7 * DAY_MS

/**
 * The points of one request, from its decoder until they are added to a round. They are stored in columns, without
 * an object per point. The points wait here until the whole request is admitted: `Admission` may first have to read
 * metrics and series from the store.
 */
export class PointBatch implements PointSink<Series> {
  readonly #registry: Registry
  #project = ''
  /**
   * Version of the registry when `begin` was called. Series that were registered under it are not added to
   * `unregisteredSeries`. If the store may lose writes and the version changes before the commit, they are registered
   * again.
   */
  #registryVersion = 0
  /**
   * Number of the current attempt to decode the body. Metrics and series that are new in this attempt have this number
   * in `newInAttempt`.
   */
  #attemptNumber = 0
  /** Number of points, with end markers. The columns below have at least this many places. */
  length = 0
  series: Series[] = []
  /** Members of sets. This is not a column: for a `SET_MEMBER`, the column `value` has an index in this array. */
  members: string[] = []
  /** Index of the item of the request to which the point belongs. */
  itemIndex = new Int32Array(512)
  pointKind = new Uint8Array(512)
  timeMs = new Float64Array(512)
  value = new Float64Array(512)
  weight = new Float64Array(512)
  #rejected: ItemError[] = []
  readonly #messageBudget = new ErrorMessageBudget()
  /** Number of attempts to decode a body into this batch, over all requests that have used it. */
  decodingAttempts = 0
  /** Number of series that were added to `unregisteredSeries` in this attempt. */
  #unregisteredSeriesCount = 0
  /** Metrics that this attempt has first used since the last `takeUnknown` and whose row this process did not know. */
  unknownMetrics: Metric[] = []
  /**
   * Series that this attempt has first used since the last `takeUnknown` and that no commit of this process had
   * registered under `#registryVersion`.
   */
  unregisteredSeries: Series[] = []
  /** For each series, the last start for which this attempt has added a running total of 0. */
  readonly #addedCounterStarts = new Map<Series, number>()

  constructor(registry: Registry) {
    this.#registry = registry
  }

  /** Approximate memory of the columns in bytes, with capacity that is not in use, of an empty batch. */
  get allocatedBytes(): number {
    return this.timeMs.length * COLUMN_BYTES_PER_POINT
  }

  /** Removes everything and keeps the memory of the columns for reuse. */
  clear(): void {
    this.restart()
  }

  /** Prepares the batch for the body of another request. */
  begin(project: string): void {
    this.#project = project
    this.#registryVersion = this.#registry.version
    this.restart()
  }

  /** Removes all points and rejected items, for a new attempt to decode the body. */
  restart(): void {
    this.length = 0
    this.series.length = 0
    this.members.length = 0
    this.takeRejected()
    this.#messageBudget.restart()
    this.#addedCounterStarts.clear()
    this.takeUnknown()
    this.#unregisteredSeriesCount = 0
    this.decodingAttempts++
    this.#attemptNumber = ++lastAttemptNumber
  }

  /** Whether the request has more points, set members or new series than an ordinary one. */
  get isLarge(): boolean {
    return (
      this.length > ORDINARY_POINTS_MAX ||
      this.members.length > ORDINARY_MEMBERS_MAX ||
      this.#unregisteredSeriesCount > ORDINARY_NEW_SERIES_MAX
    )
  }

  /**
   * Returns the unknown metrics and the unregistered series, and removes them from the batch. A metric or series may
   * occur twice.
   */
  takeUnknown(): { readonly metrics: readonly Metric[]; readonly series: readonly Series[] } {
    const { unknownMetrics: metrics, unregisteredSeries: series } = this
    if (metrics.length > 0) this.unknownMetrics = []
    if (series.length > 0) this.unregisteredSeries = []
    return { metrics, series }
  }

  /** Returns the rejected items in no particular order, and removes them from the batch. */
  takeRejected(): readonly ItemError[] {
    const rejected = this.#rejected
    if (rejected.length === 0) return NO_REJECTED_ITEMS
    this.#rejected = []
    return rejected
  }

  get itemCache(): ItemCache<Series> {
    return this.#registry.itemCache(this.#project)
  }

  canAddTo(series: Series): boolean {
    return series.registeredInVersion === this.#registryVersion
  }

  mayCache({ metric }: Series): boolean {
    return metric.row !== undefined
  }

  resolve(
    name: string,
    type: MetricType,
    pairs: readonly (readonly [string, string])[],
    metadata?: MetricMetadata,
  ): Series | Rejection {
    const series = this.#registry.resolve(this.#project, name, type, pairs, metadata, this.unknownMetrics.length)
    if ('code' in series) return series
    if (series.registeredInVersion !== this.#registryVersion && series.newInAttempt !== this.#attemptNumber)
      this.#addUnregistered(series)
    return series
  }

  /**
   * Adds a series to `unregisteredSeries`, and its metric to `unknownMetrics` if the row of the metric is unknown. A
   * concurrent request may overwrite `newInAttempt`, so a series may be added twice.
   */
  #addUnregistered(series: Series): void {
    series.newInAttempt = this.#attemptNumber
    this.unregisteredSeries.push(series)
    this.#unregisteredSeriesCount++
    const { metric } = series
    if (metric.row !== undefined || metric.newInAttempt === this.#attemptNumber) return
    metric.newInAttempt = this.#attemptNumber
    this.unknownMetrics.push(metric)
  }

  add(item: number, series: Series, timeMs: number, value: number): void {
    const i = this.#append(item, series, timeMs, VALUE)
    this.value[i] = value
  }

  addWeighted(item: number, series: Series, timeMs: number, value: number, weight: number): void {
    const i = this.#append(item, series, timeMs, WEIGHTED_VALUE)
    this.value[i] = value
    this.weight[i] = weight
  }

  addTotal(item: number, series: Series, timeMs: number, total: number): void {
    const i = this.#append(item, series, timeMs, RUNNING_TOTAL)
    this.value[i] = total
  }

  /**
   * Adds a running total, and before it a total of 0 just after the start of the counter, unless the start is too old,
   * known to be stored, or already added in this attempt. The total of 0 is 1 ms after the start if the running total
   * is later than that, because the last total before the counter restarted may have the time of the start. The total
   * of 0 may be stored several times, for example by concurrent requests or by several gateways. Repeating it does not
   * change the increase of the counter.
   */
  addTotalSince(item: number, series: Series, timeMs: number, total: number, startMs: number): void {
    const isStartKnown = series.storedCounterStartMs === startMs || this.#addedCounterStarts.get(series) === startMs
    if (!isStartKnown && timeMs - startMs <= COUNTER_START_AGE_MS_MAX) {
      const i = this.#append(item, series, Math.min(startMs + 1, timeMs - 1), COUNTER_START)
      this.value[i] = startMs
      this.#addedCounterStarts.set(series, startMs)
    }
    this.addTotal(item, series, timeMs, total)
  }

  /**
   * Returns, for each series, the last start that was added. Called after the admission, so rejected points are gone.
   */
  takeCounterStarts(): ReadonlyMap<Series, number> {
    if (this.#addedCounterStarts.size === 0) return NO_COUNTER_STARTS
    this.#addedCounterStarts.clear()
    const starts = new Map<Series, number>()
    for (let i = 0; i < this.length; i++)
      if (this.pointKind[i] === COUNTER_START) starts.set(this.series[i]!, this.value[i]!)
    return starts
  }

  addMember(item: number, series: Series, timeMs: number, member: string): void {
    const i = this.#append(item, series, timeMs, SET_MEMBER)
    this.value[i] = this.members.length
    this.members.push(member)
  }

  addEnd(item: number, series: Series, timeMs: number): void {
    this.#append(item, series, timeMs, END_MARKER)
  }

  reject(index: number, { code, message }: Rejection): void {
    this.#rejected.push({ index, code, message: this.#messageBudget.take(message) })
  }

  /** Copies a point to an earlier position, where it overwrites a point that is no longer needed. */
  move(from: number, to: number): void {
    this.series[to] = this.series[from]!
    this.itemIndex[to] = this.itemIndex[from]!
    this.pointKind[to] = this.pointKind[from]!
    this.timeMs[to] = this.timeMs[from]!
    this.value[to] = this.value[from]!
    this.weight[to] = this.weight[from]!
  }

  /** Keeps the first `length` points and removes the others. */
  truncate(length: number): void {
    this.length = length
    this.series.length = length
  }

  #append(item: number, series: Series, timeMs: number, pointKind: PointKind): number {
    const i = this.length++
    if (i === this.itemIndex.length) this.#grow()
    this.series.push(series)
    this.itemIndex[i] = item
    this.pointKind[i] = pointKind
    this.timeMs[i] = timeMs
    return i
  }

  #grow(): void {
    const capacity = this.itemIndex.length * 2
    const wider = <T extends Int32Array | Uint8Array | Float64Array>(column: T, empty: T): T => {
      empty.set(column)
      return empty
    }
    this.itemIndex = wider(this.itemIndex, new Int32Array(capacity))
    this.pointKind = wider(this.pointKind, new Uint8Array(capacity))
    this.timeMs = wider(this.timeMs, new Float64Array(capacity))
    this.value = wider(this.value, new Float64Array(capacity))
    this.weight = wider(this.weight, new Float64Array(capacity))
  }
}
