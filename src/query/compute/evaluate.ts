import type { Aggregation } from '../plan/aggregation.ts'
import type { Plan } from '../plan/plan.ts'
import type { GroupKey } from '../plan/series-index.ts'
import { CellSummary, type Cells, RangeSummary } from './cells.ts'
import type { DistinctCounts } from './distinct.ts'
import { type ResultGroup, UNAVAILABLE } from './result.ts'

export interface Evaluation {
  readonly plan: Plan
  /** Width of the finest stored bucket. A rate is computed over at least this time. */
  readonly baseMs: number
  readonly nowMs: number
  readonly computed: readonly Aggregation[]
  readonly groups: readonly GroupKey[]
  /** Numbers of distinct members; undefined unless the metric is a set. */
  readonly distinct: DistinctCounts | undefined
  /** Whether aggregations over the whole range (totals) are needed. */
  readonly totals: boolean
}

/** Computes the aggregations of each group from its accumulators. */
export function evaluate(evaluation: Evaluation, cells: Cells): ReadonlyMap<number, ResultGroup> {
  return new Map(cells.groups.map((group, slot) => [group, evaluateGroup(evaluation, cells, group, slot)]))
}

/** The result of a group without data. */
export function emptyGroup({ groups, computed, plan }: Evaluation, group: number): ResultGroup {
  const buckets = plan.edges.length - 1
  const nothing = new Float64Array(buckets).fill(Number.NaN)
  return {
    ...groups[group]!,
    present: presenceOf(plan),
    values: new Map(computed.map(({ name }) => [name, nothing])),
    totals: new Map(),
  }
}

/** The column `present` of a group without data. */
function presenceOf({ unavailable }: Plan): Uint8Array {
  return unavailable.map((isUnavailable) => isUnavailable * UNAVAILABLE)
}

function evaluateGroup(evaluation: Evaluation, cells: Cells, group: number, slot: number): ResultGroup {
  const { computed } = evaluation
  const at = slot * cells.buckets
  const seconds = bucketSeconds(evaluation)
  const present = presenceOf(evaluation.plan)
  for (let i = 0; i < cells.buckets; i++) if (cells.count[at + i]! > 0) present[i] = 1
  const values = new Map<string, Float64Array>()
  for (const aggregation of computed) {
    const column = new Float64Array(cells.buckets).fill(Number.NaN)
    for (let i = 0; i < cells.buckets; i++) {
      if (present[i] !== 1) continue
      column[i] = aggregation.compute(new CellSummary(cells, at + i, seconds[i]!, evaluation.distinct?.cells))
    }
    values.set(aggregation.name, column)
  }
  const totals = evaluation.totals ? totalsOf(evaluation, cells, slot) : new Map<string, number>()
  return { ...evaluation.groups[group]!, present, values, totals }
}

function bucketSeconds(evaluation: Evaluation): Float64Array {
  const { edges } = evaluation.plan
  return Float64Array.from({ length: edges.length - 1 }, (_, i) => secondsOf(evaluation, edges[i]!, edges[i + 1]!))
}

/**
 * The seconds of a bucket that lie within the range and before now, at least one base bucket. A bucket that starts
 * after now is not cut at now.
 */
export function secondsOf(
  { plan, nowMs, baseMs }: Pick<Evaluation, 'plan' | 'nowMs' | 'baseMs'>,
  startMs: number,
  endMs: number,
): number {
  const fromMs = Math.max(startMs, plan.fromMs)
  const toMs = Math.min(endMs, plan.toMs)
  const untilMs = fromMs > nowMs ? toMs : Math.min(toMs, nowMs)
  return Math.max(untilMs - fromMs, baseMs) / 1_000
}

function totalsOf(evaluation: Evaluation, cells: Cells, slot: number): ReadonlyMap<string, number> {
  const { computed, distinct, plan } = evaluation
  // Totals without the unavailable buckets would be wrong, so they are NaN.
  if (plan.unavailableCount > 0) return new Map(computed.map(({ name }) => [name, Number.NaN]))
  const seconds = secondsOf(evaluation, plan.fromMs, plan.toMs)
  const members = distinct?.totals[slot]
  const range = new RangeSummary(cells, slot, seconds, members)
  const hasPoints = range.count > 0 || members !== undefined
  return new Map(computed.map((aggregation) => [aggregation.name, hasPoints ? aggregation.compute(range) : Number.NaN]))
}

type Tags = readonly (readonly [string, string])[]

/** Compares tags pair by pair: by key, then by value, in order of code units. */
export function compareTags(a: Tags, b: Tags): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    for (const part of [0, 1] as const) {
      const left = a[i]![part]
      const right = b[i]![part]
      if (left !== right) return left < right ? -1 : 1
    }
  }
  return a.length - b.length
}
