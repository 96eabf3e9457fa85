import { addCounts, COUNT_MAX } from '../../model/count.ts'
import { floorTo } from '../../model/time.ts'
import { addBinsToSketch } from '../../rollup/row-bins.ts'
import { increaseBetween, RunningTotals } from '../../rollup/running-totals.ts'
import type { Needs } from '../plan/aggregation.ts'
import { BucketFinder, ReadFinder } from '../plan/locate.ts'
import { SILENCE_MS_MAX } from '../plan/period.ts'
import type { Plan, Read } from '../plan/plan.ts'
import type { Source } from '../read/source-reader.ts'
import type { Cells } from './cells.ts'
import type { SeriesLimits } from './limit-counts.ts'

/**
 * Merges block columns into cells, without an object per rollup. Count, sum, min, max and sketch bins do not depend on
 * order: they are merged block by block. First, last and running totals depend on the order of points within a series:
 * they are merged series by series, with the blocks of a series in order of arrival.
 */

export interface Merge {
  readonly plan: Plan
  /** Width of the stored buckets, by level. */
  readonly stepsMs: readonly number[]
  readonly sources: readonly Source[]
  /**
   * The group of each ordinal; -1 for a series in no group. Ordinals beyond the end belong to series that were
   * registered later; they are in no group.
   */
  readonly groupOf: Int32Array
  /** The upper limits of series, for histograms. */
  readonly limits: SeriesLimits
  readonly needs: Needs
}

/** Whether the count of a series is part of the count of the next higher limit. */
function isInner({ next }: SeriesLimits, ordinal: number): boolean {
  return next.length > 0 && !Number.isNaN(next[ordinal]!)
}

function addInner(
  cells: Cells,
  cell: number,
  { upper, next }: SeriesLimits,
  needs: Needs,
  ordinal: number,
  count: number,
): void {
  if (!needs.limits) return
  const counts = cells.limitCountsOf(cell)
  counts.add(upper[ordinal]!, count)
  counts.add(next[ordinal]!, -count)
}

/** Merges count, sum, min, max, sketch bins and counts by limit. */
export function mergeSums({ plan, sources, groupOf, limits, needs }: Merge, cells: Cells): void {
  const reads = new ReadFinder(plan.reads)
  const buckets = new BucketFinder(plan.edges)
  let counted = 0
  for (const source of sources) {
    const { section, ordinals } = source
    const { rowStart, bucketMs, count } = section
    const sum = section.kind === 'set' ? count : section.sum
    const extremes = needs.extremes
    const min = extremes ? section.min : sum
    const max = extremes ? section.max : sum
    for (let seriesIndex = 0; seriesIndex < section.seriesCount; seriesIndex++) {
      const group = groupOf[ordinals[seriesIndex]!] ?? -1
      if (group < 0) continue
      for (let row = rowStart[seriesIndex]!; row < rowStart[seriesIndex + 1]!; row++) {
        const timeMs = bucketMs[row]!
        if (reads.findFor(source, timeMs) === undefined) continue
        const cell = cells.cellOf(group) + buckets.find(timeMs)
        cells.count[cell] = addCounts(cells.count[cell]!, count[row]!)
        counted = addCounts(counted, count[row]!)
        if (isInner(limits, ordinals[seriesIndex]!))
          addInner(cells, cell, limits, needs, ordinals[seriesIndex]!, sum[row]!)
        else {
          cells.sum[cell]! += sum[row]!
          if (needs.limits) cells.limitCountsOf(cell).add(limits.upper[ordinals[seriesIndex]!]!, sum[row]!)
        }
        if (extremes) {
          if (min[row]! < cells.min[cell]!) cells.min[cell] = min[row]!
          if (max[row]! > cells.max[cell]!) cells.max[cell] = max[row]!
        }
        if (needs.sketches) addBinsToSketch(section, row, cells.sketchOf(cell))
      }
    }
  }
  if (counted === COUNT_MAX) cells.inexact = true
}

/**
 * Merges first and last values of gauges. At equal times within a series, `last` is the value that arrived last and
 * `first` the one that arrived first. At equal times in different series of a group, `last` is the greater value and
 * `first` the smaller one.
 */
export function mergeEnds(merge: Merge, cells: Cells): void {
  const { plan, groupOf } = merge
  const reads = new ReadFinder(plan.reads)
  const buckets = new BucketFinder(plan.edges)
  const bucketCount = cells.buckets
  const firstMs = new Float64Array(bucketCount).fill(Number.POSITIVE_INFINITY)
  const lastMs = new Float64Array(bucketCount).fill(Number.NEGATIVE_INFINITY)
  const first = new Float64Array(bucketCount)
  const last = new Float64Array(bucketCount)
  const touchedBuckets: number[] = []
  eachSeries(merge, (ordinal, parts) => {
    const group = groupOf[ordinal]!
    for (const { source, series } of parts) {
      const { section } = source
      for (let row = section.rowStart[series]!; row < section.rowStart[series + 1]!; row++) {
        const timeMs = section.bucketMs[row]!
        if (reads.findFor(source, timeMs) === undefined) continue
        const bucket = buckets.find(timeMs)
        if (lastMs[bucket] === Number.NEGATIVE_INFINITY) touchedBuckets.push(bucket)
        if (section.lastMs[row]! >= lastMs[bucket]!) {
          lastMs[bucket] = section.lastMs[row]!
          last[bucket] = section.last[row]!
        }
        if (section.firstMs[row]! < firstMs[bucket]!) {
          firstMs[bucket] = section.firstMs[row]!
          first[bucket] = section.first[row]!
        }
      }
    }
    for (const bucket of touchedBuckets) {
      const cell = cells.cellOf(group) + bucket
      mergeLast(cells, cell, lastMs[bucket]!, last[bucket]!)
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
  })
}

function mergeLast(cells: Cells, cell: number, timeMs: number, value: number): void {
  if (timeMs > cells.lastMs[cell]! || (timeMs === cells.lastMs[cell] && value > cells.last[cell]!)) {
    cells.lastMs[cell] = timeMs
    cells.last[cell] = value
  }
}

/**
 * Merges running totals of counters. The increase between two totals of a series is added to the result bucket of the
 * later total. `lookback` are additional reads, before the range and in its unavailable buckets, that may find the
 * total before the first one. An increase across a stretch that was not read is unknown.
 */
export function mergeTotals(merge: Merge, lookback: readonly Read[], cells: Cells): void {
  const { plan, stepsMs, groupOf, limits, needs } = merge
  const reads = new ReadFinder([...lookback, ...plan.reads].sort((a, b) => a.fromMs - b.fromMs))
  const inRange = new ReadFinder(plan.reads)
  const unreadUntilMs = unreadBefore(plan, lookback)
  const buckets = new BucketFinder(plan.edges)
  eachSeries(merge, (ordinal, parts) => {
    // Several runs and the inbox may hold totals of the same stored bucket.
    const byBucket = new Map<number, RunningTotals>()
    for (const { source, series } of parts) {
      const { section } = source
      if (!section.hasTotals) continue
      for (let row = section.rowStart[series]!; row < section.rowStart[series + 1]!; row++) {
        const timeMs = section.bucketMs[row]!
        const read = reads.findFor(source, timeMs)
        if (read === undefined) continue
        const totals = section.totalsAt(row)
        if (totals === undefined) continue
        const storedMs = floorTo(timeMs, stepsMs[read.level]!)
        let joined = byBucket.get(storedMs)
        if (joined === undefined) byBucket.set(storedMs, (joined = new RunningTotals()))
        joined.merge(totals)
      }
    }
    let previousMs = Number.NEGATIVE_INFINITY
    let previous = 0
    for (const [storedMs, totals] of [...byBucket].sort(([a], [b]) => a - b)) {
      const end = totals.length - 1
      if (inRange.find(storedMs) !== undefined) {
        cells.inexact ||= totals.isInexact
        const bucket = buckets.find(storedMs)
        const cell = cells.cellOf(groupOf[ordinal]!) + bucket
        const isKnown = previousMs >= unreadUntilMs[bucket]!
        if (!isKnown && previousMs > Number.NEGATIVE_INFINITY) cells.inexact = true
        const joins = isKnown && totals.timeMs[0]! - previousMs <= SILENCE_MS_MAX
        const increase = totals.increase() + (joins ? increaseBetween(previous, totals.value[0]!) : 0)
        if (isInner(limits, ordinal)) addInner(cells, cell, limits, needs, ordinal, increase)
        else {
          cells.sum[cell]! += increase
          if (needs.limits) cells.limitCountsOf(cell).add(limits.upper[ordinal]!, increase)
        }
        if (needs.ends) mergeLast(cells, cell, totals.timeMs[end]!, totals.value[end]!)
      }
      previousMs = totals.timeMs[end]!
      previous = totals.value[end]!
    }
  })
}

/**
 * For each bucket, the end of the last unavailable bucket up to it that `lookback` did not read; -Infinity if there is
 * none.
 */
function unreadBefore({ edges, unavailable, fromMs }: Plan, lookback: readonly Read[]): Float64Array {
  const found = new ReadFinder(lookback)
  const unreadUntilMs = new Float64Array(unavailable.length)
  let lastMs = Number.NEGATIVE_INFINITY
  for (let i = 0; i < unreadUntilMs.length; i++) {
    if (unavailable[i] === 1 && found.find(Math.max(fromMs, edges[i]!)) === undefined) lastMs = edges[i + 1]!
    unreadUntilMs[i] = lastMs
  }
  return unreadUntilMs
}

interface SeriesPart {
  readonly source: Source
  /** Index of the series within the section. */
  readonly series: number
}

/** Calls `visit` for each series in a group, with its parts in the order of the sources. */
function eachSeries({ sources, groupOf }: Merge, visit: (ordinal: number, parts: readonly SeriesPart[]) => void): void {
  const starts = new Uint32Array(groupOf.length + 1)
  for (const { ordinals, section } of sources) {
    for (let seriesIndex = 0; seriesIndex < section.seriesCount; seriesIndex++) {
      const ordinal = ordinals[seriesIndex]!
      if ((groupOf[ordinal] ?? -1) >= 0) starts[ordinal + 1]!++
    }
  }
  for (let i = 0; i < groupOf.length; i++) starts[i + 1]! += starts[i]!
  const parts = new Array<SeriesPart>(starts[groupOf.length]!)
  const next = starts.slice()
  for (const source of sources) {
    for (let seriesIndex = 0; seriesIndex < source.section.seriesCount; seriesIndex++) {
      const ordinal = source.ordinals[seriesIndex]!
      if ((groupOf[ordinal] ?? -1) >= 0) parts[next[ordinal]!++] = { source, series: seriesIndex }
    }
  }
  for (let ordinal = 0; ordinal < groupOf.length; ordinal++) {
    if (starts[ordinal]! < starts[ordinal + 1]!) visit(ordinal, parts.slice(starts[ordinal]!, starts[ordinal + 1]!))
  }
}
