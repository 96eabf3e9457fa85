import { GatewayError } from '../model/errors.ts'
import { formatInterval } from '../model/interval.ts'
import { rollupKindOf } from '../model/metric.ts'
import { nearestInstant } from '../model/time.ts'
import type { MetricRow, Store } from '../store/store.ts'
import { accumulate } from './compute/accumulate.ts'
import { Cells } from './compute/cells.ts'
import { type Comparison, compared, compareWith } from './compute/compare.ts'
import { compareTags, type Evaluation, emptyGroup, evaluate } from './compute/evaluate.ts'
import { topGroups } from './compute/rank.ts'
import { type AnswerGroup, groupKey, type QueryAnswer, withBefore } from './compute/result.ts'
import { valuesBefore } from './compute/value-before.ts'
import { type Needs, needsOf } from './plan/aggregation.ts'
import { fittingStep, gridOf, lookUp, type Period, rollupsOf } from './plan/period.ts'
import { finestKept, fittingInterval, type Plan, plan, planEdges, type RetentionSetting } from './plan/plan.ts'
import { prepareQuery, type RequestLimits } from './plan/prepare.ts'
import type { QueryInput, QueryRequest } from './plan/request.ts'
import { type Grouping, type IdRange, SeriesIndex, type SeriesList } from './plan/series-index.ts'
import { hasLostBlocks } from './read/lost-blocks.ts'
import type { Source } from './read/source-reader.ts'
import { type Opened, SourceReader } from './read/source-reader.ts'
import { QuerySession, Run } from './session.ts'
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
    const wants = { computed, totals: input.totals ?? true, before: fill === 'previous' }
    const answer = await session.ask(metric, request.question, wants, (run) => this.#run(metric, request, session, run))
    return { ...answer, aggregations, fill }
  }

  async #run(metric: MetricRow, request: QueryRequest, session: QuerySession, run: Run): Promise<QueryAnswer> {
    const answer = await this.#attempt(metric, request, session, run)
    if (answer !== undefined) return answer
    // A block went away between snapshot and read: the query took longer than replaced blocks are kept, or a fold was quick.
    const again = await this.#attempt(metric, request, session, run)
    if (again !== undefined) return again
    const { fromMs, toMs } = request
    if (await hasLostBlocks(this.#store, metric, this.#stepsOf(metric), { fromMs, toMs })) {
      const reason = await this.#store.explainLoss()
      throw new GatewayError('store_unavailable', `stored data of this range is lost: ${reason}`, {
        details: { outcome: 'lost' },
      })
    }
    throw new GatewayError('store_unavailable', 'stored blocks were replaced faster than they could be read; try again')
  }

  /** Undefined: a block of a snapshot is gone. */
  async #attempt(
    metric: MetricRow,
    request: QueryRequest,
    session: QuerySession,
    run: Run,
  ): Promise<QueryAnswer | undefined> {
    const startedMs = performance.now()
    const stepsMs = this.#stepsOf(metric)
    const setting = settingOf(metric)
    const looked = await this.#look(metric, request)
    const wanted = looked.grouping.ids
    const current = await lookUp(this.#sources, metric, {
      ...request,
      stepsMs,
      gridMs: gridOf(request.interval, request.zone, request, stepsMs),
      wanted,
      turn: () => session.turn(),
      planned: (timelines) => plan({ ...request, timelines, setting, bucketsMax: this.#cellsMax(request, run) }),
    })
    const comparison = request.compare && compareWith(request.compare, request, current.plan)
    const earlier =
      comparison === undefined || comparison.edges.length === 0
        ? undefined
        : await lookUp(this.#sources, metric, {
            ...comparison,
            stepsMs,
            gridMs: stepsMs.findLast((stepMs) => comparison.edges.every((edge) => edge % stepMs === 0)) ?? 1,
            wanted,
            turn: () => session.turn(),
            planned: (timelines) =>
              planEdges(
                { ...request, ...comparison, interval: current.plan.interval, timelines, setting },
                comparison.edges,
              ),
          })
    const periods = earlier === undefined ? [current] : [current, earlier]
    this.#charge(metric, periods, request, wanted, session, run)
    const wants = run.close()
    const asked = request.top === undefined ? wants.computed : [...wants.computed, request.top.by]
    const opened = await this.#open(metric, periods, needsOf(asked, metric.type).sketches, session)
    if (opened === undefined) return undefined
    const { list, grouping, sources } = await this.#place(metric, request, looked, opened)
    const readings = periods.map(({ lookback }, i) => ({ metric, list, stepsMs, sources: sources[i]!, lookback }))
    const clock = { baseMs: stepsMs[0]!, nowMs: request.nowMs }
    const answered =
      request.top === undefined
        ? grouping
        : await topGroups(this.#store, readings[0]!, current.plan, clock, grouping, request.top)
    const needs = needsOf(wants.computed, metric.type)
    const evaluated: Evaluated[] = []
    let isExact = true
    for (const [i, period] of periods.entries()) {
      const cells = this.#cells(request, period, answered, needs, wants.aggregationsMax)
      const merge = { plan: period.plan, groupOf: answered.groupOf, needs }
      const distinct = await accumulate(this.#store, readings[i]!, merge, cells, wants.totals)
      if (cells.inexact) isExact = false
      const { computed } = wants
      const evaluation = { plan: period.plan, ...clock, computed, groups: answered.groups, distinct }
      evaluated.push({ evaluation, groups: evaluate(evaluation, cells) })
    }
    let cost = run.rollups
    if (wants.before) {
      for (const [i, { evaluation, groups }] of evaluated.entries()) {
        const looked = await this.#before(
          metric,
          { ...request, ...evaluation.plan },
          groups,
          grouping.groups.length,
          session,
        )
        evaluated[i] = { evaluation, groups: looked.groups }
        cost += looked.cost
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
      groups: answerGroups(request, evaluated[0]!, evaluated[1], comparison),
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

  #stepsOf({ type }: MetricRow): readonly number[] {
    return rollupKindOf(type) === 'set' ? this.#settings.setStepsMs : this.#settings.stepsMs
  }

  async #look(metric: MetricRow, request: QueryRequest): Promise<Looked> {
    const list = await this.#series.sync(metric)
    return { list, grouping: list.group(request.selection, request) }
  }

  /** The groups with their last values before a period, and what it cost to look for them. */
  async #before(
    metric: MetricRow,
    request: QueryRequest & Pick<Plan, 'interval'>,
    groups: ReadonlyMap<number, AnswerGroup>,
    groupsMax: number,
    session: QuerySession,
  ): Promise<{ readonly groups: ReadonlyMap<number, AnswerGroup>; readonly cost: number }> {
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
      ask: async (part) => {
        const asked = { ...request, ...part, compare: undefined, top: undefined, bucketsMax }
        const wants = { computed, totals: false, before: false }
        const run = new Run(wants, (own) => this.#run(metric, asked, session, own))
        const answer = await run.answer.catch(undefinedIfTooFine)
        cost += run.rollups
        return answer
      },
    })
    const entries = [...groups].map(([index, group]): [number, AnswerGroup] => {
      const before = found.get(groupKey(group))
      return [index, before === undefined ? group : withBefore(group, before)]
    })
    return { groups: new Map(entries), cost }
  }

  /** Groups × buckets of one period that may be answered. */
  #cellsMax({ compare, bucketsMax = Number.POSITIVE_INFINITY }: QueryRequest, run: Run): number {
    const periods = compare === undefined ? 1 : 2
    return Math.min(bucketsMax, Math.floor(this.#settings.valuesMax / (periods * run.close().aggregationsMax)))
  }

  /** Refuses to read more rollups than the request has left, naming the coarser step that would do. */
  #charge(
    metric: MetricRow,
    periods: readonly Period[],
    request: QueryRequest,
    wanted: IdRange | undefined,
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
    const fits = fittingStep(periods, { ...request, setting: settingOf(metric), bucketsMax }, wanted, left)
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

  /** Undefined: a block is gone. */
  async #open(
    metric: MetricRow,
    periods: readonly Period[],
    withSketches: boolean,
    session: QuerySession,
  ): Promise<readonly Opened[] | undefined> {
    const kind = rollupKindOf(metric.type)
    const opened: Opened[] = []
    for (const period of periods) {
      const ofPeriod = await this.#sources.open(metric, kind, period, withSketches, session.blocks)
      if (ofPeriod === undefined) return undefined
      opened.push(ofPeriod)
    }
    return opened
  }

  /** The opened rows with the positions of their series, all of which the list knows. */
  async #place(metric: MetricRow, request: QueryRequest, looked: Looked, opened: readonly Opened[]): Promise<Placed> {
    let found = looked
    for (const isForgotten of [false, false, true]) {
      const sources = this.#sources.sourcesOf(opened, found.list)
      if (sources !== undefined) return { ...found, sources }
      // A series that was registered after we looked; or one whose place another has taken: the store has gone back in time and was
      // given its series again in another order.
      if (isForgotten) this.#series.drop(metric)
      found = await this.#look(metric, request)
    }
    const sources = this.#sources.sourcesOf(opened, found.list)
    if (sources !== undefined) return { ...found, sources }
    throw new Error(`a block of metric ${metric.name} holds a series that the catalog does not know`)
  }

  #cells(request: QueryRequest, period: Period, { groups }: Grouping, needs: Needs, aggregationsMax: number): Cells {
    const { valuesMax } = this.#settings
    const { plan: planned, timelines } = period
    const buckets = planned.edges.length - 1
    const aggregations = aggregationsMax * (request.compare === undefined ? 1 : 2)
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
    const limits = { groups: groups.length, buckets, cellsMax: Math.floor(valuesMax / aggregations), tooMany }
    const cells = new Cells(limits, needs)
    // Without grouping there is one group, data or not.
    if (!isGrouped(request) && groups.length > 0) cells.cellOf(0)
    return cells
  }
}

/** What is too fine to be kept, or has too many buckets, is not looked at; more rollups than are left are refused. */
function undefinedIfTooFine(error: unknown): undefined {
  const isTooFine =
    error instanceof GatewayError && (error.code === 'invalid_interval' || error.details?.['bucketsMax'] !== undefined)
  if (!isTooFine) throw error
}

function settingOf({ type }: MetricRow): RetentionSetting {
  return rollupKindOf(type) === 'set' ? 'SET_RESOLUTIONS' : 'RESOLUTIONS'
}

/** Answered buckets that kept data cannot fill, or not those they are compared with. */
function unavailableIn(current: Plan, earlier: Plan | undefined, comparison: Comparison | undefined): number {
  if (earlier === undefined || comparison === undefined) return current.unavailableCount
  return comparison.bucketOf.reduce(
    (count, bucket, i) => count + (current.unavailable[i] === 1 || earlier.unavailable[bucket] === 1 ? 1 : 0),
    0,
  )
}

interface Looked {
  readonly list: SeriesList
  readonly grouping: Grouping
}

interface Placed extends Looked {
  /** By period. */
  readonly sources: readonly (readonly Source[])[]
}

interface Evaluated {
  readonly evaluation: Evaluation
  readonly groups: ReadonlyMap<number, AnswerGroup>
}

/** The groups with data in either period: as they rank, or by their tags. */
function answerGroups(
  request: QueryRequest,
  { evaluation, groups }: Evaluated,
  earlier: Evaluated | undefined,
  comparison: Comparison | undefined,
): readonly AnswerGroup[] {
  const answered: AnswerGroup[] = []
  for (const index of [...new Set([...groups.keys(), ...(earlier?.groups.keys() ?? [])])].sort((a, b) => a - b)) {
    const current = groups.get(index) ?? emptyGroup(evaluation, index)
    if (comparison === undefined) answered.push(current)
    else {
      const before = earlier?.groups.get(index) ?? emptyGroup(earlier?.evaluation ?? evaluation, index)
      answered.push(compared(current, before, comparison))
    }
  }
  const shown = isGrouped(request) ? answered.filter((group) => hasData(group) || hasData(group.comparison)) : answered
  return request.top === undefined ? shown.sort((a, b) => compareTags(a.tags, b.tags)) : shown
}

function isGrouped({ groupBy, bySeries }: QueryRequest): boolean {
  return groupBy.length > 0 || bySeries
}

function hasData(group: AnswerGroup | undefined): boolean {
  return group?.present.includes(1) ?? false
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
