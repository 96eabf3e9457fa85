import { StepBudget, type Steps } from '../../model/steps.ts'
import { floorTo } from '../../model/time.ts'
import { increaseBetween, RunningTotals } from '../../rollup/running-totals.ts'
import { BucketFinder, PlannedReadFinder } from '../plan/find-by-time.ts'
import { RUNNING_TOTALS_GAP_MS_MAX } from '../plan/period.ts'
import type { Plan, PlannedRead } from '../plan/plan.ts'
import type { MergeSource } from '../read/source-reader.ts'
import type { Cells } from './cells.ts'
import { addCumulativeCount, type CellMergeInput, hasNextLimit } from './merge-unordered.ts'

/**
 * Merges first values, last values and running totals into cells. They depend on the order of points within a series,
 * so they are merged series by series, with the blocks of a series in order of arrival. Only running totals take an
 * object per rollup.
 */

/**
 * Merges first and last values of gauges. At equal times within a series, `last` is the value that arrived last and
 * `first` the one that arrived first. At equal times in different series of a group, `last` is the greater value and
 * `first` the smaller one.
 *
 * A series ends in a bucket if the latest that it has there is an end marker, not a value. It then has no last value in
 * this bucket. A bucket in which a series of a group ended, and no series of the group has a last value, is an end of
 * the group.
 */
export function* mergeFirstAndLast(input: CellMergeInput, cells: Cells): Steps<void> {
  const { plan, groupOfSeries } = input
  const reads = new PlannedReadFinder(plan.reads)
  const buckets = new BucketFinder(plan.edges)
  const bucketCount = cells.bucketCount
  const firstMs = new Float64Array(bucketCount).fill(Number.POSITIVE_INFINITY)
  const lastMs = new Float64Array(bucketCount).fill(Number.NEGATIVE_INFINITY)
  const first = new Float64Array(bucketCount)
  const last = new Float64Array(bucketCount)
  const touchedBuckets: number[] = []
  yield* forEachSeries(input, (ordinal, occurrences) => {
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
export function* mergeRunningTotals(
  input: CellMergeInput,
  lookback: readonly PlannedRead[],
  cells: Cells,
): Steps<void> {
  const { plan, resolutionsMs, groupOfSeries, bucketLimits, accumulators } = input
  const allReads = new PlannedReadFinder([...lookback, ...plan.reads].sort((a, b) => a.fromMs - b.fromMs))
  const readsInRange = new PlannedReadFinder(plan.reads)
  const unreadUntilMs = unreadUntilMsByBucket(plan, lookback)
  const buckets = new BucketFinder(plan.edges)
  yield* forEachSeries(input, (ordinal, occurrences) => {
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

/** Units of work (`StepBudget`) of a row that is merged series by series: about a microsecond for running totals. */
const ORDERED_ROW_STEP_UNITS = 128

/**
 * Calls `visit` once for each series that is in a group and in a source. `occurrences` are the places where the sources
 * have data of the series, in the order of the sources. A step ends only between two series.
 */
function* forEachSeries(
  { sources, groupOfSeries }: CellMergeInput,
  visit: (ordinal: number, occurrences: readonly SeriesOccurrence[]) => void,
): Steps<void> {
  const budget = new StepBudget()
  const starts = new Uint32Array(groupOfSeries.length + 1)
  for (const { ordinals, section } of sources) {
    for (let seriesIndex = 0; seriesIndex < section.seriesCount; seriesIndex++) {
      const ordinal = ordinals[seriesIndex]!
      if ((groupOfSeries[ordinal] ?? -1) >= 0) starts[ordinal + 1]!++
    }
    if (budget.spend(section.seriesCount * 4)) yield
  }
  for (let i = 0; i < groupOfSeries.length; i++) starts[i + 1]! += starts[i]!
  // The occurrences of a series have the indexes from starts[ordinal] to starts[ordinal + 1] - 1 in both columns.
  const sourceIndexes = new Uint32Array(starts[groupOfSeries.length]!)
  const seriesIndexes = new Uint32Array(starts[groupOfSeries.length]!)
  const nextIndex = starts.slice()
  for (const [sourceIndex, { ordinals, section }] of sources.entries()) {
    for (let seriesIndex = 0; seriesIndex < section.seriesCount; seriesIndex++) {
      const ordinal = ordinals[seriesIndex]!
      if ((groupOfSeries[ordinal] ?? -1) < 0) continue
      const index = nextIndex[ordinal]!++
      sourceIndexes[index] = sourceIndex
      seriesIndexes[index] = seriesIndex
    }
    if (budget.spend(section.seriesCount * 8)) yield
  }
  for (let ordinal = 0; ordinal < groupOfSeries.length; ordinal++) {
    if (starts[ordinal] === starts[ordinal + 1]) continue
    const occurrences: SeriesOccurrence[] = []
    let rowCount = 0
    for (let index = starts[ordinal]!; index < starts[ordinal + 1]!; index++) {
      const source = sources[sourceIndexes[index]!]!
      const seriesIndex = seriesIndexes[index]!
      occurrences.push({ source, seriesIndex })
      rowCount += source.section.rowStart[seriesIndex + 1]! - source.section.rowStart[seriesIndex]!
    }
    visit(ordinal, occurrences)
    if (budget.spend(rowCount * ORDERED_ROW_STEP_UNITS)) yield
  }
}
