import { StepBudget, type Steps } from '../../model/steps.ts'
import type { Aggregation } from '../aggregations.ts'
import type { Plan } from '../plan/plan.ts'
import type { GroupIdentity } from '../plan/series-cache.ts'
import { type Cells, CellValues, RangeValues } from './cells.ts'
import type { DistinctCounts } from './distinct.ts'
import { type ResultGroup, UNAVAILABLE } from './result.ts'

export interface Evaluation {
  readonly plan: Plan
  /** Width of the finest stored bucket. A rate is computed over at least this time. */
  readonly baseResolutionMs: number
  readonly nowMs: number
  readonly aggregations: readonly Aggregation[]
  readonly groups: readonly GroupIdentity[]
  /** Numbers of distinct members; undefined unless the metric is a set. */
  readonly distinctCounts: DistinctCounts | undefined
  /** Whether totals (aggregations over the whole range) are needed. */
  readonly withTotals: boolean
}

/** Units of work (`StepBudget`) of a value: about ten nanoseconds, a few microseconds if it is a quantile. */
const VALUE_STEP_UNITS = 8
const QUANTILE_STEP_UNITS = 1_024
/** Number of values that are computed before a step may end. */
const VALUES_PER_STEP = 256

/** Computes the aggregations of all groups that have cells. Returns the results by the index of the group. */
export function* evaluate(evaluation: Evaluation, cells: Cells): Steps<ReadonlyMap<number, ResultGroup>> {
  const secondsByBucket = secondsOfBuckets(evaluation)
  const budget = new StepBudget()
  const results = new Map<number, ResultGroup>()
  for (const [slot, group] of cells.groupsWithCells.entries())
    results.set(group, yield* evaluateGroup(evaluation, cells, group, slot, secondsByBucket, budget))
  return results
}

/** Returns the result of a group without data. */
export function emptyGroup({ groups, aggregations, plan }: Evaluation, group: number): ResultGroup {
  const bucketCount = plan.edges.length - 1
  const emptyColumn = new Float64Array(bucketCount).fill(Number.NaN)
  return {
    ...groups[group]!,
    bucketStates: bucketStatesWithoutData(plan),
    values: new Map(aggregations.map(({ name }) => [name, emptyColumn])),
    totals: new Map(),
  }
}

/** Returns the column `bucketStates` of a group without data. */
function bucketStatesWithoutData({ unavailableBuckets }: Plan): Uint8Array {
  return unavailableBuckets.map((isUnavailable) => isUnavailable * UNAVAILABLE)
}

function* evaluateGroup(
  evaluation: Evaluation,
  cells: Cells,
  group: number,
  slot: number,
  secondsByBucket: Float64Array,
  budget: StepBudget,
): Steps<ResultGroup> {
  const { aggregations } = evaluation
  const { bucketCount } = cells
  const firstCell = slot * bucketCount
  const bucketStates = bucketStatesWithoutData(evaluation.plan)
  for (let i = 0; i < bucketCount; i++) if (cells.count[firstCell + i]! > 0) bucketStates[i] = 1
  const values = new Map<string, Float64Array>()
  for (const aggregation of aggregations) {
    const column = new Float64Array(bucketCount).fill(Number.NaN)
    const stepUnits = isQuantile(aggregation) ? QUANTILE_STEP_UNITS : VALUE_STEP_UNITS
    for (let from = 0; from < bucketCount; from += VALUES_PER_STEP) {
      const to = Math.min(bucketCount, from + VALUES_PER_STEP)
      for (let i = from; i < to; i++) {
        if (bucketStates[i] !== 1) continue
        column[i] = aggregation.compute(
          new CellValues(cells, firstCell + i, secondsByBucket[i]!, evaluation.distinctCounts?.countOfCell),
        )
      }
      if (budget.spend(stepUnits * (to - from))) yield
    }
    values.set(aggregation.name, column)
  }
  const totals = evaluation.withTotals
    ? yield* computeTotals(evaluation, cells, slot, budget)
    : new Map<string, number>()
  return { ...evaluation.groups[group]!, bucketStates, values, totals, ...endsOf(cells, firstCell) }
}

/** Returns the column `ends` of a group; an empty object if no series of any group ended. */
function endsOf(cells: Cells, firstCell: number): Pick<ResultGroup, 'ends'> {
  if (cells.cellsWithEnd.size === 0) return {}
  return { ends: Uint8Array.from({ length: cells.bucketCount }, (_, i) => (cells.isEnd(firstCell + i) ? 1 : 0)) }
}

function secondsOfBuckets(evaluation: Evaluation): Float64Array {
  const { edges } = evaluation.plan
  const seconds = new Float64Array(edges.length - 1)
  for (let i = 0; i < seconds.length; i++) seconds[i] = secondsOf(evaluation, edges[i]!, edges[i + 1]!)
  return seconds
}

/**
 * Returns the seconds of a bucket that lie within the range and before now, but at least the width of the finest stored
 * bucket. A bucket that starts after now is not cut at now.
 */
export function secondsOf(
  { plan, nowMs, baseResolutionMs }: Pick<Evaluation, 'plan' | 'nowMs' | 'baseResolutionMs'>,
  startMs: number,
  endMs: number,
): number {
  const fromMs = Math.max(startMs, plan.fromMs)
  const toMs = Math.min(endMs, plan.toMs)
  const untilMs = fromMs > nowMs ? toMs : Math.min(toMs, nowMs)
  return Math.max(untilMs - fromMs, baseResolutionMs) / 1_000
}

function* computeTotals(
  evaluation: Evaluation,
  cells: Cells,
  slot: number,
  budget: StepBudget,
): Steps<ReadonlyMap<string, number>> {
  const { aggregations, distinctCounts, plan } = evaluation
  // Totals without the unavailable buckets would be wrong, so they are NaN.
  if (plan.unavailableCount > 0) return new Map(aggregations.map(({ name }) => [name, Number.NaN]))
  const seconds = secondsOf(evaluation, plan.fromMs, plan.toMs)
  const distinctCount = distinctCounts?.countOfRange[slot]
  const rangeValues = new RangeValues(cells, slot, seconds, distinctCount)
  const hasPoints = rangeValues.count > 0 || distinctCount !== undefined
  if (hasPoints && aggregations.some(isQuantile)) {
    for (let bucket = 0; bucket < cells.bucketCount; bucket++) {
      rangeValues.mergeQuantilesOf(bucket)
      if (budget.spend(QUANTILE_STEP_UNITS)) yield
    }
  }
  return new Map(
    aggregations.map((aggregation) => [aggregation.name, hasPoints ? aggregation.compute(rangeValues) : Number.NaN]),
  )
}

function isQuantile({ needs }: Aggregation): boolean {
  return needs.includes('quantiles')
}

type Tags = readonly (readonly [string, string])[]

/** Compares tags pair by pair: by key, then by value, in order of code units. */
export function compareTags(a: Tags, b: Tags): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    for (const element of [0, 1] as const) {
      const left = a[i]![element]
      const right = b[i]![element]
      if (left !== right) return left < right ? -1 : 1
    }
  }
  return a.length - b.length
}
