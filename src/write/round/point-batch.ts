import { type ItemError, MessageBudget } from '../../model/errors.ts'
import type { ItemCache } from '../../model/item-cache.ts'
import type { MetricType } from '../../model/metric.ts'
import type { MetricMetadata, PointSink, Rejection } from '../../model/point.ts'
import { DAY_MS } from '../../model/time.ts'
import type { Metric, Series } from './cached-metric.ts'
import type { Registry } from './registry.ts'

export type PointMode = 0 | 1 | 2 | 3 | 4 | 5
export const VALUE: PointMode = 0
export const WEIGHTED: PointMode = 1
export const TOTAL: PointMode = 2
export const MEMBER: PointMode = 3
/** A running total of 0, stored right after a start. The value of the point is the start. */
export const START: PointMode = 4
/** An end marker, which is not a point. */
export const END: PointMode = 5

const NONE_REJECTED: readonly ItemError[] = []
const NO_STARTS: ReadonlyMap<Series, number> = new Map()

/** The last mark that was assigned. Each batch gets a new mark for each attempt to decode a body. */
let marks = 0

/** A request with more points, set members or new series is large: it is folded and committed in steps. */
export const ORDINARY_POINTS_MAX = 10_000
export const ORDINARY_MEMBERS_MAX = 1_000
export const ORDINARY_NEW_SERIES_MAX = 1_000

/** Maximum age of a start that is stored. After a silence this long, the first running total counts nothing. */
const START_AGE_MS_MAX = 7 * DAY_MS

/**
 * The points of one request, from its decoder until they are folded into a round. They are stored in columns, without
 * an object per point. The batch exists because unknown metrics and series need the store first (`Admission`), and no
 * point is folded before the whole request is admitted.
 */
export class PointBatch implements PointSink<Series> {
  readonly #registry: Registry
  #project = ''
  /**
   * Version of the registry when decoding began. If it changes before the commit, series registered under it are
   * announced again.
   */
  #version = 0
  /**
   * Unique among all batches and attempts of this process. Metrics and series that this attempt has used have this
   * mark.
   */
  #mark = 0
  length = 0
  series: Series[] = []
  members: string[] = []
  item = new Int32Array(512)
  mode = new Uint8Array(512)
  timeMs = new Float64Array(512)
  value = new Float64Array(512)
  weight = new Float64Array(512)
  #rejected: ItemError[] = []
  readonly #messages = new MessageBudget()
  /** Number of times that the decoder has restarted. */
  restarts = 0
  /** Number of entries that `newSeries` has had in this attempt. */
  #seriesMet = 0
  /** Metrics whose rows are unknown, since the last `takeNew`. */
  newMetrics: Metric[] = []
  /** Series that no commit of this process has registered under the current version, since the last `takeNew`. */
  newSeries: Series[] = []
  /** The latest start that this attempt has added for each series. */
  readonly #starts = new Map<Series, number>()

  constructor(registry: Registry) {
    this.#registry = registry
  }

  begin(project: string): void {
    this.#project = project
    this.#version = this.#registry.version
    this.restart()
  }

  restart(): void {
    this.length = 0
    this.series.length = 0
    this.members.length = 0
    this.takeRejected()
    this.#messages.restart()
    this.#starts.clear()
    this.takeNew()
    this.#seriesMet = 0
    this.restarts++
    this.#mark = ++marks
  }

  get isLarge(): boolean {
    return (
      this.length > ORDINARY_POINTS_MAX ||
      this.members.length > ORDINARY_MEMBERS_MAX ||
      this.#seriesMet > ORDINARY_NEW_SERIES_MAX
    )
  }

  /** Returns the new metrics and series of the points that were added since the last call. A name may occur twice. */
  takeNew(): { readonly metrics: readonly Metric[]; readonly series: readonly Series[] } {
    const { newMetrics: metrics, newSeries: series } = this
    if (metrics.length > 0) this.newMetrics = []
    if (series.length > 0) this.newSeries = []
    return { metrics, series }
  }

  /** Returns the rejected items, in no particular order. The next request that uses this batch gets a new list. */
  takeRejected(): readonly ItemError[] {
    const rejected = this.#rejected
    if (rejected.length === 0) return NONE_REJECTED
    this.#rejected = []
    return rejected
  }

  get itemCache(): ItemCache<Series> {
    return this.#registry.itemCache(this.#project)
  }

  isUsable(series: Series): boolean {
    return series.registeredIn === this.#version
  }

  mayCache({ metric }: Series): boolean {
    return metric.row !== undefined
  }

  resolve(
    name: string,
    type: MetricType,
    pairs: readonly (readonly [string, string])[],
    about?: MetricMetadata,
  ): Series | Rejection {
    const series = this.#registry.resolve(this.#project, name, type, pairs, about, this.newMetrics.length)
    if ('code' in series) return series
    if (series.registeredIn !== this.#version && series.metIn !== this.#mark) this.#meet(series)
    return series
  }

  /** Adds a series to `newSeries`. A concurrent request may overwrite the mark, so a series may occur twice. */
  #meet(series: Series): void {
    series.metIn = this.#mark
    this.newSeries.push(series)
    this.#seriesMet++
    const { metric } = series
    if (metric.row !== undefined || metric.metIn === this.#mark) return
    metric.metIn = this.#mark
    this.newMetrics.push(metric)
  }

  add(item: number, series: Series, timeMs: number, value: number): void {
    const i = this.#next(item, series, timeMs, VALUE)
    this.value[i] = value
  }

  addWeighted(item: number, series: Series, timeMs: number, value: number, weight: number): void {
    const i = this.#next(item, series, timeMs, WEIGHTED)
    this.value[i] = value
    this.weight[i] = weight
  }

  addTotal(item: number, series: Series, timeMs: number, total: number): void {
    const i = this.#next(item, series, timeMs, TOTAL)
    this.value[i] = total
  }

  /**
   * Stores a total of 0 right after the start, unless a request that is stored already did. It is not stored at the
   * start itself, because the last total before a restart may have the same time. Idempotent: concurrent requests and
   * other gateways may store the same total.
   */
  addTotalSince(item: number, series: Series, timeMs: number, total: number, startMs: number): void {
    const isAdded = series.startMs === startMs || this.#starts.get(series) === startMs
    if (!isAdded && timeMs - startMs <= START_AGE_MS_MAX) {
      const i = this.#next(item, series, Math.min(startMs + 1, timeMs - 1), START)
      this.value[i] = startMs
      this.#starts.set(series, startMs)
    }
    this.addTotal(item, series, timeMs, total)
  }

  /** Returns the latest start of each series in the points of the batch. Called after the admission. */
  takeStarts(): ReadonlyMap<Series, number> {
    if (this.#starts.size === 0) return NO_STARTS
    this.#starts.clear()
    const starts = new Map<Series, number>()
    for (let i = 0; i < this.length; i++) if (this.mode[i] === START) starts.set(this.series[i]!, this.value[i]!)
    return starts
  }

  addMember(item: number, series: Series, timeMs: number, member: string): void {
    const i = this.#next(item, series, timeMs, MEMBER)
    this.value[i] = this.members.length
    this.members.push(member)
  }

  addEnd(item: number, series: Series, timeMs: number): void {
    this.#next(item, series, timeMs, END)
  }

  reject(index: number, { code, message }: Rejection): void {
    this.#rejected.push({ index, code, message: this.#messages.take(message) })
  }

  /** Moves a point to an earlier position, which overwrites a rejected point. */
  move(from: number, to: number): void {
    this.series[to] = this.series[from]!
    this.item[to] = this.item[from]!
    this.mode[to] = this.mode[from]!
    this.timeMs[to] = this.timeMs[from]!
    this.value[to] = this.value[from]!
    this.weight[to] = this.weight[from]!
  }

  /** Keeps the first `length` points and removes the others. */
  truncate(length: number): void {
    this.length = length
    this.series.length = length
  }

  #next(item: number, series: Series, timeMs: number, mode: PointMode): number {
    const i = this.length++
    if (i === this.item.length) this.#grow()
    this.series.push(series)
    this.item[i] = item
    this.mode[i] = mode
    this.timeMs[i] = timeMs
    return i
  }

  #grow(): void {
    const capacity = this.item.length * 2
    const wider = <T extends Int32Array | Uint8Array | Float64Array>(column: T, empty: T): T => {
      empty.set(column)
      return empty
    }
    this.item = wider(this.item, new Int32Array(capacity))
    this.mode = wider(this.mode, new Uint8Array(capacity))
    this.timeMs = wider(this.timeMs, new Float64Array(capacity))
    this.value = wider(this.value, new Float64Array(capacity))
    this.weight = wider(this.weight, new Float64Array(capacity))
  }
}
