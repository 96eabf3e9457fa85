import { GatewayError } from '../model/errors.ts'
import { formatInterval } from '../model/interval.ts'
import { rollupKindOf } from '../model/metric.ts'
import { SERIES_CACHED_MAX } from '../model/series.ts'
import { nearestInstant } from '../model/time.ts'
import { loadChanges } from '../model/zone-offsets.ts'
import type { MetricRow, Store } from '../store/store.ts'
import { accumulate, type Reading } from './compute/accumulate.ts'
import { Cells } from './compute/cells.ts'
import { type Comparison, compared, compareWith } from './compute/compare.ts'
import { compareTags, type Evaluation, emptyGroup, evaluate } from './compute/evaluate.ts'
import { topGroups } from './compute/rank.ts'
import { groupKey, type QueryResult, type ResultGroup } from './compute/result.ts'
import { valuesBefore } from './compute/value-before.ts'
import { type Needs, needsOf } from './plan/aggregation.ts'
import { fittingStep, gridOf, type Period, planPeriod, rollupsOf } from './plan/period.ts'
import { finestKept, fittingInterval, type Plan, plan, planEdges, type RetentionSetting } from './plan/plan.ts'
import { prepareQuery } from './plan/prepare.ts'
import type { QueryInput, QueryRequest } from './plan/request.ts'
import { type Grouping, type IdRange, SeriesIndex, type SeriesList } from './plan/series-index.ts'
import { hasLostBlocks } from './read/lost-blocks.ts'
import { type Opened, type Source, SourceReader } from './read/source-reader.ts'
import { QuerySession, Run, type RunOutputs } from './session.ts'
import { type TagValue, tagValuesOf } from './tag-values.ts'

export interface QuerierSettings {
  /** Widths of the stored buckets of all types but sets, finest first. */
  readonly stepsMs: readonly number[]
  /** Widths of the stored buckets of sets, finest first. */
  readonly stepsMsOfSets: readonly number[]
  /** Maximum number of values in the result of a query: groups × buckets × aggregations. */
  readonly valuesMax: number
  /** Maximum number of stored rollups that the queries of one request read together. */
  readonly rollupsMax: number
  readonly blockCacheBytesMax: number
}

/**
 * Runs queries: validates the input, reads an index snapshot, plans, charges the budget, reads blocks, merges their
 * columns and computes aggregations. The result is the same whether data has been folded or cached, or not.
 */
export class Querier {
  readonly #store: Store
  readonly #settings: QuerierSettings
  readonly #now: () => number
  readonly #sources: SourceReader
  readonly #series: SeriesIndex

  constructor(store: Store, settings: QuerierSettings, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#now = now
    this.#sources = new SourceReader(store, settings.blockCacheBytesMax)
    this.#series = new SeriesIndex(store, SERIES_CACHED_MAX)
  }

  /** Bytes of cached blocks. */
  get cacheBytes(): number {
    return this.#sources.cacheBytes
  }

  /** Drops cached series. Call it after the store lost writes: it may then assign other ordinals to series. */
  resetSeries(): void {
    this.#series.clear()
  }

  async tagValues(metric: MetricRow, key: string, max: number): Promise<readonly TagValue[]> {
    return tagValuesOf(await this.#series.sync(metric), key, max)
  }

  /** Creates a session for the queries of one request. */
  openSession(): QuerySession {
    return new QuerySession(this.#settings.rollupsMax, this.#now)
  }

  async query(metric: MetricRow, input: QueryInput, session = this.openSession()): Promise<QueryResult> {
    const request = prepareQuery(input, metric.type, session.nowMs)
    const { aggregations, computed, fill } = request
    const outputs = { computed, totals: input.totals ?? true, before: fill === 'previous' }
    const result = await session.run(metric, request.runKey, outputs, (run) => this.#run(metric, request, session, run))
    return { ...result, aggregations, fill }
  }

  async #run(metric: MetricRow, request: QueryRequest, session: QuerySession, run: Run): Promise<QueryResult> {
    const result = await this.#runOnce(metric, request, session, run)
    if (result !== undefined) return result
    // A block of the snapshot was removed before it was read, because of a slow query or a fast fold.
    const retried = await this.#runOnce(metric, request, session, run)
    if (retried !== undefined) return retried
    const { fromMs, toMs } = request
    if (await hasLostBlocks(this.#store, metric, this.#stepsOf(metric), { fromMs, toMs })) {
      const reason = await this.#store.explainMissingBlocks()
      throw new GatewayError('store_unavailable', `stored data of this range is lost: ${reason}`, {
        details: { outcome: 'lost' },
      })
    }
    throw new GatewayError('store_unavailable', 'stored blocks were replaced faster than they could be read; try again')
  }

  /** Runs the query once. Returns undefined if the store no longer has a block of the index snapshot. */
  async #runOnce(
    metric: MetricRow,
    request: QueryRequest,
    session: QuerySession,
    run: Run,
  ): Promise<QueryResult | undefined> {
    const startedMs = performance.now()
    const stepsMs = this.#stepsOf(metric)
    const selected = await this.#select(metric, request)
    const { current, comparison, earlier } = await this.#plan(metric, request, selected.grouping.ids, session, run)
    const periods = earlier === undefined ? [current] : [current, earlier]
    this.#charge(metric, periods, request, selected.grouping.ids, session, run)
    const outputs = run.close()
    const computed = request.top === undefined ? outputs.computed : [...outputs.computed, request.top.by]
    const opened = await this.#open(metric, periods, needsOf(computed, metric.type).sketches, session)
    if (opened === undefined) return undefined
    const { list, grouping, sources } = await this.#withSources(metric, request, selected, opened)
    const readings = periods.map(({ lookback }, i) => ({ metric, list, stepsMs, sources: sources[i]!, lookback }))
    const clock = { baseMs: stepsMs[0]!, nowMs: request.nowMs }
    const shown =
      request.top === undefined
        ? grouping
        : await topGroups(this.#store, readings[0]!, current.plan, clock, grouping, request.top)
    const { evaluated, isExact } = await this.#evaluate(request, periods, readings, shown, clock, outputs)
    let cost = run.rollups
    if (outputs.before) {
      for (const [i, { evaluation, groups }] of evaluated.entries()) {
        const ranged = { ...request, ...evaluation.plan }
        const extended = await this.#addBefore(metric, ranged, groups, grouping.groups.length, session)
        evaluated[i] = { evaluation, groups: extended.groups }
        cost += extended.cost
      }
    }
    const edges = current.plan.edges.map(nearestInstant)
    return {
      metric,
      fromMs: nearestInstant(current.plan.fromMs),
      toMs: nearestInstant(current.plan.toMs),
      interval: formatInterval(current.plan.interval),
      timezone: request.zone.name,
      fill: request.fill,
      aggregations: request.aggregations,
      startMs: edges.subarray(0, -1),
      endMs: edges.subarray(1),
      groups: resultGroups(request, evaluated[0]!, evaluated[1], comparison),
      comparison: comparison?.times,
      meta: {
        resolutionsMs: [...new Set(periods.flatMap((period) => period.plan.reads.map(({ level }) => level)))]
          .sort((a, b) => a - b)
          .map((level) => stepsMs[level]!),
        rollupsRead: sum(sources.flat().map(({ section }) => section.length)),
        blocksRead: sum(opened.map(({ blocks }) => blocks)),
        cacheHits: sum(opened.map(({ hits }) => hits)),
        isExact,
        bucketsUnavailable: unavailableIn(current.plan, earlier?.plan, comparison),
        cost,
        durationMs: performance.now() - startedMs,
        nowMs: request.nowMs,
      },
    }
  }

  /** Plans the range, and the earlier period if the query has a comparison. */
  async #plan(
    metric: MetricRow,
    request: QueryRequest,
    idRange: IdRange | undefined,
    session: QuerySession,
    run: Run,
  ): Promise<PlannedPeriods> {
    const stepsMs = this.#stepsOf(metric)
    const setting = settingOf(metric)
    const { zone, fromMs, toMs } = request
    await loadChanges(zone, request.compare === undefined ? fromMs : fromMs - (toMs - fromMs), toMs)
    const pause = (): Promise<void> => session.pause()
    const current = await planPeriod(this.#sources, metric, {
      ...request,
      stepsMs,
      gridMs: gridOf(request.interval, zone, request, stepsMs),
      idRange,
      pause,
      makePlan: (timelines) => plan({ ...request, timelines, setting, bucketsMax: this.#cellsMax(request, run) }),
    })
    const comparison = request.compare && compareWith(request.compare, request, current.plan)
    if (comparison === undefined || comparison.edges.length === 0) return { current, comparison, earlier: undefined }
    const { interval } = current.plan
    const earlier = await planPeriod(this.#sources, metric, {
      ...comparison,
      stepsMs,
      gridMs: stepsMs.findLast((stepMs) => comparison.edges.every((edge) => edge % stepMs === 0)) ?? 1,
      idRange,
      pause,
      makePlan: (timelines) => planEdges({ ...request, ...comparison, interval, timelines, setting }, comparison.edges),
    })
    return { current, comparison, earlier }
  }

  /** Merges the opened blocks of each period and computes the aggregations. */
  async #evaluate(
    request: QueryRequest,
    periods: readonly Period[],
    readings: readonly Reading[],
    grouping: Grouping,
    clock: Pick<Evaluation, 'baseMs' | 'nowMs'>,
    { computed, totals, aggregationsMax }: ReturnType<Run['close']>,
  ): Promise<{ readonly evaluated: Evaluated[]; readonly isExact: boolean }> {
    const needs = needsOf(computed, readings[0]!.metric.type)
    const evaluated: Evaluated[] = []
    let isExact = true
    for (const [i, period] of periods.entries()) {
      const cells = this.#createCells(request, period, grouping, needs, aggregationsMax)
      const merge = { plan: period.plan, groupOf: grouping.groupOf, needs }
      const distinct = await accumulate(this.#store, readings[i]!, merge, cells, totals)
      if (cells.inexact) isExact = false
      const evaluation = { plan: period.plan, ...clock, computed, groups: grouping.groups, distinct, totals }
      evaluated.push({ evaluation, groups: evaluate(evaluation, cells) })
    }
    return { evaluated, isExact }
  }

  #stepsOf({ type }: MetricRow): readonly number[] {
    return rollupKindOf(type) === 'set' ? this.#settings.stepsMsOfSets : this.#settings.stepsMs
  }

  async #select(metric: MetricRow, request: QueryRequest): Promise<SeriesSelection> {
    const list = await this.#series.sync(metric)
    return { list, grouping: list.group(request.selectionKey, request) }
  }

  /** Adds to each group its last value before the range. Also returns the cost of finding the values. */
  async #addBefore(
    metric: MetricRow,
    request: QueryRequest & Pick<Plan, 'interval'>,
    groups: ReadonlyMap<number, ResultGroup>,
    groupsMax: number,
    session: QuerySession,
  ): Promise<{ readonly groups: ReadonlyMap<number, ResultGroup>; readonly cost: number }> {
    const { computed, fromMs, interval, zone } = request
    const empty = [...groups.values()].filter(({ present, isRemainder }) => present[0] === 0 && isRemainder !== true)
    const bucketsMax = Math.floor(this.#settings.valuesMax / Math.max(1, computed.length * groupsMax))
    let cost = 0
    const found = await valuesBefore({
      fromMs,
      interval,
      zone,
      groups: empty.map(groupKey),
      names: computed.map(({ name }) => name),
      bucketsMax,
      query: async (part) => {
        const partRequest = { ...request, ...part, compare: undefined, top: undefined, bucketsMax }
        const outputs: RunOutputs = { computed, totals: false, before: false }
        const run = new Run(outputs, (own) => this.#run(metric, partRequest, session, own))
        const result = await run.result.catch(undefinedIfTooFine)
        cost += run.rollups
        return result
      },
    })
    const entries = [...groups].map(([index, group]): [number, ResultGroup] => {
      const before = found.get(groupKey(group))
      return [index, before === undefined ? group : { ...group, before }]
    })
    return { groups: new Map(entries), cost }
  }

  /** Maximum number of cells (groups × buckets) in one period of the result. */
  #cellsMax({ compare, bucketsMax = Number.POSITIVE_INFINITY }: QueryRequest, run: Run): number {
    const periods = compare === undefined ? 1 : 2
    return Math.min(bucketsMax, Math.floor(this.#settings.valuesMax / (periods * run.close().aggregationsMax)))
  }

  /**
   * Charges the rollups that the query reads to the budget of the request. Throws if the budget has fewer left; the
   * error names a coarser interval that fits.
   */
  #charge(
    metric: MetricRow,
    periods: readonly Period[],
    request: QueryRequest,
    idRange: IdRange | undefined,
    session: QuerySession,
    run: Run,
  ): void {
    const rollups = sum(periods.map(({ listed }) => rollupsOf(listed)))
    const left = session.rollupsLeft + run.rollups
    if (rollups <= left) {
      run.charge(session, rollups)
      return
    }
    const bucketsMax = this.#cellsMax(request, run)
    const fits = fittingStep(periods, { ...request, setting: settingOf(metric), bucketsMax }, idRange, left)
    const advice = fits === undefined ? 'a shorter range is needed' : `an interval of ${fits} would fit`
    const { rollupsMax } = session
    const room =
      left === rollupsMax ? `at most ${rollupsMax}` : `${left} of the ${rollupsMax} of one request are left and`
    throw new GatewayError(
      'query_too_large',
      `the query would read ${rollups} stored rollups, ${room} are allowed; ${advice}`,
      { details: { rollups, rollupsMax, rollupsLeft: left, ...(fits !== undefined && { fits }) } },
    )
  }

  /** Opens the blocks of each period. Returns undefined if the store no longer has one of them. */
  async #open(
    metric: MetricRow,
    periods: readonly Period[],
    withSketches: boolean,
    session: QuerySession,
  ): Promise<readonly Opened[] | undefined> {
    const kind = rollupKindOf(metric.type)
    const opened: Opened[] = []
    for (const period of periods) {
      const blocks = await this.#sources.open(metric, kind, period, withSketches, session.blocks)
      if (blocks === undefined) return undefined
      opened.push(blocks)
    }
    return opened
  }

  /** Returns the opened blocks with the ordinals of their series. Fetches missing series. */
  async #withSources(
    metric: MetricRow,
    request: QueryRequest,
    selected: SeriesSelection,
    opened: readonly Opened[],
  ): Promise<SelectionWithSources> {
    let found = selected
    for (let attempts = 3; attempts >= 0; attempts--) {
      const sources = this.#sources.sourcesOf(opened, found.list)
      if (sources !== undefined) return { ...found, sources }
      // Either the series was registered after the selection, or the store lost writes and assigned other ordinals. In
      // the second case the list must be fetched anew.
      if (attempts === 1) this.#series.drop(metric)
      if (attempts > 0) found = await this.#select(metric, request)
    }
    throw new Error(`a block of metric ${metric.name} has a series that is missing in the catalog`)
  }

  /**
   * Creates the cells of a period. They throw `query_too_large` when they grow beyond the values allowed in a result.
   */
  #createCells(
    request: QueryRequest,
    period: Period,
    { groups }: Grouping,
    needs: Needs,
    aggregationsMax: number,
  ): Cells {
    const { valuesMax } = this.#settings
    const { plan: planned, timelines } = period
    const buckets = planned.edges.length - 1
    const aggregations = aggregationsMax * (request.compare === undefined ? 1 : 2)
    const cellsMax = Math.floor(valuesMax / aggregations)
    const cells = new Cells(groups.length, buckets, needs, (count) => {
      if (count <= cellsMax) return
      const bucketsMax = Math.floor(cellsMax / groups.length)
      // At any interval a range may overlap two buckets, so for fewer than two no interval is sure to fit.
      const fits = bucketsMax < 2 ? undefined : fittingInterval(planned, bucketsMax, finestKept(planned, timelines))
      const advice = fits === undefined ? '' : `; an interval of ${fits} would fit`
      throw new GatewayError(
        'query_too_large',
        `${groups.length} groups of ${buckets} buckets exceed ${valuesMax} result values${advice}`,
        { details: { valuesMax, groups: groups.length, buckets, ...(fits !== undefined && { fits }) } },
      )
    })
    // A query without grouping returns one group even if there is no data.
    if (!isGrouped(request) && groups.length > 0) cells.cellOf(0)
    return cells
  }
}

/**
 * Returns undefined for an error that says that the interval is not kept or gives too many buckets. Rethrows other
 * errors.
 */
function undefinedIfTooFine(error: unknown): undefined {
  const isTooFine =
    error instanceof GatewayError && (error.code === 'invalid_interval' || error.details?.['bucketsMax'] !== undefined)
  if (!isTooFine) throw error
}

function settingOf({ type }: MetricRow): RetentionSetting {
  return rollupKindOf(type) === 'set' ? 'SET_RESOLUTIONS' : 'RESOLUTIONS'
}

/** The number of buckets that are unavailable, in the range or in the earlier period. */
function unavailableIn(current: Plan, earlier: Plan | undefined, comparison: Comparison | undefined): number {
  if (earlier === undefined || comparison === undefined) return current.unavailableCount
  return comparison.bucketOf.reduce(
    (count, bucket, i) => count + (current.unavailable[i] === 1 || earlier.unavailable[bucket] === 1 ? 1 : 0),
    0,
  )
}

/** The series of the metric, and the groups of the series that match the filter. */
interface SeriesSelection {
  readonly list: SeriesList
  readonly grouping: Grouping
}

interface SelectionWithSources extends SeriesSelection {
  /** The opened blocks of each period. */
  readonly sources: readonly (readonly Source[])[]
}

interface PlannedPeriods {
  readonly current: Period
  readonly comparison: Comparison | undefined
  /** Undefined if the query has no comparison, or if no bucket has a counterpart. */
  readonly earlier: Period | undefined
}

interface Evaluated {
  readonly evaluation: Evaluation
  readonly groups: ReadonlyMap<number, ResultGroup>
}

/** The groups of the result: those with data in either period, sorted by rank or by tags. */
function resultGroups(
  request: QueryRequest,
  { evaluation, groups }: Evaluated,
  earlier: Evaluated | undefined,
  comparison: Comparison | undefined,
): readonly ResultGroup[] {
  const result: ResultGroup[] = []
  for (const index of [...new Set([...groups.keys(), ...(earlier?.groups.keys() ?? [])])].sort((a, b) => a - b)) {
    const current = groups.get(index) ?? emptyGroup(evaluation, index)
    if (comparison === undefined) result.push(current)
    else {
      const before = earlier?.groups.get(index) ?? emptyGroup(earlier?.evaluation ?? evaluation, index)
      result.push(compared(current, before, comparison))
    }
  }
  const shown = isGrouped(request) ? result.filter((group) => hasData(group) || hasData(group.comparison)) : result
  return request.top === undefined ? shown.sort((a, b) => compareTags(a.tags, b.tags)) : shown
}

function isGrouped({ groupBy, bySeries }: QueryRequest): boolean {
  return groupBy.length > 0 || bySeries
}

function hasData(group: ResultGroup | undefined): boolean {
  return group?.present.includes(1) ?? false
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
