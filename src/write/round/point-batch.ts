import { type ItemError, MessageBudget } from '../../model/errors.ts'
import type { ItemCache } from '../../model/item-cache.ts'
import type { MetricType } from '../../model/metric.ts'
import type { MetricAbout, PointSink, Rejection } from '../../model/point.ts'
import type { Metric, Series } from './cached-metric.ts'
import type { Registry } from './registry.ts'

export type PointMode = 0 | 1 | 2 | 3
export const VALUE: PointMode = 0
export const WEIGHTED: PointMode = 1
export const TOTAL: PointMode = 2
export const MEMBER: PointMode = 3

/**
 * The points of one request between its decoder and its round, in columns: there is no object per point. It exists
 * because unknown metrics and series need the store first (`Admission`), and no point is folded before the whole
 * request is admitted.
 */
export class PointBatch implements PointSink<Series> {
  readonly #registry: Registry
  #project = ''
  /**
   * Version of the registry when decoding began. When it changes meanwhile, series registered under it are announced
   * again.
   */
  #version = 0
  length = 0
  series: Series[] = []
  members: string[] = []
  item = new Int32Array(512)
  mode = new Uint8Array(512)
  timeMs = new Float64Array(512)
  value = new Float64Array(512)
  weight = new Float64Array(512)
  readonly rejected: ItemError[] = []
  readonly #messages = new MessageBudget()
  /** Metrics whose rows are not known. */
  readonly undefinedMetrics = new Set<Metric>()
  /** Series that no commit of this process has registered under the current version. */
  readonly newSeries = new Set<Series>()

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
    this.rejected.length = 0
    this.#messages.restart()
    this.undefinedMetrics.clear()
    this.newSeries.clear()
  }

  get memory(): ItemCache<Series> {
    return this.#registry.memory(this.#project)
  }

  reuse(series: Series): boolean {
    return series.registeredIn === this.#version
  }

  resolve(
    name: string,
    type: MetricType,
    pairs: readonly (readonly [string, string])[],
    about?: MetricAbout,
  ): Series | Rejection {
    const series = this.#registry.resolve(this.#project, name, type, pairs, about, this.undefinedMetrics.size)
    if ('code' in series) return series
    if (series.registeredIn !== this.#version) {
      if (series.metric.row === undefined) this.undefinedMetrics.add(series.metric)
      this.newSeries.add(series)
    }
    return series
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

  addMember(item: number, series: Series, timeMs: number, member: string): void {
    const i = this.#next(item, series, timeMs, MEMBER)
    this.value[i] = this.members.length
    this.members.push(member)
  }

  reject(index: number, { code, message }: Rejection): void {
    this.rejected.push({ index, code, message: this.#messages.take(message) })
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
