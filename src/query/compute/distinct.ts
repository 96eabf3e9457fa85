import type { MetricRow, SetKey, Store } from '../../store/store.ts'
import { BucketFinder, ReadFinder } from '../plan/locate.ts'
import type { SeriesList } from '../plan/series-index.ts'
import type { Cells } from './cells.ts'
import type { Merge } from './merge.ts'

/** Distinct members: of each cell, and of each group over the whole range (undefined unless asked for). */
export interface DistinctCounts {
  readonly cells: Float64Array
  readonly totals: Float64Array | undefined
}

/**
 * Counts the members of sets. Rollups only tell which sketches exist; the sketches of a cell's series and stored buckets
 * are united, so a member counts once however often and wherever it was seen.
 */
export async function countDistinct(
  store: Store,
  metric: MetricRow,
  list: SeriesList,
  { plan, stepsMs, sources, groupOf }: Merge,
  cells: Cells,
  wantTotals: boolean,
): Promise<DistinctCounts> {
  const reads = new ReadFinder(plan.reads)
  const buckets = new BucketFinder(plan.edges)
  const seen = stepsMs.map(() => new Map<number, Set<number>>())
  const unions: SetKey[][] = []
  const unionOf = new Map<number, number>()
  for (const { section, level, inbox, ordinals } of sources) {
    for (let s = 0; s < section.seriesCount; s++) {
      const ordinal = ordinals[s]!
      const group = groupOf[ordinal] ?? -1
      if (group < 0) continue
      for (let row = section.rowStart[s]!; row < section.rowStart[s + 1]!; row++) {
        const timeMs = section.bucketMs[row]!
        const read = reads.find(timeMs)
        if (read === undefined || (read.level !== level && !inbox)) continue
        const cell = cells.cellOf(group) + buckets.find(timeMs)
        cells.count[cell]! += section.count[row]!
        const resolutionMs = stepsMs[read.level]!
        const bucketMs = Math.floor(timeMs / resolutionMs) * resolutionMs
        if (!first(seen[read.level]!, ordinal, bucketMs)) continue
        let union = unionOf.get(cell)
        if (union === undefined) unionOf.set(cell, (union = unions.push([]) - 1))
        unions[union]!.push({
          metricId: metric.metricId,
          seriesId: list.rows[ordinal]!.seriesId,
          resolutionMs,
          bucketMs,
        })
      }
    }
  }
  const wholes: SetKey[][] = wantTotals ? cells.groups.map(() => []) : []
  if (wantTotals) {
    for (const [cell, union] of unionOf) {
      const whole = wholes[Math.floor(cell / cells.buckets)]!
      for (const key of unions[union]!) whole.push(key)
    }
  }
  const counts = await store.countDistinct(metric.partition, [...unions, ...wholes])
  const byCell = new Float64Array(cells.groups.length * cells.buckets)
  for (const [cell, union] of unionOf) byCell[cell] = counts[union]!
  return { cells: byCell, totals: wantTotals ? Float64Array.from(counts.slice(unions.length)) : undefined }
}

/** Whether this series and stored bucket are met for the first time: runs and inbox may name them again. */
function first(seen: Map<number, Set<number>>, ordinal: number, bucketMs: number): boolean {
  let buckets = seen.get(ordinal)
  if (buckets === undefined) seen.set(ordinal, (buckets = new Set()))
  if (buckets.has(bucketMs)) return false
  buckets.add(bucketMs)
  return true
}
