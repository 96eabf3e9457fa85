import type { Id64 } from '../model/id.ts'
import type { RollupKind } from '../model/metric.ts'
import { runAtOnce, StepBudget, type Steps } from '../model/steps.ts'
import { acquireMergedRows, type MergedRows } from './merged-rows.ts'
import { orderByKey, orderOfIntegers } from './radix-sort.ts'
import type { RollupRows } from './rollup-rows.ts'

/**
 * Maximum number of rows for which memory is reserved before a merge. The result often has fewer rows than its sources.
 */
const RESERVED_ROWS_MAX = 1 << 16

const NO_IDS = new Uint32Array(0)

/** Units of work (`StepBudget`) of a row: about a microsecond. It is a little less or more, depending on the bins. */
const ROW_STEP_UNITS = 32

/**
 * Returns the same rows as an object with plain properties. The columns of a decoded section are getters, which a merge
 * would otherwise call for each row.
 */
function withPlainProperties(rows: RollupRows): RollupRows {
  return {
    kind: rows.kind,
    length: rows.length,
    bucketMs: rows.bucketMs,
    count: rows.count,
    sum: rows.sum,
    min: rows.min,
    max: rows.max,
    firstMs: rows.firstMs,
    first: rows.first,
    lastMs: rows.lastMs,
    last: rows.last,
    seriesCount: rows.seriesCount,
    seriesHi: rows.seriesHi,
    seriesLo: rows.seriesLo,
    rowStart: rows.rowStart,
    hasTotals: rows.hasTotals,
    binBytes: rows.binBytes,
    binStart: rows.binStart,
    totalsAt: (row) => rows.totalsAt(row),
  }
}

/** Returns the index of the first series with an id greater than or equal to `id`; `seriesCount` if there is none. */
export function seriesIndexAtOrAfter(rows: RollupRows, id: Id64): number {
  const { seriesHi, seriesLo } = rows
  let low = 0
  let high = rows.seriesCount
  while (low < high) {
    const middle = (low + high) >>> 1
    if (seriesHi[middle]! < id.hi || (seriesHi[middle] === id.hi && seriesLo[middle]! < id.lo)) low = middle + 1
    else high = middle
  }
  return low
}

export interface SeriesRange {
  /** Only series with ids from `seriesFrom` to `seriesTo` are merged, both inclusive. Undefined: there is no bound. */
  readonly seriesFrom?: Id64
  readonly seriesTo?: Id64
}

export interface MergeOptions extends SeriesRange {
  /** Whether the result has a coarser resolution than the base resolution. Then its running totals are thinned. */
  readonly isCoarse?: boolean
}

/**
 * Merges rollups of one kind into buckets of `resolutionMs`, which must be a multiple of the resolution of each source.
 * A fold makes rollups of coarser resolutions in this way, and a merge of a window combines several blocks. The sources
 * must be in the order in which their points arrived. Throws a RangeError if there is no source, or if their kinds
 * differ.
 */
export function mergeRows(
  sources: readonly RollupRows[],
  resolutionMs: number,
  options: MergeOptions = {},
): RollupRows {
  return runAtOnce(mergeRowsInSteps(sources, resolutionMs, options))
}

/** Does the same as `mergeRows` in steps, between which other merges may run. The sources must not change meanwhile. */
export function* mergeRowsInSteps(
  sources: readonly RollupRows[],
  resolutionMs: number,
  options: MergeOptions = {},
): Steps<RollupRows> {
  const kind = sources[0]?.kind
  if (kind === undefined) throw new RangeError('nothing to merge: the kind is unknown')
  const rowCount = sources.reduce((sum, source) => sum + source.length, 0)
  const merge = new Merge(kind, resolutionMs, Math.min(rowCount, RESERVED_ROWS_MAX))
  const budget = new StepBudget()
  for (const source of sources) {
    if (source.kind !== kind) throw new RangeError(`rollups of a ${source.kind} among those of a ${kind}`)
    merge.addSource(source, options)
    if (budget.spend(ROW_STEP_UNITS * source.length)) yield
  }
  const merged = yield* merge.run(budget)
  if (options.isCoarse === true) merged.thinTotals()
  return merged.finish()
}

class Merge {
  readonly #resolutionMs: number
  readonly #sources: RollupRows[] = []
  /** For each source: the index of the first series to merge, and of the series after the last one. */
  readonly #firstSeries: number[] = []
  readonly #endSeries: number[] = []
  readonly #merged: MergedRows
  /** An entry is one series of one source. `#order` has the entries sorted by series id, then by arrival. */
  #entrySource = NO_IDS
  #entrySeries = NO_IDS
  #entryHi = NO_IDS
  #entryLo = NO_IDS
  #order: Uint32Array = NO_IDS
  /** Bucket of the last row of `#merged`; NaN if `#merged` has no row of the current series yet. */
  #lastMergedBucketMs = Number.NaN

  constructor(kind: RollupKind, resolutionMs: number, capacity: number) {
    this.#resolutionMs = resolutionMs
    this.#merged = acquireMergedRows(kind, capacity)
  }

  addSource(source: RollupRows, range: SeriesRange): void {
    if (source.length === 0) return
    const rows = withPlainProperties(source)
    const start = range.seriesFrom === undefined ? 0 : seriesIndexAtOrAfter(rows, range.seriesFrom)
    let end = rows.seriesCount
    if (range.seriesTo !== undefined) {
      end = seriesIndexAtOrAfter(rows, range.seriesTo)
      const isLastIncluded = rows.seriesHi[end] === range.seriesTo.hi && rows.seriesLo[end] === range.seriesTo.lo
      if (end < rows.seriesCount && isLastIncluded) end++
    }
    if (start >= end) return
    this.#sources.push(rows)
    this.#firstSeries.push(start)
    this.#endSeries.push(end)
  }

  /**
   * Merges one series after the other; for each series, the rows of all sources that have it, in order of time, and
   * rows of one bucket in order of arrival. The loops are in other methods, because V8 runs a loop of a generator much
   * more slowly, and allocates memory for its numbers.
   */
  *run(budget: StepBudget): Steps<MergedRows> {
    const isSingle = this.#sources.length === 1
    let next = isSingle ? this.#firstSeries[0]! : 0
    const end = isSingle ? this.#endSeries[0]! : this.#sortEntries()
    while (next < end) {
      next = isSingle ? this.#copyUntilSpent(next, end, budget) : this.#mergeUntilSpent(next, end, budget)
      // Other merges use the same accumulator of bins.
      this.#merged.completeRow()
      if (next < end) yield
    }
    return this.#merged
  }

  /** Lists the series of all sources in `#entry…` and sorts them. Returns their number. */
  #sortEntries(): number {
    let entryCount = 0
    for (let s = 0; s < this.#sources.length; s++) entryCount += this.#endSeries[s]! - this.#firstSeries[s]!
    const entrySource = new Uint32Array(entryCount)
    const entrySeries = new Uint32Array(entryCount)
    const entryHi = new Uint32Array(entryCount)
    const entryLo = new Uint32Array(entryCount)
    let entry = 0
    for (let s = 0; s < this.#sources.length; s++) {
      const { seriesHi, seriesLo } = this.#sources[s]!
      for (let i = this.#firstSeries[s]!; i < this.#endSeries[s]!; i++, entry++) {
        entrySource[entry] = s
        entrySeries[entry] = i
        entryHi[entry] = seriesHi[i]!
        entryLo[entry] = seriesLo[i]!
      }
    }
    this.#entrySource = entrySource
    this.#entrySeries = entrySeries
    this.#entryHi = entryHi
    this.#entryLo = entryLo
    this.#order = orderByKey(entryHi, entryCount, (a, b) => entryLo[a]! - entryLo[b]! || a - b)
    return entryCount
  }

  /** Copies series of the only source, until the step is complete. Returns the index of the next series. */
  #copyUntilSpent(firstSeries: number, end: number, budget: StepBudget): number {
    const source = this.#sources[0]!
    const { seriesHi, seriesLo, rowStart } = source
    for (let series = firstSeries; series < end; series++) {
      this.#lastMergedBucketMs = Number.NaN
      this.#copySeries(source, series, seriesHi[series]!, seriesLo[series]!)
      if (budget.spend(ROW_STEP_UNITS * (rowStart[series + 1]! - rowStart[series]!))) return series + 1
    }
    return end
  }

  /** Merges series, until the step is complete. Returns the index in `#order` of the next series. */
  #mergeUntilSpent(firstEntry: number, entryCount: number, budget: StepBudget): number {
    const order = this.#order
    const entryHi = this.#entryHi
    const entryLo = this.#entryLo
    for (let i = firstEntry; i < entryCount; ) {
      const hi = entryHi[order[i]!]!
      const lo = entryLo[order[i]!]!
      let end = i + 1
      while (end < entryCount && entryHi[order[end]!] === hi && entryLo[order[end]!] === lo) end++
      this.#lastMergedBucketMs = Number.NaN
      const rowCount = this.#rowCountOf(i, end)
      if (end === i + 1 || this.#areInTimeOrder(i, end)) {
        for (let e = i; e < end; e++) this.#copySeries(this.#sourceOf(e), this.#seriesOf(e), hi, lo)
      } else this.#interleave(i, end, rowCount, hi, lo)
      i = end
      if (budget.spend(ROW_STEP_UNITS * rowCount)) return i
    }
    return entryCount
  }

  /** Returns the source of the entry at a position in `#order`. */
  #sourceOf(position: number): RollupRows {
    return this.#sources[this.#entrySource[this.#order[position]!]!]!
  }

  /** Returns the index in its source of the series of the entry at a position in `#order`. */
  #seriesOf(position: number): number {
    return this.#entrySeries[this.#order[position]!]!
  }

  /** Returns the number of rows that the sources have of one series. */
  #rowCountOf(from: number, to: number): number {
    let rowCount = 0
    for (let e = from; e < to; e++) {
      const { rowStart } = this.#sourceOf(e)
      const series = this.#seriesOf(e)
      rowCount += rowStart[series + 1]! - rowStart[series]!
    }
    return rowCount
  }

  /** Returns the start of the result bucket that contains a bucket of a source. */
  #bucketContaining(bucketMs: number): number {
    return Math.floor(bucketMs / this.#resolutionMs) * this.#resolutionMs
  }

  /** Whether the buckets of a series never decrease if the rows of its sources are read in order of arrival. */
  #areInTimeOrder(from: number, to: number): boolean {
    let previousMs = Number.NEGATIVE_INFINITY
    for (let e = from; e < to; e++) {
      const source = this.#sourceOf(e)
      const series = this.#seriesOf(e)
      if (this.#bucketContaining(source.bucketMs[source.rowStart[series]!]!) < previousMs) return false
      previousMs = this.#bucketContaining(source.bucketMs[source.rowStart[series + 1]! - 1]!)
    }
    return true
  }

  #copySeries(source: RollupRows, series: number, hi: number, lo: number): void {
    const end = source.rowStart[series + 1]!
    for (let row = source.rowStart[series]!; row < end; row++) {
      this.#emit(source, row, this.#bucketContaining(source.bucketMs[row]!), hi, lo)
    }
  }

  /** Merges a row into the row of `bucketMs`, which is the last row of `#merged` or a new one. */
  #emit(source: RollupRows, row: number, bucketMs: number, hi: number, lo: number): void {
    // A row without points must not add an empty row to `#merged`.
    if (source.count[row] === 0) return
    if (bucketMs !== this.#lastMergedBucketMs) {
      this.#merged.addRow(hi, lo, bucketMs)
      this.#lastMergedBucketMs = bucketMs
    }
    this.#merged.mergeRow(source, row)
  }

  /**
   * Merges the rows of one series from several sources in order of time, and rows of one bucket in order of arrival.
   */
  #interleave(from: number, to: number, rowCount: number, hi: number, lo: number): void {
    const rowSource = new Uint32Array(rowCount)
    const sourceRows = new Uint32Array(rowCount)
    const bucketNumbers = new Float64Array(rowCount)
    let n = 0
    for (let e = from; e < to; e++) {
      const s = this.#entrySource[this.#order[e]!]!
      const series = this.#seriesOf(e)
      const { rowStart, bucketMs } = this.#sources[s]!
      for (let row = rowStart[series]!; row < rowStart[series + 1]!; row++, n++) {
        rowSource[n] = s
        sourceRows[n] = row
        bucketNumbers[n] = Math.floor(bucketMs[row]! / this.#resolutionMs)
      }
    }
    const orderByBucket = orderOfIntegers(bucketNumbers)
    for (let i = 0; i < rowCount; i++) {
      const n = orderByBucket[i]!
      this.#emit(this.#sources[rowSource[n]!]!, sourceRows[n]!, bucketNumbers[n]! * this.#resolutionMs, hi, lo)
    }
  }
}

/** Returns copies of the rows for which `isFirst` returns true, and of the others. Rows without points are omitted. */
export function divideRows(
  rows: RollupRows,
  isFirst: (series: number, row: number) => boolean,
): readonly [RollupRows, RollupRows] {
  const source = withPlainProperties(rows)
  const first = acquireMergedRows(source.kind)
  const others = acquireMergedRows(source.kind)
  for (let series = 0; series < source.seriesCount; series++) {
    const end = source.rowStart[series + 1]!
    for (let row = source.rowStart[series]!; row < end; row++) {
      copyRow(source, series, row, isFirst(series, row) ? first : others)
    }
  }
  return [first.finish(), others.finish()]
}

function copyRow(source: RollupRows, series: number, row: number, into: MergedRows): void {
  if (source.count[row] === 0) return
  into.addRow(source.seriesHi[series]!, source.seriesLo[series]!, source.bucketMs[row]!)
  into.mergeRow(source, row)
}

/**
 * Divides rows into windows of this width. The result maps the start of each window to copies of its rows, the earliest
 * window first. Rows without points are not copied. If all rows are in one window, the result has `rows` itself.
 */
export function splitByWindow(rows: RollupRows, widthMs: number): Map<number, RollupRows> {
  const { bucketMs, length } = rows
  const windows = new Map<number, RollupRows>()
  if (length === 0) return windows
  const firstWindowMs = Math.floor(bucketMs[0]! / widthMs) * widthMs
  let isOneWindow = true
  for (let row = 1; row < length && isOneWindow; row++)
    isOneWindow = bucketMs[row]! >= firstWindowMs && bucketMs[row]! < firstWindowMs + widthMs
  if (isOneWindow) return windows.set(firstWindowMs, rows)

  const source = withPlainProperties(rows)
  const merged = new Map<number, MergedRows>()
  for (let series = 0; series < source.seriesCount; series++) {
    const end = source.rowStart[series + 1]!
    for (let row = source.rowStart[series]!; row < end; row++) {
      const startMs = Math.floor(bucketMs[row]! / widthMs) * widthMs
      let into = merged.get(startMs)
      if (into === undefined) merged.set(startMs, (into = acquireMergedRows(source.kind)))
      copyRow(source, series, row, into)
    }
  }
  for (const [startMs, into] of [...merged].sort(([a], [b]) => a - b)) windows.set(startMs, into.finish())
  return windows
}
