import { QuantileSketch } from '../sketch/quantile-sketch.ts'
import type { Aggregation } from './aggregation.ts'
import type { AnswerGroup } from './answer.ts'
import type { Cells, Needs } from './cells.ts'
import type { DistinctCounts } from './distinct.ts'
import { LimitCounts } from './limit-counts.ts'
import type { Plan } from './plan.ts'
import type { GroupKey } from './series-index.ts'

export interface Evaluation {
  readonly plan: Plan
  /** Width of the finest stored bucket: the least time a rate is taken over. */
  readonly baseMs: number
  readonly nowMs: number
  readonly computed: readonly Aggregation[]
  readonly needs: Needs
  readonly groups: readonly GroupKey[]
  /** Of a set. */
  readonly distinct: DistinctCounts | undefined
}

/** Turns accumulators into the numbers asked for, by group. */
export function evaluate(evaluation: Evaluation, cells: Cells): ReadonlyMap<number, AnswerGroup> {
  return new Map(cells.groups.map((group, slot) => [group, evaluateGroup(evaluation, cells, group, slot)]))
}

/** A group without data. */
export function emptyGroup({ groups, computed, plan }: Evaluation, group: number): AnswerGroup {
  const buckets = plan.edges.length - 1
  const nothing = new Float64Array(buckets).fill(Number.NaN)
  return {
    ...groups[group]!,
    present: new Uint8Array(buckets),
    values: new Map(computed.map(({ name }) => [name, nothing])),
    totals: new Map(),
  }
}

function evaluateGroup(evaluation: Evaluation, cells: Cells, group: number, slot: number): AnswerGroup {
  const { computed } = evaluation
  const at = slot * cells.buckets
  const present = new Uint8Array(cells.buckets)
  for (let i = 0; i < cells.buckets; i++) if (cells.count[at + i]! > 0) present[i] = 1
  const values = new Map<string, Float64Array>()
  for (const aggregation of computed) {
    const column = new Float64Array(cells.buckets).fill(Number.NaN)
    for (let i = 0; i < cells.buckets; i++) {
      if (present[i] === 0) continue
      column[i] = valueAt(evaluation, aggregation, cells, at + i, i)
    }
    values.set(aggregation.name, column)
  }
  let totals: ReadonlyMap<string, number> | undefined
  return {
    ...evaluation.groups[group]!,
    present,
    values,
    // Over the whole range, merged when somebody looks: most answers are charts.
    get totals() {
      totals ??= totalsOf(evaluation, cells, slot)
      return totals
    },
  }
}

/** One number of a cell, which lies in this bucket of the plan. NaN where it does not exist. */
export function valueAt(
  evaluation: Pick<Evaluation, 'plan' | 'baseMs' | 'nowMs' | 'needs' | 'distinct'>,
  aggregation: Aggregation,
  cells: Cells,
  cell: number,
  bucket: number,
): number {
  if (evaluation.distinct !== undefined) return evaluation.distinct.cells[cell]!
  switch (aggregation.kind) {
    case 'count':
      return cells.count[cell]!
    case 'sum':
      return cells.sum[cell]!
    case 'avg':
      return cells.sum[cell]! / cells.count[cell]!
    case 'min':
      return cells.min[cell]!
    case 'max':
      return cells.max[cell]!
    case 'first':
      return cells.first[cell]!
    case 'last':
      return cells.last[cell]!
    case 'rate': {
      const { edges } = evaluation.plan
      return cells.sum[cell]! / secondsOf(evaluation, edges[bucket]!, edges[bucket + 1]!)
    }
    case 'quantile':
      if (evaluation.needs.limits) return cells.limitCounts[cell]?.quantile(aggregation.q) ?? Number.NaN
      return cells.sketches[cell]?.quantile(aggregation.q, cells.min[cell]!, cells.max[cell]!) ?? Number.NaN
  }
}

/** Length of a bucket cut by the range and by now, at least one base bucket; one that starts after now counts whole. */
function secondsOf(
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
  const at = slot * cells.buckets
  const end = at + cells.buckets
  if (distinct !== undefined) return new Map(computed.map(({ name }) => [name, distinct.totals?.[slot] ?? Number.NaN]))
  let count = 0
  let sum = 0
  for (let cell = at; cell < end; cell++) {
    count += cells.count[cell]!
    sum += cells.sum[cell]!
  }
  const min = least(cells.min, at, end)
  const max = greatest(cells.max, at, end)
  const totalOf = (aggregation: Aggregation): number => {
    if (count === 0) return Number.NaN
    switch (aggregation.kind) {
      case 'count':
        return count
      case 'sum':
        return sum
      case 'avg':
        return sum / count
      case 'min':
        return min
      case 'max':
        return max
      case 'first':
        return endOf(cells.first, at, end, 1)
      case 'last':
        return endOf(cells.last, at, end, -1)
      case 'rate':
        return sum / secondsOf(evaluation, plan.fromMs, plan.toMs)
      case 'quantile':
        if (evaluation.needs.limits) return mergedLimitCounts(cells, at, end).quantile(aggregation.q)
        return mergedSketch(cells, at, end).quantile(aggregation.q, min, max)
    }
  }
  return new Map(computed.map((aggregation) => [aggregation.name, totalOf(aggregation)]))
}

function least(column: Float64Array, from: number, to: number): number {
  let value = Number.POSITIVE_INFINITY
  for (let i = from; i < to; i++) if (column[i]! < value) value = column[i]!
  return value
}

function greatest(column: Float64Array, from: number, to: number): number {
  let value = Number.NEGATIVE_INFINITY
  for (let i = from; i < to; i++) if (column[i]! > value) value = column[i]!
  return value
}

/** The value of the first (step 1) or the last (step -1) cell that has one. */
function endOf(column: Float64Array, from: number, to: number, step: 1 | -1): number {
  for (let n = 0, i = step === 1 ? from : to - 1; n < to - from; n++, i += step) {
    if (!Number.isNaN(column[i])) return column[i]!
  }
  return Number.NaN
}

function mergedSketch(cells: Cells, from: number, to: number): QuantileSketch {
  const merged = new QuantileSketch()
  for (let cell = from; cell < to; cell++) {
    const sketch = cells.sketches[cell]
    if (sketch !== undefined) merged.merge(sketch)
  }
  return merged
}

function mergedLimitCounts(cells: Cells, from: number, to: number): LimitCounts {
  const merged = new LimitCounts()
  for (let cell = from; cell < to; cell++) {
    const counts = cells.limitCounts[cell]
    if (counts !== undefined) merged.merge(counts)
  }
  return merged
}

type Tags = readonly (readonly [string, string])[]

/** By key and value, one after another, in code units. */
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
