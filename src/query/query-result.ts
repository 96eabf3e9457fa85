import { formatInterval } from '../model/interval.ts'
import { clampToInstantRange, isInstant } from '../model/time.ts'
import type { MetricRow } from '../store/catalog.ts'
import type { Comparison } from './compute/compare.ts'
import type { QueryMeta, QueryResult } from './compute/result.ts'
import { countUnavailableBuckets, type EvaluatedPeriod, resultGroups } from './compute/result-groups.ts'
import type { PlannedPeriod } from './plan/period.ts'
import type { QueryRequest } from './plan/request.ts'
import type { MergeSource, OpenedBlocks } from './read/source-reader.ts'

/** A query that has been computed. Lists by period have the period of the query first, then the earlier one if any. */
export interface ComputedQuery {
  readonly metric: MetricRow
  readonly request: QueryRequest
  readonly resolutionsMs: readonly number[]
  readonly comparison: Comparison | undefined
  readonly periods: readonly PlannedPeriod[]
  readonly openedPeriods: readonly OpenedBlocks[]
  readonly sources: readonly (readonly MergeSource[])[]
  readonly evaluatedPeriods: readonly EvaluatedPeriod[]
  /** See `QueryMeta`. */
  readonly isExact: boolean
  readonly cost: number
  readonly durationMs: number
}

/** Builds the result of a query. */
export function queryResult(computed: ComputedQuery): QueryResult {
  const { metric, request, comparison, periods, evaluatedPeriods } = computed
  const { fromMs, toMs, interval, edges } = periods[0]!.plan
  const areInstants = isInstant(edges[0]!) && isInstant(edges[edges.length - 1]!)
  const clampedEdges = areInstants ? edges : edges.map(clampToInstantRange)
  return {
    metric,
    fromMs: clampToInstantRange(fromMs),
    toMs: clampToInstantRange(toMs),
    interval: formatInterval(interval),
    timezone: request.zone.name,
    fill: request.fill,
    aggregations: request.aggregations,
    startMs: clampedEdges.subarray(0, -1),
    endMs: clampedEdges.subarray(1),
    groups: resultGroups(request, evaluatedPeriods[0]!, evaluatedPeriods[1], comparison),
    comparison: comparison?.times,
    meta: metaOf(computed),
  }
}

function metaOf(computed: ComputedQuery): QueryMeta {
  const { request, resolutionsMs, comparison, periods, openedPeriods, sources, isExact, cost, durationMs } = computed
  const levels = new Set(periods.flatMap(({ plan }) => plan.reads.map(({ level }) => level)))
  return {
    resolutionsMs: [...levels].sort((a, b) => a - b).map((level) => resolutionsMs[level]!),
    rollupsRead: sum(sources.flat().map(({ section }) => section.length)),
    blocksRead: sum(openedPeriods.map(({ blockCount }) => blockCount)),
    cacheHits: sum(openedPeriods.map(({ cacheHitCount }) => cacheHitCount)),
    isExact,
    bucketsUnavailable: countUnavailableBuckets(periods[0]!.plan, periods[1]?.plan, comparison),
    cost,
    durationMs,
    nowMs: request.nowMs,
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
