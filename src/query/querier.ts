import { GatewayError } from '../model/errors.ts'
import { compareIds, type Id64 } from '../model/id.ts'
import { fixedInterval, formatInterval } from '../model/interval.ts'
import { rollupKindOf } from '../model/metric.ts'
import { formatDuration } from '../model/time.ts'
import type { RollupRows } from '../rollup/rollup-rows.ts'
import { type IndexEntry, type IndexSnapshot, type MetricRow, type Store, windowWidthMs } from '../store/store.ts'
import type { QueryAnswer } from './answer.ts'
import { BlockReader } from './block-reader.ts'
import { Cells, needsOf } from './cells.ts'
import { countDistinct } from './distinct.ts'
import { evaluate } from './evaluate.ts'
import { InboxReader } from './inbox-reader.ts'
import { type Merge, mergeEnds, mergeSums, mergeTotals, SILENCE_MS_MAX, type Source } from './merge.ts'
import { finestKept, fittingInterval, type Plan, plan, planStretch, type Read, type Timeline } from './plan.ts'
import { prepareQuery, type RequestLimits } from './prepare.ts'
import type { QueryInput, QueryRequest } from './request.ts'
import { type Grouping, groupSeries, SeriesIndex, type SeriesList } from './series-index.ts'
import { type TagValue, tagValuesOf } from './tag-values.ts'

export interface QuerierSettings extends RequestLimits {
  /** Steps of the stored buckets, finest first. */
  readonly stepsMs: readonly number[]
  readonly setStepsMs: readonly number[]
  /** Numbers one query may answer: groups × buckets × aggregations. */
  readonly valuesMax: number
  /** Stored rollups one query may read. */
  readonly rollupsMax: number
  readonly blockCacheBytesMax: number
  /** Series held in memory for filtering and grouping. */
  readonly seriesHeldMax: number
}

/** Digests of the inbox may take this much of what decoded blocks may, on top of it. */
const DIGEST_SHARE = 1 / 4

/** Answers queries: request → plan → index snapshot → blocks → merge → answer. */
export class Querier {
  readonly #store: Store
  readonly #settings: QuerierSettings
  readonly #now: () => number
  readonly #blocks: BlockReader
  readonly #inbox: InboxReader
  readonly #series: SeriesIndex
  /** Positions of a section's series in the metric's list, kept as long as the decoded block. */
  readonly #ordinals = new WeakMap<RollupRows, { readonly list: SeriesList; readonly ordinals: Int32Array }>()

  constructor(store: Store, settings: QuerierSettings, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#now = now
    this.#blocks = new BlockReader(store, settings.blockCacheBytesMax)
    this.#inbox = new InboxReader(this.#blocks, settings.blockCacheBytesMax * DIGEST_SHARE)
    this.#series = new SeriesIndex(store, settings.seriesHeldMax)
  }

  /** The store has gone back in time: series are learnt again. */
  forgetSeries(): void {
    this.#series.clear()
  }

  async query(metric: MetricRow, input: QueryInput): Promise<QueryAnswer> {
    const nowMs = this.#now()
    const request = prepareQuery(input, metric.type, nowMs, this.#settings)
    const answer = await this.#attempt(metric, request, input.totals ?? true)
    if (answer !== undefined) return answer
    // A block went away between snapshot and read: the query took longer than replaced blocks are kept, or a fold was quick.
    const again = await this.#attempt(metric, request, input.totals ?? true)
    if (again !== undefined) return again
    throw new GatewayError('store_unavailable', 'stored blocks were replaced faster than they could be read; try again')
  }

  async tagValues(metric: MetricRow, key: string, max: number): Promise<readonly TagValue[]> {
    return tagValuesOf(await this.#series.sync(metric), key, max)
  }

  /** Undefined: a block of the snapshot is gone. */
  async #attempt(metric: MetricRow, request: QueryRequest, wantTotals: boolean): Promise<QueryAnswer | undefined> {
    const startedMs = performance.now()
    const kind = rollupKindOf(metric.type)
    const stepsMs = kind === 'set' ? this.#settings.setStepsMs : this.#settings.stepsMs
    let list = await this.#series.sync(metric)
    const snapshot = await this.#snapshot(metric, request, stepsMs)
    const timelines = snapshot.timelines.map(({ resolutionMs, expired }) => ({ stepMs: resolutionMs, expired }))
    const bucketsMax = Math.floor(this.#settings.valuesMax / Math.max(1, request.computed.length))
    const planned = plan({ ...request, timelines, bucketsMax })
    const lookback = kind === 'counter' && metric.cumulative ? lookbackReads(planned, timelines) : []
    let grouping = groupSeries(list, request)
    const wanted = idRange(list, grouping)
    const listed = listedIn(snapshot, [...lookback, ...planned.reads], wanted)
    this.#requireFew(listed, snapshot, (stepMs) => {
      const interval = fixedInterval(stepMs)
      const coarser = interval && answerable(() => plan({ ...request, interval, timelines, bucketsMax }))
      return coarser && listedIn(snapshot, [...lookback, ...coarser.reads], wanted)
    })
    const needs = needsOf(request.computed)
    const opened = await this.#open(metric, snapshot, listed, needs.sketches && kind === 'distribution')
    if (opened === undefined) return undefined
    let sources = this.#sources(opened.rows, list)
    if (sources === undefined) {
      // A series that was registered after we looked.
      list = await this.#series.sync(metric)
      grouping = groupSeries(list, request)
      sources = this.#sources(opened.rows, list)
    }
    if (sources === undefined) {
      // Or one whose place another has taken: the store has gone back in time and was given its series again in another order.
      this.#series.drop(metric)
      list = await this.#series.sync(metric)
      grouping = groupSeries(list, request)
      sources = this.#sources(opened.rows, list)
    }
    if (sources === undefined)
      throw new Error(`a block of metric ${metric.name} holds a series that the catalog does not know`)
    const merge: Merge = { plan: planned, stepsMs, sources, groupOf: grouping.groupOf, needs }
    const cells = this.#cells(request, planned, timelines, grouping, needs)
    let distinct: Awaited<ReturnType<typeof countDistinct>> | undefined
    if (kind === 'set') distinct = await countDistinct(this.#store, metric, list, merge, cells, wantTotals)
    else {
      mergeSums(merge, cells)
      if (kind === 'gauge' && needs.ends) mergeEnds(merge, cells)
      if (kind === 'counter' && sources.some(({ section }) => section.hasTotals)) mergeTotals(merge, lookback, cells)
    }
    opened.settle()
    const baseMs = stepsMs[0]!
    const groups = evaluate(
      { plan: planned, baseMs, nowMs: request.nowMs, computed: request.computed, groups: grouping.groups, distinct },
      cells,
    )
    return {
      metric,
      fromMs: planned.fromMs,
      toMs: planned.toMs,
      interval: formatInterval(planned.interval),
      timezone: request.zone.name,
      fill: request.fill,
      aggregations: request.aggregations,
      startMs: planned.edges.subarray(0, -1),
      endMs: planned.edges.subarray(1),
      groups:
        request.groupBy.length === 0 && !request.bySeries
          ? groups
          : groups.filter(({ present }) => present.includes(1)),
      meta: {
        resolutionsMs: [...new Set(planned.reads.map(({ level }) => level))]
          .sort((a, b) => a - b)
          .map((level) => stepsMs[level]!),
        rollupsRead: sources.reduce((sum, { section }) => sum + section.length, 0),
        blocksRead: opened.blocks,
        cacheHits: opened.hits,
        durationMs: performance.now() - startedMs,
        nowMs: request.nowMs,
      },
    }
  }

  #snapshot(metric: MetricRow, { fromMs, toMs }: QueryRequest, stepsMs: readonly number[]): Promise<IndexSnapshot> {
    const coarsestMs = stepsMs[stepsMs.length - 1]!
    const backMs = metric.cumulative ? SILENCE_MS_MAX : 0
    // Widened by the coarsest step on either side: the plan widens the range outward by less than that.
    const stretch = { fromMs: fromMs - backMs - coarsestMs, toMs: toMs + coarsestMs }
    const timelines = stepsMs.map((resolutionMs) => ({ resolutionMs, stretch }))
    return this.#store.readIndex({ partition: metric.partition, metricId: metric.metricId, timelines, inbox: true })
  }

  /** What the store holds for the reads, in order of arrival within each level, the inbox last. Undefined: a block is gone. */
  async #open(
    metric: MetricRow,
    snapshot: IndexSnapshot,
    listed: readonly ListedBlock[],
    withSketches: boolean,
  ): Promise<Opened | undefined> {
    const { partition, metricId } = metric
    const kind = rollupKindOf(metric.type)
    const names = listed.map(({ entry }) => ({ name: entry.block, sketchBytes: entry.sketchBytes }))
    const timelines = await this.#blocks.read(partition, metricId, names, withSketches)
    const stepMs = snapshot.timelines[0]!.resolutionMs
    const inbox = await this.#inbox.read(partition, metricId, snapshot.inbox, stepMs, kind === 'distribution')
    if (timelines === undefined || inbox === undefined) return undefined
    const rows: OpenedRows[] = []
    for (const [i, { level }] of listed.entries()) {
      const section = timelines.sections[i]
      if (section !== undefined) rows.push({ section, level, inbox: false })
    }
    for (const section of inbox.rows) rows.push({ section, level: 0, inbox: true })
    return {
      rows,
      blocks: listed.length + inbox.blocks,
      hits: timelines.hits + inbox.hits,
      settle() {
        timelines.settle()
        inbox.settle()
      },
    }
  }

  /** Refuses to read more rollups than allowed, naming the coarser step that would do. */
  #requireFew(
    listed: readonly ListedBlock[],
    snapshot: IndexSnapshot,
    listedAt: (stepMs: number) => readonly ListedBlock[] | undefined,
  ): void {
    const { rollupsMax } = this.#settings
    const rollups = rollupsOf(listed)
    if (rollups <= rollupsMax) return
    const fits = snapshot.timelines.find(({ resolutionMs }) => {
      const coarser = listedAt(resolutionMs)
      return coarser !== undefined && rollupsOf(coarser) <= rollupsMax
    })
    const hint = fits === undefined ? {} : { fits: formatDuration(fits.resolutionMs) }
    const advice = hint.fits === undefined ? 'a shorter range is needed' : `an interval of ${hint.fits} would fit`
    throw new GatewayError(
      'query_too_large',
      `the query would read ${rollups} stored rollups, at most ${rollupsMax} are allowed; ${advice}`,
      { details: { rollups, rollupsMax, ...hint } },
    )
  }

  /** Undefined: some row is of a series that the list does not hold. */
  #sources(opened: readonly OpenedRows[], list: SeriesList): Source[] | undefined {
    const sources: Source[] = []
    for (const rows of opened) {
      const ordinals = this.#ordinalsOf(rows.section, list)
      if (ordinals === undefined) return undefined
      sources.push({ ...rows, ordinals })
    }
    return sources
  }

  #ordinalsOf(section: RollupRows, list: SeriesList): Int32Array | undefined {
    const held = this.#ordinals.get(section)
    if (held?.list === list) return held.ordinals
    const ordinals = new Int32Array(section.seriesCount)
    const { seriesHi, seriesLo } = section
    for (let s = 0; s < ordinals.length; s++) {
      const ordinal = list.ordinal(seriesHi[s]!, seriesLo[s]!)
      if (ordinal < 0) return undefined
      ordinals[s] = ordinal
    }
    this.#ordinals.set(section, { list, ordinals })
    return ordinals
  }

  #cells(
    request: QueryRequest,
    planned: Plan,
    timelines: readonly Timeline[],
    { groups }: Grouping,
    needs: ReturnType<typeof needsOf>,
  ): Cells {
    const { valuesMax } = this.#settings
    const buckets = planned.edges.length - 1
    const aggregations = Math.max(1, request.computed.length)
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
    const cells = new Cells(
      { groups: groups.length, buckets, cellsMax: Math.floor(valuesMax / aggregations), tooMany },
      needs,
    )
    // Without grouping there is one group, data or not.
    if (request.groupBy.length === 0 && !request.bySeries) cells.cellOf(0)
    return cells
  }
}

type OpenedRows = Omit<Source, 'ordinals'>

interface Opened {
  readonly rows: readonly OpenedRows[]
  readonly blocks: number
  /** Blocks that were already decoded. */
  readonly hits: number
  settle(): void
}

interface ListedBlock {
  readonly level: number
  readonly entry: IndexEntry
}

/** The blocks of the timelines that the reads need for series in a range of ids, in order of arrival within each level. */
function listedIn(
  { timelines }: IndexSnapshot,
  reads: readonly Read[],
  wanted: { readonly from: Id64; readonly to: Id64 } | undefined,
): ListedBlock[] {
  const listed: ListedBlock[] = []
  if (wanted === undefined) return listed
  for (const [level, { entries, resolutionMs }] of timelines.entries()) {
    const ofLevel = reads.filter((read) => read.level === level)
    if (ofLevel.length === 0) continue
    const widthMs = windowWidthMs(resolutionMs)
    const within = entries.filter(
      ({ windowMs, seriesFrom, seriesTo }) =>
        compareIds(seriesTo, wanted.from) >= 0 &&
        compareIds(seriesFrom, wanted.to) <= 0 &&
        ofLevel.some((read) => read.fromMs < windowMs + widthMs && windowMs < read.toMs),
    )
    for (const entry of within.sort((a, b) => a.order - b.order)) listed.push({ level, entry })
  }
  return listed
}

function rollupsOf(listed: readonly ListedBlock[]): number {
  return listed.reduce((sum, { entry }) => sum + entry.rollups, 0)
}

/** Undefined instead of the reason that a plan is refused. */
function answerable(planned: () => Plan): Plan | undefined {
  try {
    return planned()
  } catch (error) {
    if (error instanceof GatewayError) return undefined
    throw error
  }
}

/** Where the total before the first of a cumulative counter may lie. */
function lookbackReads({ fromMs }: Plan, timelines: readonly Timeline[]): readonly Read[] {
  const coarsestMs = timelines[timelines.length - 1]!.stepMs
  const backMs = Math.floor((fromMs - SILENCE_MS_MAX) / coarsestMs) * coarsestMs
  return planStretch({ fromMs: backMs, toMs: fromMs }, timelines) ?? []
}

/** Least and greatest id of the series in any group; undefined when there is none. */
function idRange({ rows }: SeriesList, { groupOf }: Grouping): { from: Id64; to: Id64 } | undefined {
  let from: Id64 | undefined
  let to: Id64 | undefined
  for (let ordinal = 0; ordinal < groupOf.length; ordinal++) {
    if (groupOf[ordinal]! < 0) continue
    const { seriesId } = rows[ordinal]!
    if (from === undefined || compareIds(seriesId, from) < 0) from = seriesId
    if (to === undefined || compareIds(seriesId, to) > 0) to = seriesId
  }
  return from === undefined || to === undefined ? undefined : { from, to }
}
