import { addCounts, COUNT_MAX } from '../../model/count.ts'
import { floorTo } from '../../model/time.ts'
import { hasOnlyEndMarker } from '../../rollup/rollup-rows.ts'
import { increaseBetween, RunningTotals } from '../../rollup/running-totals.ts'
import type { RequiredAccumulators } from '../aggregations.ts'
import { BucketFinder, PlannedReadFinder } from '../plan/find-by-time.ts'
import { RUNNING_TOTALS_GAP_MS_MAX } from '../plan/period.ts'
import type { Plan, PlannedRead } from '../plan/plan.ts'
import type { MergeSource } from '../read/source-reader.ts'
import type { Cells } from './cells.ts'
import type { BucketLimits } from './limit-counts.ts'
import { RowsByCell } from './rows-by-cell.ts'

/**
 * Merges block columns into cells. Only running totals take an object per rollup. Count, sum, min, max and sketch bins
 * do not depend on order: they are merged block by block. First, last and running totals depend on the order of points
 * within a series: they are merged series by series, with the blocks of a series in order of arrival.
 */

export interface CellMergeInput {
  readonly plan: Plan
  /** Width of the stored buckets, by level. */
  readonly resolutionsMs: readonly number[]
  readonly sources: readonly MergeSource[]
  /**
   * The index of the group of each ordinal; -1 for a series in no group. Ordinals beyond the end belong to series that
   * were registered later; they are in no group.
   */
  readonly groupOfSeries: Int32Array
  /** Empty unless the metric is a histogram. */
  readonly bucketLimits: BucketLimits
  readonly accumulators: RequiredAccumulators
}

/** Whether the series has a cumulative histogram count that is included in the count of the next higher limit. */
function hasNextLimit({ nextLimit }: BucketLimits, ordinal: number): boolean {
  return nextLimit.length > 0 && !Number.isNaN(nextLimit[ordinal]!)
}

/**
 * Adds a cumulative histogram count to its own bucket, and subtracts it from the next one. Does not add it to the sum
 * of the cell: the count of the highest limit includes it. Does nothing unless counts by limit are needed.
 */
function addCumulativeCount(
  cells: Cells,
  cell: number,
  { upperLimit, nextLimit }: BucketLimits,
  accumulators: RequiredAccumulators,
  ordinal: number,
  count: number,
): void {
  if (!accumulators.needsCountsByLimit) return
  const counts = cells.countsByLimitOf(cell)
  counts.add(upperLimit[ordinal]!, count)
  counts.add(nextLimit[ordinal]!, -count)
}

/** Merges count, sum, min, max, sketch bins and counts by limit. */
export function mergeUnordered(
  { plan, sources, groupOfSeries, bucketLimits, accumulators }: CellMergeInput,
  cells: Cells,
): void {
  const reads = new PlannedReadFinder(plan.reads)
  const buckets = new BucketFinder(plan.edges)
  const rowsByCell = new RowsByCell()
  let totalCount = 0
  for (const source of sources) {
    const { section, ordinals } = source
    const { rowStart, bucketMs, count } = section
    const sum = section.kind === 'set' ? count : section.sum
    const isGauge = section.kind === 'gauge'
    const needsMinAndMax = accumulators.needsMinAndMax
    const min = needsMinAndMax ? section.min : sum
    const max = needsMinAndMax ? section.max : sum
    for (let seriesIndex = 0; seriesIndex < section.seriesCount; seriesIndex++) {
      const group = groupOfSeries[ordinals[seriesIndex]!] ?? -1
      if (group < 0) continue
      for (let row = rowStart[seriesIndex]!; row < rowStart[seriesIndex + 1]!; row++) {
        const timeMs = bucketMs[row]!
        if (reads.plannedReadOfRow(source, timeMs) === undefined) continue
        // Skips rows that hold only an end marker. A sum of NaN alone does not identify them: it also results if
        // one sum has overflowed to infinity and another to minus infinity.
        if (isGauge && Number.isNaN(sum[row]) && hasOnlyEndMarker(section, row)) continue
        const cell = cells.ensureCellsOf(group) + buckets.bucketIndexAt(timeMs)
        cells.count[cell] = addCounts(cells.count[cell]!, count[row]!)
        totalCount = addCounts(totalCount, count[row]!)
        if (hasNextLimit(bucketLimits, ordinals[seriesIndex]!))
          addCumulativeCount(cells, cell, bucketLimits, accumulators, ordinals[seriesIndex]!, sum[row]!)
        else {
          cells.sum[cell]! += sum[row]!
          if (accumulators.needsCountsByLimit)
            cells.countsByLimitOf(cell).add(bucketLimits.upperLimit[ordinals[seriesIndex]!]!, sum[row]!)
        }
        if (needsMinAndMax) {
          if (min[row]! < cells.min[cell]!) cells.min[cell] = min[row]!
          if (max[row]! > cells.max[cell]!) cells.max[cell] = max[row]!
        }
        if (accumulators.needsSketches) rowsByCell.add(cell, row)
      }
    }
    if (accumulators.needsSketches) rowsByCell.mergeInto(cells, section)
  }
  if (totalCount === COUNT_MAX) cells.isInexact = true
}

/**
 * Merges first and last values of gauges. At equal times within a series, `last` is the value that arrived last and
 * `first` the one that arrived first. At equal times in different series of a group, `last` is the greater value and
 * `first` the smaller one.
 *
 * A series ends in a bucket if the latest that it has there is an end marker, not a value. It then has no last value in
 * this bucket. A bucket in which a series of a group ended, and no series of the group has a last value, is an end of
 * the group.
 */
export function mergeFirstAndLast(input: CellMergeInput, cells: Cells): void {
  const { plan, groupOfSeries } = input
  const reads = new PlannedReadFinder(plan.reads)
  const buckets = new BucketFinder(plan.edges)
  const bucketCount = cells.bucketCount
  const firstMs = new Float64Array(bucketCount).fill(Number.POSITIVE_INFINITY)
  const lastMs = new Float64Array(bucketCount).fill(Number.NEGATIVE_INFINITY)
  const first = new Float64Array(bucketCount)
  const last = new Float64Array(bucketCount)
  const touchedBuckets: number[] = []
  forEachSeries(input, (ordinal, occurrences) => {
    const group = groupOfSeries[ordinal]!
    for (const { source, seriesIndex } of occurrences) {
      const { section } = source
      for (let row = section.rowStart[seriesIndex]!; row < section.rowStart[seriesIndex + 1]!; row++) {
        const timeMs = section.bucketMs[row]!
        if (reads.plannedReadOfRow(source, timeMs) === undefined) continue
        const bucket = buckets.bucketIndexAt(timeMs)
        if (lastMs[bucket] === Number.NEGATIVE_INFINITY) touchedBuckets.push(bucket)
        if (section.lastMs[row]! >= lastMs[bucket]!) {
          lastMs[bucket] = section.lastMs[row]!
          last[bucket] = section.last[row]!
        }
        if (section.firstMs[row]! < firstMs[bucket]! && !Number.isNaN(section.first[row])) {
          firstMs[bucket] = section.firstMs[row]!
          first[bucket] = section.first[row]!
        }
      }
    }
    let rangeLastMs = Number.NEGATIVE_INFINITY
    let rangeLast = Number.NaN
    for (const bucket of touchedBuckets) {
      const cell = cells.ensureCellsOf(group) + bucket
      if (lastMs[bucket]! > rangeLastMs) {
        rangeLastMs = lastMs[bucket]!
        rangeLast = last[bucket]!
      }
      if (Number.isNaN(last[bucket])) cells.cellsWithEnd.add(cell)
      else mergeLast(cells, cell, lastMs[bucket]!, last[bucket]!)
      if (
        firstMs[bucket]! < cells.firstMs[cell]! ||
        (firstMs[bucket] === cells.firstMs[cell] && first[bucket]! < cells.first[cell]!)
      ) {
        cells.firstMs[cell] = firstMs[bucket]!
        cells.first[cell] = first[bucket]!
      }
      firstMs[bucket] = Number.POSITIVE_INFINITY
      lastMs[bucket] = Number.NEGATIVE_INFINITY
    }
    touchedBuckets.length = 0
    if (!Number.isNaN(rangeLast)) cells.mergeRangeLast(group, rangeLastMs, rangeLast)
  })
}

/** Merges the last value of a series into a cell. At equal times, the greater value counts. */
function mergeLast(cells: Cells, cell: number, timeMs: number, value: number): void {
  if (timeMs > cells.lastMs[cell]! || (timeMs === cells.lastMs[cell] && value > cells.last[cell]!)) {
    cells.lastMs[cell] = timeMs
    cells.last[cell] = value
  }
}

/**
 * Merges running totals of counters. The increase between two totals of a series is added to the result bucket of the
 * later total, unless more than `RUNNING_TOTALS_GAP_MS_MAX` lie between them. `lookback` are additional reads, before
 * the range and in its unavailable buckets: a total found there is only the earlier one of two. If data between two
 * totals was not read, their increase is not added, and the result is marked as inexact.
 */
export function mergeRunningTotals(input: CellMergeInput, lookback: readonly PlannedRead[], cells: Cells): void {
  const { plan, resolutionsMs, groupOfSeries, bucketLimits, accumulators } = input
  const allReads = new PlannedReadFinder([...lookback, ...plan.reads].sort((a, b) => a.fromMs - b.fromMs))
  const readsInRange = new PlannedReadFinder(plan.reads)
  const unreadUntilMs = unreadUntilMsByBucket(plan, lookback)
  const buckets = new BucketFinder(plan.edges)
  forEachSeries(input, (ordinal, occurrences) => {
    // Several runs and the inbox may hold totals of the same stored bucket.
    const totalsByBucketMs = new Map<number, RunningTotals>()
    for (const { source, seriesIndex } of occurrences) {
      const { section } = source
      if (!section.hasTotals) continue
      for (let row = section.rowStart[seriesIndex]!; row < section.rowStart[seriesIndex + 1]!; row++) {
        const timeMs = section.bucketMs[row]!
        const read = allReads.plannedReadOfRow(source, timeMs)
        if (read === undefined) continue
        const totals = section.totalsAt(row)
        if (totals === undefined) continue
        const storedBucketMs = floorTo(timeMs, resolutionsMs[read.level]!)
        let bucketTotals = totalsByBucketMs.get(storedBucketMs)
        if (bucketTotals === undefined) totalsByBucketMs.set(storedBucketMs, (bucketTotals = new RunningTotals()))
        bucketTotals.merge(totals)
      }
    }
    let previousMs = Number.NEGATIVE_INFINITY
    let previousTotal = 0
    for (const [storedBucketMs, totals] of [...totalsByBucketMs].sort(([a], [b]) => a - b)) {
      const lastIndex = totals.length - 1
      if (readsInRange.plannedReadAt(storedBucketMs) !== undefined) {
        cells.isInexact ||= totals.isInexact
        const bucket = buckets.bucketIndexAt(storedBucketMs)
        const cell = cells.ensureCellsOf(groupOfSeries[ordinal]!) + bucket
        const isGapFullyRead = previousMs >= unreadUntilMs[bucket]!
        if (!isGapFullyRead && previousMs > Number.NEGATIVE_INFINITY) cells.isInexact = true
        const continuesPrevious = isGapFullyRead && totals.timeMs[0]! - previousMs <= RUNNING_TOTALS_GAP_MS_MAX
        const increase =
          totals.computeIncrease() + (continuesPrevious ? increaseBetween(previousTotal, totals.value[0]!) : 0)
        if (hasNextLimit(bucketLimits, ordinal))
          addCumulativeCount(cells, cell, bucketLimits, accumulators, ordinal, increase)
        else {
          cells.sum[cell]! += increase
          if (accumulators.needsCountsByLimit)
            cells.countsByLimitOf(cell).add(bucketLimits.upperLimit[ordinal]!, increase)
        }
        if (accumulators.needsFirstAndLast) mergeLast(cells, cell, totals.timeMs[lastIndex]!, totals.value[lastIndex]!)
      }
      previousMs = totals.timeMs[lastIndex]!
      previousTotal = totals.value[lastIndex]!
    }
  })
}

/**
 * Returns for each bucket the time from which on the range was read without gaps: the end of the last bucket, among
 * this one and the earlier ones, that is unavailable and that `lookback` does not cover. -Infinity if there is none.
 */
function unreadUntilMsByBucket(
  { edges, unavailableBuckets, fromMs }: Plan,
  lookback: readonly PlannedRead[],
): Float64Array {
  const lookbackFinder = new PlannedReadFinder(lookback)
  const unreadUntilMs = new Float64Array(unavailableBuckets.length)
  let lastMs = Number.NEGATIVE_INFINITY
  for (let i = 0; i < unreadUntilMs.length; i++) {
    if (unavailableBuckets[i] === 1 && lookbackFinder.plannedReadAt(Math.max(fromMs, edges[i]!)) === undefined)
      lastMs = edges[i + 1]!
    unreadUntilMs[i] = lastMs
  }
  return unreadUntilMs
}

interface SeriesOccurrence {
  readonly source: MergeSource
  /** Index of the series in the section of the source's block. */
  readonly seriesIndex: number
}

/**
 * Calls `visit` once for each series that is in a group and in a source. `occurrences` are the places where the sources
 * have data of the series, in the order of the sources.
 */
function forEachSeries(
  { sources, groupOfSeries }: CellMergeInput,
  visit: (ordinal: number, occurrences: readonly SeriesOccurrence[]) => void,
): void {
  const starts = new Uint32Array(groupOfSeries.length + 1)
  for (const { ordinals, section } of sources) {
    for (let seriesIndex = 0; seriesIndex < section.seriesCount; seriesIndex++) {
      const ordinal = ordinals[seriesIndex]!
      if ((groupOfSeries[ordinal] ?? -1) >= 0) starts[ordinal + 1]!++
    }
  }
  for (let i = 0; i < groupOfSeries.length; i++) starts[i + 1]! += starts[i]!
  const occurrences = new Array<SeriesOccurrence>(starts[groupOfSeries.length]!)
  const nextIndex = starts.slice()
  for (const source of sources) {
    for (let seriesIndex = 0; seriesIndex < source.section.seriesCount; seriesIndex++) {
      const ordinal = source.ordinals[seriesIndex]!
      if ((groupOfSeries[ordinal] ?? -1) >= 0) occurrences[nextIndex[ordinal]!++] = { source, seriesIndex }
    }
  }
  for (let ordinal = 0; ordinal < groupOfSeries.length; ordinal++) {
    if (starts[ordinal]! < starts[ordinal + 1]!)
      visit(ordinal, occurrences.slice(starts[ordinal]!, starts[ordinal + 1]!))
  }
}
