import { floorTo } from '../../model/time.ts'
import type { MetricRow, SetKey, Store } from '../../store/store.ts'
import { BucketFinder, ReadFinder } from '../plan/locate.ts'
import type { SeriesList } from '../plan/series-index.ts'
import type { Cells } from './cells.ts'
import type { Merge } from './merge.ts'

/**
 * Numbers of distinct members: of each cell, and of each group over the whole range. `totals` is empty unless
 * requested.
 */
export interface DistinctCounts {
  readonly cells: Float64Array
  readonly totals: Float64Array
}

/**
 * Counts the distinct members of sets. The rollups of a set only show which sketches exist. The store merges the
 * sketches of all series and stored buckets of a cell, so a member counts once per cell.
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
  const cellUnions: SetKey[][] = []
  const unionIndexOf = new Map<number, number>()
  for (const source of sources) {
    const { section, ordinals } = source
    for (let s = 0; s < section.seriesCount; s++) {
      const ordinal = ordinals[s]!
      const group = groupOf[ordinal] ?? -1
      if (group < 0) continue
      for (let row = section.rowStart[s]!; row < section.rowStart[s + 1]!; row++) {
        const timeMs = section.bucketMs[row]!
        const read = reads.findFor(source, timeMs)
        if (read === undefined) continue
        const cell = cells.cellOf(group) + buckets.find(timeMs)
        cells.count[cell]! += section.count[row]!
        const resolutionMs = stepsMs[read.level]!
        const bucketMs = floorTo(timeMs, resolutionMs)
        if (!addOnce(seen[read.level]!, ordinal, bucketMs)) continue
        let unionIndex = unionIndexOf.get(cell)
        if (unionIndex === undefined) unionIndexOf.set(cell, (unionIndex = cellUnions.push([]) - 1))
        cellUnions[unionIndex]!.push({
          metricId: metric.metricId,
          seriesId: list.rows[ordinal]!.seriesId,
          resolutionMs,
          bucketMs,
        })
      }
    }
  }
  const rangeUnions: SetKey[][] = wantTotals ? cells.groups.map(() => []) : []
  for (const [cell, unionIndex] of unionIndexOf) {
    const rangeUnion = rangeUnions[Math.floor(cell / cells.buckets)]
    if (rangeUnion !== undefined) for (const key of cellUnions[unionIndex]!) rangeUnion.push(key)
  }
  const counts = await store.countDistinct(metric.partition, [...cellUnions, ...rangeUnions])
  const byCell = new Float64Array(cells.groups.length * cells.buckets)
  for (const [cell, unionIndex] of unionIndexOf) byCell[cell] = counts[unionIndex]!
  return { cells: byCell, totals: Float64Array.from(counts.slice(cellUnions.length)) }
}

/**
 * Records a series and stored bucket. Returns false if they were recorded before: several runs and the inbox may hold
 * the same stored bucket.
 */
function addOnce(seen: Map<number, Set<number>>, ordinal: number, bucketMs: number): boolean {
  let buckets = seen.get(ordinal)
  if (buckets === undefined) seen.set(ordinal, (buckets = new Set()))
  if (buckets.has(bucketMs)) return false
  buckets.add(bucketMs)
  return true
}
