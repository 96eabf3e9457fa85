import type { Pace } from '../../model/steps.ts'
import type { Store } from '../../store/store.ts'
import { requiredAccumulatorsOf } from '../aggregations.ts'
import type { Plan } from '../plan/plan.ts'
import type { Top } from '../plan/request.ts'
import { type Grouping, REMAINDER } from '../plan/series-cache.ts'
import { accumulate, type PeriodSources } from './accumulate.ts'
import { Cells, CellValues } from './cells.ts'
import { compareTags, secondsOf } from './evaluate.ts'

/**
 * Maximum number of groups whose values are computed in one pass if the ranking needs sketches or histogram counts.
 * These take kilobytes per group, and a query may have as many groups as series. More groups take several passes.
 */
const GROUPS_PER_SKETCHED_PASS_MAX = 4_096
/** The value of a group takes a few microseconds if it is a quantile. */
const GROUPS_BETWEEN_PAUSES = 64
/** Number of candidates, or twice the number of ranks if that is more, that are sorted at a time. */
const CANDIDATES_MAX = 1_024

/**
 * Ranks the groups by one value over the whole range and returns the first n in this order. The other groups are left
 * out, or merged into one more group, the remainder. Groups of equal value are ordered by tags, groups whose value is
 * NaN come last, and groups without data have no rank. Each group takes one cell, because only values over the whole
 * range are computed.
 */
export async function selectTopGroups(
  store: Store,
  periodSources: PeriodSources,
  plan: Plan,
  clock: { readonly baseResolutionMs: number; readonly nowMs: number },
  grouping: Grouping,
  top: Top,
  pace: Pace,
): Promise<Grouping> {
  const { groups, groupOfSeries } = grouping
  // A single bucket. The reads leave out the unavailable buckets, so the rank is computed without them.
  const wholeRange: Plan = {
    ...plan,
    edges: Float64Array.of(plan.fromMs, plan.toMs),
    unavailableBuckets: new Uint8Array(1),
    unavailableCount: 0,
  }
  const accumulators = requiredAccumulatorsOf([top.by], periodSources.metric.type)
  const seconds = secondsOf({ plan: wholeRange, ...clock }, wholeRange.fromMs, wholeRange.toMs)
  const sign = top.isAscending ? 1 : -1
  const candidates = new TopCandidates<{ readonly group: number; readonly value: number }>(
    top.n,
    (a, b) =>
      Number(Number.isNaN(a.value)) - Number(Number.isNaN(b.value)) ||
      sign * (a.value - b.value) ||
      compareTags(groups[a.group]!.tags, groups[b.group]!.tags),
  )
  const groupsPerPass =
    accumulators.needsSketches || accumulators.needsCountsByLimit
      ? GROUPS_PER_SKETCHED_PASS_MAX
      : Math.max(1, groups.length)
  for (let firstGroup = 0; firstGroup < groups.length; firstGroup += groupsPerPass) {
    const groupOfSeriesInPass = groupOfSeries.map((group) =>
      group >= firstGroup && group < firstGroup + groupsPerPass ? group - firstGroup : -1,
    )
    const cells = new Cells(groupsPerPass, 1, accumulators)
    const distinctCounts = await accumulate(
      store,
      periodSources,
      { plan: wholeRange, groupOfSeries: groupOfSeriesInPass, accumulators },
      cells,
      false,
      pace,
    )
    for (const [slot, group] of cells.groupsWithCells.entries()) {
      if (slot % GROUPS_BETWEEN_PAUSES === 0) await pace.pause()
      if (cells.count[slot]! === 0) continue
      candidates.add({
        group: firstGroup + group,
        value: top.by.compute(new CellValues(cells, slot, seconds, distinctCounts?.countOfCell)),
      })
    }
  }
  const topGroups = candidates.first()
  const hasRemainder = top.withRemainder && topGroups.length < groups.length
  const rankOfGroup = new Int32Array(groups.length).fill(hasRemainder ? topGroups.length : -1)
  for (const [rank, { group }] of topGroups.entries()) rankOfGroup[group] = rank
  return {
    groupOfSeries: groupOfSeries.map((group) => (group < 0 ? -1 : rankOfGroup[group]!)),
    groups: [...topGroups.map(({ group }) => groups[group]!), ...(hasRemainder ? [REMAINDER] : [])],
    matchedSeriesCount: grouping.matchedSeriesCount,
    idRange: grouping.idRange,
  }
}

/** Finds the first n elements in an order without keeping and sorting all of them. */
class TopCandidates<T> {
  readonly #n: number
  readonly #compare: (a: T, b: T) => number
  readonly #candidates: T[] = []

  constructor(n: number, compare: (a: T, b: T) => number) {
    this.#n = n
    this.#compare = compare
  }

  add(element: T): void {
    if (this.#candidates.push(element) >= Math.max(CANDIDATES_MAX, 2 * this.#n)) this.first()
  }

  /** Returns the first n of the elements added so far, in order. */
  first(): readonly T[] {
    this.#candidates.sort(this.#compare)
    if (this.#candidates.length > this.#n) this.#candidates.length = this.#n
    return this.#candidates
  }
}
