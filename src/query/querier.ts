import { rollupKindOf } from '../model/metric.ts'
import { CACHED_SERIES_MAX } from '../model/series.ts'
import { type Pace, runPaced } from '../model/steps.ts'
import { loadOffsetChanges } from '../model/zone-offsets.ts'
import type { MetricRow } from '../store/catalog.ts'
import type { Store } from '../store/store.ts'
import { requiredAccumulatorsOf } from './aggregations.ts'
import { chargeRollups } from './charge-rollups.ts'
import { accumulate, type PeriodSources } from './compute/accumulate.ts'
import { type Comparison, loadComparedOffsets, planComparison } from './compute/compare.ts'
import { evaluate } from './compute/evaluate.ts'
import { selectTopGroups } from './compute/rank.ts'
import { groupKey, type QueryResult, type ResultGroup } from './compute/result.ts'
import { createResultCells } from './compute/result-cells.ts'
import { type EvaluatedPeriod, isGrouped, withGroupsOfBoth } from './compute/result-groups.ts'
import { findValuesBefore } from './compute/value-before.ts'
import { edgeDivisorOf, type PlannedPeriod, planPeriod, stretchRead } from './plan/period.ts'
import { type Plan, planGivenBuckets, planRange, retentionSettingOf, undefinedIfTooFine } from './plan/plan.ts'
import { prepareQuery } from './plan/prepare.ts'
import type { QueryInput, QueryRequest } from './plan/request.ts'
import { type Grouping, SeriesCache, type SeriesIdRange, type SeriesList } from './plan/series-cache.ts'
import { queryResult } from './query-result.ts'
import { QuerySlots } from './query-slots.ts'
import { missingBlocksError } from './read/lost-blocks.ts'
import { type MergeSource, type OpenedBlocks, SourceReader } from './read/source-reader.ts'
import { type QueryOutputs, QuerySession, SharedExecution } from './session.ts'
import { type PlannedRequest, suggestInterval } from './suggest-interval.ts'
import { type TagValueCount, tagValuesOf } from './tag-values.ts'

export interface QuerierSettings {
  /** Widths of the stored buckets of all types but sets, finest first. */
  readonly resolutionsMs: readonly number[]
  /** Widths of the stored buckets of sets, finest first. */
  readonly setResolutionsMs: readonly number[]
  /** Maximum number of values in the result of a query: groups × buckets × aggregations × periods. */
  readonly valuesMax: number
  /** Maximum number of rollups that the queries of one request read from timelines together. */
  readonly rollupsMax: number
  readonly blockCacheBytesMax: number
}

/** Maximum number of attempts to run a query. It runs again if blocks of its index snapshot are gone. */
const ATTEMPTS_MAX = 4

/**
 * Runs queries: validates the input, reads the index, plans, charges the budget, reads blocks, merges their columns and
 * computes aggregations. Apart from the rounding of sums, exact values (`QueryMeta.isExact`) do not depend on what has
 * been folded or cached.
 */
export class Querier {
  readonly #store: Store
  readonly #settings: QuerierSettings
  readonly #now: () => number
  readonly #sourceReader: SourceReader
  readonly #seriesCache: SeriesCache
  readonly #slots = new QuerySlots()

  constructor(store: Store, settings: QuerierSettings, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#now = now
    this.#sourceReader = new SourceReader(store, settings.blockCacheBytesMax)
    this.#seriesCache = new SeriesCache(store, CACHED_SERIES_MAX)
  }

  /** Memory of cached blocks and digests in bytes. */
  get cacheBytes(): number {
    return this.#sourceReader.cacheBytes
  }

  /**
   * Drops all cached series. Must be called after the store lost writes: the order of the series may then be another.
   */
  dropCachedSeries(): void {
    this.#seriesCache.clear()
  }

  async tagValues(metric: MetricRow, tagKey: string, max: number): Promise<readonly TagValueCount[]> {
    return tagValuesOf(await this.#seriesCache.sync(metric), tagKey, max)
  }

  /** Creates a session for the queries of one request. */
  openSession(): QuerySession {
    return new QuerySession(this.#settings.rollupsMax, this.#now)
  }

  async query(metric: MetricRow, input: QueryInput, session = this.openSession()): Promise<QueryResult> {
    const request = prepareQuery(input, metric.type, session.nowMs)
    const { aggregations, computedAggregations, fill } = request
    const outputs = {
      aggregations: computedAggregations,
      withTotals: input.totals ?? true,
      withValuesBefore: fill === 'previous',
    }
    const result = await session.executeShared(metric, request.executionKey, outputs, (execution) =>
      this.#execute(metric, request, session, execution),
    )
    return { ...result, aggregations, fill }
  }

  /**
   * Plans the query, waits for a slot, opens and merges its blocks and builds the result. Rejects with the reason if
   * the session is aborted.
   */
  async #execute(
    metric: MetricRow,
    request: QueryRequest,
    session: QuerySession,
    execution: SharedExecution,
  ): Promise<QueryResult> {
    const startedMs = performance.now()
    const planned = await this.#planQuery(metric, request, session, execution)
    const merged = await this.#slots.run(execution.chargedRollups, metric.project, session.signal, () =>
      this.#mergeWithRetry(metric, request, planned, session, execution),
    )
    const { selection, evaluatedPeriods } = merged
    const cost = execution.closeOutputs().withValuesBefore
      ? await this.#addValuesBefore(metric, request, evaluatedPeriods, selection.grouping.groups.length, session)
      : 0
    return queryResult({
      ...merged,
      metric,
      request,
      resolutionsMs: this.#resolutionsOf(metric),
      cost: execution.chargedRollups + cost,
      durationMs: performance.now() - startedMs,
    })
  }

  /** Selects the series, plans the periods and charges the rollups that they read. */
  async #planQuery(
    metric: MetricRow,
    request: QueryRequest,
    session: QuerySession,
    execution: SharedExecution,
  ): Promise<PlannedQuery> {
    const selection = await this.#selectSeries(metric, request, session.createPace())
    const { idRange } = selection.grouping
    const { current, comparison, earlier } = await this.#planPeriods(metric, request, idRange, session, execution)
    const plannedRequest = {
      ...request,
      periods: earlier === undefined ? [current] : [current, earlier],
      idRange,
      retentionSetting: retentionSettingOf(metric),
      bucketsMax: this.#bucketsMax(request, execution),
      rollupsMax: session.rollupsLeft + execution.chargedRollups,
    }
    chargeRollups(plannedRequest, session, execution)
    return { plannedRequest, selection, comparison }
  }

  /**
   * Opens and merges the blocks of a planned query. If the store no longer has a block, plans again: usually a fold or
   * merge replaced it before it was read. The next attempt reads only the blocks that are not in memory yet.
   */
  async #mergeWithRetry(
    metric: MetricRow,
    request: QueryRequest,
    firstPlan: PlannedQuery,
    session: QuerySession,
    execution: SharedExecution,
  ): Promise<MergedQuery> {
    let planned = firstPlan
    for (let attempt = 1; ; attempt++) {
      const merged = await this.#merge(metric, planned, execution.closeOutputs(), session)
      if (merged !== undefined) return merged
      if (attempt === ATTEMPTS_MAX) break
      planned = await this.#planQuery(metric, request, session, execution)
    }
    const stretches = planned.plannedRequest.periods.map(stretchRead)
    throw await missingBlocksError(this.#store, metric, this.#resolutionsOf(metric), stretches)
  }

  /** Opens and merges the blocks of a planned query. Returns undefined if the store no longer has one of them. */
  async #merge(
    metric: MetricRow,
    planned: PlannedQuery,
    outputs: ClosedOutputs,
    session: QuerySession,
  ): Promise<MergedQuery | undefined> {
    const { plannedRequest: request, comparison } = planned
    const { periods, top } = request
    const aggregationsToCompute = top === undefined ? outputs.aggregations : [...outputs.aggregations, top.by]
    const { needsSketches } = requiredAccumulatorsOf(aggregationsToCompute, metric.type)
    const openedPeriods = await this.#openBlocks(metric, periods, needsSketches, session)
    if (openedPeriods === undefined) return undefined
    session.signal.throwIfAborted()
    const pace = session.createPace()
    const { sources, ...selection } = await this.#addSources(metric, request, planned.selection, openedPeriods, pace)
    const periodSources = periods.map(({ lookbackReads }, i) => ({
      metric,
      list: selection.list,
      resolutionsMs: this.#resolutionsOf(metric),
      sources: sources[i]!,
      lookbackReads,
    }))
    const evaluated = await this.#evaluatePeriods(request, periodSources, selection.grouping, outputs, pace)
    return { comparison, periods, openedPeriods, sources, selection, ...evaluated }
  }

  /** Plans the range, and the earlier period if a bucket has a counterpart in it. */
  async #planPeriods(
    metric: MetricRow,
    request: QueryRequest,
    idRange: SeriesIdRange | undefined,
    session: QuerySession,
    execution: SharedExecution,
  ): Promise<PlannedPeriods> {
    const resolutionsMs = this.#resolutionsOf(metric)
    const retentionSetting = retentionSettingOf(metric)
    const { zone, fromMs, toMs } = request
    await loadOffsetChanges(zone, fromMs, toMs)
    const waitForTurn = (): Promise<void> => session.waitForTurn()
    const current = await planPeriod(this.#sourceReader, metric, {
      ...request,
      resolutionsMs,
      edgeDivisorMs: edgeDivisorOf(request.interval, zone, request, resolutionsMs),
      idRange,
      isFiltered: request.filter !== undefined,
      waitForTurn,
      makePlan: (timelines, rollupCountOf) => {
        const bucketsMax = this.#bucketsMax(request, execution)
        const mayRead = (plan: Plan): boolean => rollupCountOf(plan) <= session.rollupsLeft + execution.chargedRollups
        return planRange({ ...request, timelines, retentionSetting, bucketsMax, mayRead })
      },
    })
    if (request.compare !== undefined) await loadComparedOffsets(request.compare, request, current.plan)
    const comparison = request.compare && planComparison(request.compare, request, current.plan)
    if (comparison === undefined || comparison.edges.length === 0) return { current, comparison, earlier: undefined }
    const { interval } = current.plan
    const earlier = await planPeriod(this.#sourceReader, metric, {
      ...comparison,
      resolutionsMs,
      edgeDivisorMs:
        resolutionsMs.findLast((resolutionMs) => comparison.edges.every((edge) => edge % resolutionMs === 0)) ?? 1,
      idRange,
      isFiltered: request.filter !== undefined,
      waitForTurn,
      makePlan: (timelines) =>
        planGivenBuckets({ ...request, ...comparison, interval, timelines, retentionSetting }, comparison.edges),
    })
    return { current, comparison, earlier }
  }

  /** Merges the opened blocks of each period and computes the aggregations. Pauses between short steps. */
  async #evaluatePeriods(
    planned: PlannedRequest,
    periodSources: readonly PeriodSources[],
    allGroups: Grouping,
    { aggregations, withTotals, aggregationsMax }: ClosedOutputs,
    pace: Pace,
  ): Promise<{ readonly evaluatedPeriods: EvaluatedPeriod[]; readonly isExact: boolean }> {
    const { metric, resolutionsMs } = periodSources[0]!
    const clock = { baseResolutionMs: resolutionsMs[0]!, nowMs: planned.nowMs }
    const grouping =
      planned.top === undefined || !isGrouped(planned)
        ? allGroups
        : await selectTopGroups(
            this.#store,
            periodSources[0]!,
            planned.periods[0]!.plan,
            clock,
            allGroups,
            planned.top,
            pace,
          )
    const accumulators = requiredAccumulatorsOf(aggregations, metric.type)
    const evaluatedPeriods: EvaluatedPeriod[] = []
    let isExact = true
    for (const [i, period] of planned.periods.entries()) {
      const cells = createResultCells(
        planned,
        period,
        grouping,
        accumulators,
        aggregationsMax,
        this.#settings.valuesMax,
        (bucketsMax) => suggestInterval({ ...planned, bucketsMax }),
      )
      const mergeInput = { plan: period.plan, groupOfSeries: grouping.groupOfSeries, accumulators }
      const distinctCounts = await accumulate(this.#store, periodSources[i]!, mergeInput, cells, withTotals, pace)
      if (cells.isInexact) isExact = false
      const { groups } = grouping
      const evaluation = { plan: period.plan, ...clock, aggregations, groups, distinctCounts, withTotals }
      evaluatedPeriods.push({ evaluation, groups: await runPaced(evaluate(evaluation, cells), pace) })
    }
    return { evaluatedPeriods: withGroupsOfBoth(evaluatedPeriods), isExact }
  }

  #resolutionsOf({ type }: MetricRow): readonly number[] {
    return rollupKindOf(type) === 'set' ? this.#settings.setResolutionsMs : this.#settings.resolutionsMs
  }

  async #selectSeries(metric: MetricRow, request: QueryRequest, pace: Pace): Promise<SeriesSelection> {
    const list = await this.#seriesCache.sync(metric)
    return { list, grouping: await runPaced(list.groupingFor(request.selectionKey, request), pace) }
  }

  /** Adds the last values before each period. Returns the number of rollups that were charged to find the values. */
  async #addValuesBefore(
    metric: MetricRow,
    request: QueryRequest,
    evaluatedPeriods: EvaluatedPeriod[],
    groupsMax: number,
    session: QuerySession,
  ): Promise<number> {
    let cost = 0
    for (const [i, { evaluation, groups }] of evaluatedPeriods.entries()) {
      const periodRequest = { ...request, ...evaluation.plan }
      const withValues = await this.#addValuesBeforePeriod(metric, periodRequest, groups, groupsMax, session)
      evaluatedPeriods[i] = { evaluation, groups: withValues.groups }
      cost += withValues.cost
    }
    return cost
  }

  /**
   * Adds the last values before a period to its groups that are empty in the first bucket, but not to the remainder.
   * `cost` is the number of rollups that were charged to find the values.
   */
  async #addValuesBeforePeriod(
    metric: MetricRow,
    request: QueryRequest & Pick<Plan, 'interval'>,
    groups: ReadonlyMap<number, ResultGroup>,
    groupsMax: number,
    session: QuerySession,
  ): Promise<{ readonly groups: ReadonlyMap<number, ResultGroup>; readonly cost: number }> {
    const { computedAggregations, fromMs, interval, zone } = request
    const groupsEmptyAtStart = [...groups.values()].filter(
      ({ bucketStates, isRemainder }) => bucketStates[0] === 0 && isRemainder !== true,
    )
    const bucketsMax = Math.floor(this.#settings.valuesMax / Math.max(1, computedAggregations.length * groupsMax))
    let cost = 0
    const valuesBeforeByKey = await findValuesBefore({
      fromMs,
      interval,
      zone,
      groupKeys: groupsEmptyAtStart.map(groupKey),
      aggregationNames: computedAggregations.map(({ name }) => name),
      bucketsMax,
      query: async (stretch) => {
        const stretchRequest = { ...request, ...stretch, compare: undefined, top: undefined, bucketsMax }
        const outputs: QueryOutputs = { aggregations: computedAggregations, withTotals: false, withValuesBefore: false }
        const execution = new SharedExecution(outputs, (ownExecution) =>
          this.#execute(metric, stretchRequest, session, ownExecution),
        )
        const result = await execution.result.catch(undefinedIfTooFine)
        cost += execution.chargedRollups
        return result
      },
    })
    const entries = [...groups].map(([index, group]): [number, ResultGroup] => {
      const valuesBefore = valuesBeforeByKey.get(groupKey(group))
      return [index, valuesBefore === undefined ? group : { ...group, valuesBefore }]
    })
    return { groups: new Map(entries), cost }
  }

  /**
   * Returns the maximum number of buckets in one period of the result: what `valuesMax` allows for one group, or less
   * if the request says so. Closes the outputs of the execution, because the limit depends on `aggregationsMax`.
   */
  #bucketsMax({ compare, bucketsMax = Number.POSITIVE_INFINITY }: QueryRequest, execution: SharedExecution): number {
    const periods = compare === undefined ? 1 : 2
    return Math.min(
      bucketsMax,
      Math.floor(this.#settings.valuesMax / (periods * execution.closeOutputs().aggregationsMax)),
    )
  }

  /** Opens the blocks of each period. Returns undefined if the store no longer has one of them. */
  async #openBlocks(
    metric: MetricRow,
    periods: readonly PlannedPeriod[],
    withSketches: boolean,
    session: QuerySession,
  ): Promise<readonly OpenedBlocks[] | undefined> {
    const kind = rollupKindOf(metric.type)
    const openedPeriods: OpenedBlocks[] = []
    for (const period of periods) {
      const blocks = await this.#sourceReader.open(metric, kind, period, withSketches, session)
      if (blocks === undefined) return undefined
      openedPeriods.push(blocks)
    }
    return openedPeriods
  }

  /**
   * Returns the opened blocks as sources. If the cached list lacks one of their series, fetches series and selects
   * again, at most three times.
   */
  async #addSources(
    metric: MetricRow,
    request: QueryRequest,
    firstSelection: SeriesSelection,
    openedPeriods: readonly OpenedBlocks[],
    pace: Pace,
  ): Promise<SelectionWithSources> {
    let selection = firstSelection
    for (let attemptsLeft = 3; attemptsLeft >= 0; attemptsLeft--) {
      const sources = await this.#sourceReader.sourcesOf(openedPeriods, selection.list, pace)
      if (sources !== undefined) return { ...selection, sources }
      // Either a series was registered after the selection, or the store lost writes and has another order of series.
      // In the second case all series must be fetched again.
      if (attemptsLeft === 1) this.#seriesCache.drop(metric)
      if (attemptsLeft > 0) selection = await this.#selectSeries(metric, request, pace)
    }
    throw new Error(`a block of metric ${metric.name} has a series that is missing in the catalog`)
  }
}

/** The series of a metric, and their grouping by the query. */
interface SeriesSelection {
  readonly list: SeriesList
  readonly grouping: Grouping
}

interface SelectionWithSources extends SeriesSelection {
  /** For each period its opened blocks. */
  readonly sources: readonly (readonly MergeSource[])[]
}

interface PlannedPeriods {
  /** The period that the query asks for. */
  readonly current: PlannedPeriod
  readonly comparison: Comparison | undefined
  /** The period to compare with. Undefined if the query has no comparison, or if no bucket has a counterpart. */
  readonly earlier: PlannedPeriod | undefined
}

interface PlannedQuery {
  readonly plannedRequest: PlannedRequest
  readonly selection: SeriesSelection
  readonly comparison: Comparison | undefined
}

/** A query whose aggregations have been computed. Lists by period have the period of the query first. */
interface MergedQuery {
  readonly selection: SeriesSelection
  readonly comparison: Comparison | undefined
  readonly periods: readonly PlannedPeriod[]
  readonly openedPeriods: readonly OpenedBlocks[]
  readonly sources: readonly (readonly MergeSource[])[]
  readonly evaluatedPeriods: EvaluatedPeriod[]
  readonly isExact: boolean
}

type ClosedOutputs = ReturnType<SharedExecution['closeOutputs']>
