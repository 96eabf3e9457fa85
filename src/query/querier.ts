import { GatewayError } from '../model/errors.ts'
import { formatInterval } from '../model/interval.ts'
import { type RollupKind, rollupKindOf } from '../model/metric.ts'
import type { MetricRow, Store } from '../store/store.ts'
import type { AnswerGroup, QueryAnswer } from './answer.ts'
import { Cells, type Needs, needsOf } from './cells.ts'
import { countDistinct, type DistinctCounts } from './distinct.ts'
import { evaluate } from './evaluate.ts'
import { NO_LIMITS, upperLimitsOf } from './limit-counts.ts'
import { type Merge, mergeEnds, mergeSums, mergeTotals, type Source } from './merge.ts'
import { fittingStep, type IdRange, idRange, lookUp, type Period, rollupsOf } from './period.ts'
import { finestKept, fittingInterval, plan } from './plan.ts'
import { prepareQuery, type RequestLimits } from './prepare.ts'
import type { QueryInput, QueryRequest } from './request.ts'
import { type Grouping, groupSeries, SeriesIndex, type SeriesList } from './series-index.ts'
import { QuerySession, type Run } from './session.ts'
import { type Opened, SourceReader } from './source-reader.ts'
import { type TagValue, tagValuesOf } from './tag-values.ts'

export interface QuerierSettings extends RequestLimits {
  /** Steps of the stored buckets, finest first. */
  readonly stepsMs: readonly number[]
  readonly setStepsMs: readonly number[]
  /** Numbers one query may answer: groups × buckets × aggregations. */
  readonly valuesMax: number
  /** Stored rollups the queries of one request may read. */
  readonly rollupsMax: number
  readonly blockCacheBytesMax: number
  /** Series held in memory for filtering and grouping. */
  readonly seriesHeldMax: number
}

/** Answers queries: request → plan → index snapshot → blocks → merge → answer. */
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
    this.#series = new SeriesIndex(store, settings.seriesHeldMax)
  }

  /** Decoded blocks held. */
  get cacheBytes(): number {
    return this.#sources.cacheBytes
  }

  /** The store has gone back in time: series are learnt again. */
  forgetSeries(): void {
    this.#series.clear()
  }

  async tagValues(metric: MetricRow, key: string, max: number): Promise<readonly TagValue[]> {
    return tagValuesOf(await this.#series.sync(metric), key, max)
  }

  /** What the queries of one request share. */
  openSession(): QuerySession {
    return new QuerySession(this.#settings.rollupsMax, this.#now)
  }

  async query(metric: MetricRow, input: QueryInput, session = this.openSession()): Promise<QueryAnswer> {
    const request = prepareQuery(input, metric.type, session.nowMs, this.#settings)
    const { aggregations, computed, fill } = request
    const wants = { computed, totals: input.totals ?? true }
    const answer = await session.ask(metric, request.question, wants, (run) => this.#run(metric, request, session, run))
    return { ...answer, aggregations, fill }
  }

  async #run(metric: MetricRow, request: QueryRequest, session: QuerySession, run: Run): Promise<QueryAnswer> {
    const answer = await this.#attempt(metric, request, session, run)
    if (answer !== undefined) return answer
    // A block went away between snapshot and read: the query took longer than replaced blocks are kept, or a fold was quick.
    const again = await this.#attempt(metric, request, session, run)
    if (again !== undefined) return again
    throw new GatewayError('store_unavailable', 'stored blocks were replaced faster than they could be read; try again')
  }

  /** Undefined: a block of the snapshot is gone. */
  async #attempt(
    metric: MetricRow,
    request: QueryRequest,
    session: QuerySession,
    run: Run,
  ): Promise<QueryAnswer | undefined> {
    const startedMs = performance.now()
    const kind = rollupKindOf(metric.type)
    const stepsMs = kind === 'set' ? this.#settings.setStepsMs : this.#settings.stepsMs
    const list = await this.#series.sync(metric)
    const grouping = groupSeries(list, request)
    const wanted = idRange(list, grouping)
    let bucketsMax = 0
    const period = await lookUp(
      this.#store,
      metric,
      request,
      stepsMs,
      () => wanted,
      (timelines) => {
        bucketsMax = Math.floor(this.#settings.valuesMax / run.close().aggregationsMax)
        return plan({ ...request, timelines, bucketsMax })
      },
    )
    this.#charge([period], { ...request, bucketsMax }, wanted, session, run)
    const wants = run.close()
    const needs = needsOf(wants.computed, metric.type)
    const opened = await this.#sources.open(metric, kind, period, needs.sketches, session.blocks)
    if (opened === undefined) return undefined
    const known = await this.#placed(metric, request, { list, grouping }, opened)
    const merged = await this.#merge(metric, kind, period, known, wants, request)
    opened.settle()
    const groups = evaluate(
      {
        plan: period.plan,
        baseMs: stepsMs[0]!,
        nowMs: request.nowMs,
        computed: wants.computed,
        needs,
        groups: known.grouping.groups,
        distinct: merged.distinct,
      },
      merged.cells,
    )
    return {
      metric,
      fromMs: period.plan.fromMs,
      toMs: period.plan.toMs,
      interval: formatInterval(period.plan.interval),
      timezone: request.zone.name,
      fill: request.fill,
      aggregations: request.aggregations,
      startMs: period.plan.edges.subarray(0, -1),
      endMs: period.plan.edges.subarray(1),
      groups: isGrouped(request) ? groups.filter(hasData) : groups,
      meta: {
        resolutionsMs: [...new Set(period.plan.reads.map(({ level }) => level))]
          .sort((a, b) => a - b)
          .map((level) => stepsMs[level]!),
        rollupsRead: known.sources.reduce((sum, { section }) => sum + section.length, 0),
        blocksRead: opened.blocks,
        cacheHits: opened.hits,
        cost: run.rollups,
        durationMs: performance.now() - startedMs,
        nowMs: request.nowMs,
      },
    }
  }

  /** Refuses to read more rollups than the request has left, naming the coarser step that would do. */
  #charge(
    periods: readonly Period[],
    request: QueryRequest & { readonly bucketsMax: number },
    wanted: IdRange | undefined,
    session: QuerySession,
    run: Run,
  ): void {
    const rollups = periods.reduce((sum, { listed }) => sum + rollupsOf(listed), 0)
    const left = session.rollupsLeft + run.rollups
    if (rollups <= left) {
      run.charge(session, rollups)
      return
    }
    const fits = fittingStep(periods, request, wanted, left)
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

  /** The opened rows with the positions of their series, all of which the list knows. */
  async #placed(metric: MetricRow, request: QueryRequest, looked: Looked, opened: Opened): Promise<Placed> {
    let { list, grouping } = looked
    let sources = this.#sources.sourcesOf(opened, list)
    for (const isLearntAnew of [false, true]) {
      if (sources !== undefined) return { list, grouping, sources }
      // A series that was registered after we looked; or one whose place another has taken: the store has gone back in time and was
      // given its series again in another order.
      if (isLearntAnew) this.#series.drop(metric)
      list = await this.#series.sync(metric)
      grouping = groupSeries(list, request)
      sources = this.#sources.sourcesOf(opened, list)
    }
    if (sources !== undefined) return { list, grouping, sources }
    throw new Error(`a block of metric ${metric.name} holds a series that the catalog does not know`)
  }

  async #merge(
    metric: MetricRow,
    kind: RollupKind,
    period: Period,
    { list, grouping, sources }: Placed,
    wants: ReturnType<Run['close']>,
    request: QueryRequest,
  ): Promise<{ readonly cells: Cells; readonly distinct: DistinctCounts | undefined }> {
    const needs = needsOf(wants.computed, metric.type)
    const stepsMs = kind === 'set' ? this.#settings.setStepsMs : this.#settings.stepsMs
    const limits = needs.limits ? upperLimitsOf(list.rows) : NO_LIMITS
    const merge: Merge = { plan: period.plan, stepsMs, sources, groupOf: grouping.groupOf, limits, needs }
    const cells = this.#cells(period, grouping, needs, wants.aggregationsMax)
    // Without grouping there is one group, data or not.
    if (!isGrouped(request)) cells.cellOf(0)
    if (kind === 'set')
      return { cells, distinct: await countDistinct(this.#store, metric, list, merge, cells, wants.totals) }
    mergeSums(merge, cells)
    if (kind === 'gauge' && needs.ends) mergeEnds(merge, cells)
    if (kind === 'counter' && sources.some(({ section }) => section.hasTotals))
      mergeTotals(merge, period.lookback, cells)
    return { cells, distinct: undefined }
  }

  #cells({ plan: planned, timelines }: Period, { groups }: Grouping, needs: Needs, aggregations: number): Cells {
    const { valuesMax } = this.#settings
    const buckets = planned.edges.length - 1
    const tooMany = (): GatewayError => {
      const bucketsMax = Math.floor(valuesMax / (groups.length * aggregations))
      const details = { valuesMax, groups: groups.length, buckets }
      const message = `${groups.length} groups of ${buckets} buckets exceed ${valuesMax} answered values`
      // A range may touch two buckets of any interval.
      if (bucketsMax < 2) return new GatewayError('query_too_large', message, { details })
      const fits = fittingInterval(planned, bucketsMax, finestKept(planned, timelines))
      return new GatewayError('query_too_large', `${message}; an interval of ${fits} would fit`, {
        details: { ...details, fits },
      })
    }
    return new Cells({ groups: groups.length, buckets, cellsMax: Math.floor(valuesMax / aggregations), tooMany }, needs)
  }
}

interface Looked {
  readonly list: SeriesList
  readonly grouping: Grouping
}

interface Placed extends Looked {
  readonly sources: readonly Source[]
}

function isGrouped({ groupBy, bySeries }: QueryRequest): boolean {
  return groupBy.length > 0 || bySeries
}

function hasData({ present }: AnswerGroup): boolean {
  return present.includes(1)
}
