import { addCounts, COUNT_MAX } from '../../model/count.ts'
import { increaseBetween, Totals } from '../../rollup/totals.ts'
import type { Needs } from '../plan/aggregation.ts'
import { BucketFinder, ReadFinder } from '../plan/locate.ts'
import { SILENCE_MS_MAX } from '../plan/period.ts'
import type { Plan, Read } from '../plan/plan.ts'
import type { Source } from '../read/source-reader.ts'
import type { Cells } from './cells.ts'

/**
 * Merges block columns into cells, without an object per rollup. What only adds up (count, sum, min, max, bins) is merged block
 * by block; what depends on the order of one series' points (first, last, running totals) is merged series by series, its
 * blocks in order of arrival.
 */

export interface Merge {
  readonly plan: Plan
  /** Widths of the levels. */
  readonly stepsMs: readonly number[]
  readonly sources: readonly Source[]
  /** The group of each ordinal, -1 for none. Series that were registered meanwhile lie beyond its end and belong to none. */
  readonly groupOf: Int32Array
  /** The upper limit of each ordinal, where counts by limit are needed. */
  readonly limits: Float64Array
  readonly needs: Needs
}

/** Adds what only adds up. */
export function mergeSums({ plan, sources, groupOf, limits, needs }: Merge, cells: Cells): void {
  const reads = new ReadFinder(plan.reads)
  const buckets = new BucketFinder(plan.edges)
  let counted = 0
  for (const { section, level, inbox, ordinals } of sources) {
    const { rowStart, bucketMs, count } = section
    const sum = section.kind === 'set' ? count : section.sum
    const extremes = needs.extremes
    const min = extremes ? section.min : sum
    const max = extremes ? section.max : sum
    for (let s = 0; s < section.seriesCount; s++) {
      const group = groupOf[ordinals[s]!] ?? -1
      if (group < 0) continue
      for (let row = rowStart[s]!; row < rowStart[s + 1]!; row++) {
        const timeMs = bucketMs[row]!
        const read = reads.find(timeMs)
        if (read === undefined || (read.level !== level && !inbox)) continue
        const cell = cells.cellOf(group) + buckets.find(timeMs)
        cells.count[cell] = addCounts(cells.count[cell]!, count[row]!)
        counted = addCounts(counted, count[row]!)
        cells.sum[cell]! += sum[row]!
        if (extremes) {
          if (min[row]! < cells.min[cell]!) cells.min[cell] = min[row]!
          if (max[row]! > cells.max[cell]!) cells.max[cell] = max[row]!
        }
        if (needs.sketches) section.mergeBinsInto(row, cells.sketchOf(cell))
        if (needs.limits) cells.limitCountsOf(cell).add(limits[ordinals[s]!]!, sum[row]!)
      }
    }
  }
  if (counted === COUNT_MAX) cells.inexact = true
}

/**
 * First and last of gauges. Of one series the later arrival wins equal times (for first: the earlier one stays); between the
 * series of a group the greater value does (for first: the smaller one).
 */
export function mergeEnds(merge: Merge, cells: Cells): void {
  const { plan, groupOf } = merge
  const reads = new ReadFinder(plan.reads)
  const buckets = new BucketFinder(plan.edges)
  const n = cells.buckets
  const firstMs = new Float64Array(n).fill(Number.POSITIVE_INFINITY)
  const lastMs = new Float64Array(n).fill(Number.NEGATIVE_INFINITY)
  const first = new Float64Array(n)
  const last = new Float64Array(n)
  const touched: number[] = []
  eachSeries(merge, (ordinal, parts) => {
    const group = groupOf[ordinal]!
    for (const { source, series } of parts) {
      const { section, level, inbox } = source
      for (let row = section.rowStart[series]!; row < section.rowStart[series + 1]!; row++) {
        const timeMs = section.bucketMs[row]!
        const read = reads.find(timeMs)
        if (read === undefined || (read.level !== level && !inbox)) continue
        const bucket = buckets.find(timeMs)
        if (lastMs[bucket] === Number.NEGATIVE_INFINITY) touched.push(bucket)
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
    for (const bucket of touched) {
      const cell = cells.cellOf(group) + bucket
      offerLast(cells, cell, lastMs[bucket]!, last[bucket]!)
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
    touched.length = 0
  })
}

function offerLast(cells: Cells, cell: number, timeMs: number, value: number): void {
  if (timeMs > cells.lastMs[cell]! || (timeMs === cells.lastMs[cell] && value > cells.last[cell]!)) {
    cells.lastMs[cell] = timeMs
    cells.last[cell] = value
  }
}

/**
 * Running totals of counters: the increase from each total to the next of the same series goes to the answered bucket of the
 * later one. `lookback` are further reads that may hold the total before the first: before the range, and in its unavailable
 * stretches. Where such a stretch could not be read nothing is known of the increase across it.
 */
export function mergeTotals(merge: Merge, lookback: readonly Read[], cells: Cells): void {
  const { plan, stepsMs, groupOf, limits, needs } = merge
  const reads = new ReadFinder([...lookback, ...plan.reads].sort((a, b) => a.fromMs - b.fromMs))
  const within = new ReadFinder(plan.reads)
  const unread = unreadBefore(plan, lookback)
  const buckets = new BucketFinder(plan.edges)
  eachSeries(merge, (ordinal, parts) => {
    // One stored bucket may lie in several runs and in the inbox; its list is whole only when they are joined.
    const byBucket = new Map<number, Totals>()
    for (const { source, series } of parts) {
      const { section, level, inbox } = source
      if (!section.hasTotals) continue
      for (let row = section.rowStart[series]!; row < section.rowStart[series + 1]!; row++) {
        const timeMs = section.bucketMs[row]!
        const read = reads.find(timeMs)
        if (read === undefined || (read.level !== level && !inbox)) continue
        const totals = section.totalsAt(row)
        if (totals === undefined) continue
        const stepMs = stepsMs[read.level]!
        const storedMs = Math.floor(timeMs / stepMs) * stepMs
        let joined = byBucket.get(storedMs)
        if (joined === undefined) byBucket.set(storedMs, (joined = new Totals()))
        joined.merge(totals)
      }
    }
    let previousMs = Number.NEGATIVE_INFINITY
    let previous = 0
    for (const [storedMs, totals] of [...byBucket].sort(([a], [b]) => a - b)) {
      const end = totals.length - 1
      if (within.find(storedMs) !== undefined) {
        cells.inexact ||= totals.inexact
        const bucket = buckets.find(storedMs)
        const cell = cells.cellOf(groupOf[ordinal]!) + bucket
        const isKnown = previousMs >= unread[bucket]!
        if (!isKnown && previousMs > Number.NEGATIVE_INFINITY) cells.inexact = true
        const joins = isKnown && totals.timeMs[0]! - previousMs <= SILENCE_MS_MAX
        const increase = totals.increase() + (joins ? increaseBetween(previous, totals.value[0]!) : 0)
        cells.sum[cell]! += increase
        if (needs.limits) cells.limitCountsOf(cell).add(limits[ordinal]!, increase)
        if (needs.ends) offerLast(cells, cell, totals.timeMs[end]!, totals.value[end]!)
      }
      previousMs = totals.timeMs[end]!
      previous = totals.value[end]!
    }
  })
}

/** For each bucket the end of the last stretch before it that is neither answered nor looked back into. */
function unreadBefore({ edges, unavailable, fromMs }: Plan, lookback: readonly Read[]): Float64Array {
  const found = new ReadFinder(lookback)
  const unread = new Float64Array(unavailable.length)
  let lastMs = Number.NEGATIVE_INFINITY
  for (let i = 0; i < unread.length; i++) {
    if (unavailable[i] === 1 && found.find(Math.max(fromMs, edges[i]!)) === undefined) lastMs = edges[i + 1]!
    unread[i] = lastMs
  }
  return unread
}

interface Part {
  readonly source: Source
  /** The series' index in the section. */
  readonly series: number
}

/** Visits the series of all sources that belong to a group, each with its parts in the order of the sources. */
function eachSeries({ sources, groupOf }: Merge, visit: (ordinal: number, parts: readonly Part[]) => void): void {
  const starts = new Uint32Array(groupOf.length + 1)
  for (const { ordinals, section } of sources) {
    for (let s = 0; s < section.seriesCount; s++) {
      const ordinal = ordinals[s]!
      if ((groupOf[ordinal] ?? -1) >= 0) starts[ordinal + 1]!++
    }
  }
  for (let i = 0; i < groupOf.length; i++) starts[i + 1]! += starts[i]!
  const parts = new Array<Part>(starts[groupOf.length]!)
  const next = starts.slice()
  for (const source of sources) {
    for (let s = 0; s < source.section.seriesCount; s++) {
      const ordinal = source.ordinals[s]!
      if ((groupOf[ordinal] ?? -1) >= 0) parts[next[ordinal]!++] = { source, series: s }
    }
  }
  for (let ordinal = 0; ordinal < groupOf.length; ordinal++) {
    if (starts[ordinal]! < starts[ordinal + 1]!) visit(ordinal, parts.slice(starts[ordinal]!, starts[ordinal + 1]!))
  }
}
