import type {
  BatchOutcome,
  Gateway,
  IdempotentRequest,
  Principal,
  RateLimitDecision,
  SavedResponse,
  TrackedBatch,
} from '../../src/gateway.ts'
import { GatewayError, type ItemError } from '../../src/model/errors.ts'
import { decodeEvent, type Event } from '../../src/model/event.ts'
import type { Id64 } from '../../src/model/id.ts'
import { ItemCache } from '../../src/model/item-cache.ts'
import type { MetricType } from '../../src/model/metric.ts'
import type { PointSink, SeriesRef } from '../../src/model/point.ts'
import { reject } from '../../src/model/point.ts'
import {
  type Aggregation,
  appliesToType,
  defaultAggregation,
  invalidAggregationError,
  parseAggregation,
  quantileAggregation,
  requireAppliesToType,
} from '../../src/query/aggregations.ts'
import type { QueryResult, ResultGroup } from '../../src/query/compute/result.ts'
import type { EventPage, EventQueryInput } from '../../src/query/events.ts'
import type { LiveUpdate } from '../../src/query/live/live-patch.ts'
import { LiveQueries } from '../../src/query/live/live-queries.ts'
import { FILLS, type QueryInput } from '../../src/query/plan/request.ts'
import { QuerySession } from '../../src/query/session.ts'
import type { TagValueCount } from '../../src/query/tag-values.ts'
import type { MetricRow } from '../../src/store/catalog.ts'

export const NOW_MS = Date.parse('2024-01-15T12:30:00Z')
const HOUR_MS = 3_600_000

export interface StoredPoint {
  readonly name: string
  readonly type: MetricType
  readonly tags: readonly (readonly [string, string])[]
  readonly timeMs: number
  readonly value: number | string
}

interface FakeSeries extends SeriesRef {
  readonly name: string
  readonly type: MetricType
  readonly tags: StoredPoint['tags']
}

/**
 * Keeps points in a list and answers every query with three hourly buckets, of which the second is empty and the third
 * still open. An aggregation's values there are its rank among those computed, times ten.
 */
export class FakeGateway implements Gateway {
  readonly points: StoredPoint[] = []
  readonly queries: QueryInput[] = []
  readonly tracked: Event[] = []
  readonly eventQueries: EventQueryInput[] = []
  readonly requests: IdempotentRequest[] = []
  readonly rows = new Map<string, MetricRow>()
  /** Of every look at a key. */
  keyFailure: GatewayError | undefined
  readonly keys = new Map<string, Principal>([
    ['reader', { keyHash: 'r', project: 'shop', scopes: ['query'] }],
    ['writer', { keyHash: 'w', project: 'shop', scopes: ['ingest'] }],
    ['both', { keyHash: 'b', project: 'shop', scopes: ['ingest', 'query'] }],
  ])
  /** What every request gets; undefined: nothing is limited. */
  permit: RateLimitDecision | undefined
  /** Thrown by the next calls. */
  failure: Error | undefined
  /** Added to every value. */
  valueOffset = 0
  /** Awaited by every read and write before it begins. */
  before: (() => Promise<void>) | undefined

  /** Told of commits by `commit`, and as often as there are some. */
  readonly liveQueries = new LiveQueries(
    {
      query: (project, input) => this.query(project, input),
      onCommit: (listener) => {
        this.#listeners.add(listener)
        return () => this.#listeners.delete(listener)
      },
      now: () => performance.now(),
      startTimer: (ms, run) => {
        const timer = setTimeout(run, ms)
        return () => clearTimeout(timer)
      },
    },
    {
      runIntervalMsMin: 0,
      pollIntervalMs: 60_000,
      subscriptionsMax: 4,
      subscriptionsPerKeyMax: 3,
      concurrentRunsMax: 2,
    },
  )
  readonly #series = new Map<SeriesRef, FakeSeries>()
  readonly #itemCache = new ItemCache<SeriesRef>(1 << 20)
  readonly #listeners = new Set<(metricIds: readonly Id64[]) => void>()

  /** Tells live queries that the metric has changed. */
  commit(name: string): void {
    this.commitOf(this.rows.get(name)!.metricId)
  }

  commitOf(metricId: Id64): void {
    for (const listener of this.#listeners) listener([metricId])
  }

  live(principal: Principal, input: QueryInput): AsyncIterableIterator<LiveUpdate> {
    return this.liveQueries.subscribe(principal, input)
  }

  define(name: string, type: MetricType): void {
    this.rows.set(name, metricRow(name, type))
  }

  async track(_project: string, decode: (sink: PointSink) => void): Promise<readonly ItemError[]> {
    await this.before?.()
    if (this.failure !== undefined) throw this.failure
    const errors: ItemError[] = []
    const pointsBefore = this.points.length
    const push = (ref: SeriesRef, timeMs: number, value: number | string): void => {
      const found = this.#series.get(ref)
      if (found === undefined) throw new Error('a series that was not resolved')
      this.points.push({ name: found.name, type: found.type, tags: found.tags, timeMs, value })
      if (!this.rows.has(found.name)) this.define(found.name, found.type)
    }
    decode({
      resolve: (name, type, pairs) => {
        const row = this.rows.get(name)
        if (row !== undefined && row.type !== type) return reject('type_conflict', `${name} is a ${row.type}`)
        const ref: FakeSeries = {
          kind: type === 'histogram' || type === 'summary' ? 'gauge' : type,
          name,
          type,
          tags: pairs,
        }
        this.#series.set(ref, ref)
        return ref
      },
      add: (_index, ref, timeMs, value) => push(ref, timeMs, value),
      addWeighted: (_index, ref, timeMs, value) => push(ref, timeMs, value),
      addTotal: (_index, ref, timeMs, total) => push(ref, timeMs, total),
      addTotalSince: (_index, ref, timeMs, total) => push(ref, timeMs, total),
      addMember: (_index, ref, timeMs, member) => push(ref, timeMs, member),
      addEnd() {},
      reject: (index, { code, message }) => errors.push({ index, code, message }),
      itemCache: this.#itemCache,
      canAddTo: (ref) => this.#isDefined(ref),
      mayCache: (ref) => this.#isDefined(ref),
      restart: () => {
        this.points.length = pointsBefore
        errors.length = 0
      },
    })
    return errors
  }

  #isDefined(ref: SeriesRef): boolean {
    const series = this.#series.get(ref)
    return series !== undefined && this.rows.get(series.name)?.type === series.type
  }

  itemCache(): ItemCache<SeriesRef> {
    return this.#itemCache
  }

  async trackBatch(project: string, { decode = () => {}, events }: TrackedBatch): Promise<BatchOutcome> {
    const rejected = await this.track(project, decode)
    const ids = events.map((_, i) => `E${this.tracked.length + i}`)
    for (const [i, event] of events.entries()) this.tracked.push(decodeEvent({ id: ids[i]!, ...event }))
    return { rejected, eventIds: ids }
  }

  /** All that were tracked, newest first, whatever is asked. */
  async events(_project: string, input: EventQueryInput): Promise<EventPage> {
    if (this.failure !== undefined) throw this.failure
    this.eventQueries.push(input)
    return { events: this.tracked.toReversed().slice(0, input.limit), nextCursor: undefined }
  }

  /** Serves every time. */
  async serveOnce(
    _project: string,
    request: IdempotentRequest,
    serve: () => Promise<SavedResponse>,
  ): Promise<SavedResponse> {
    if (this.failure !== undefined) throw this.failure
    this.requests.push(request)
    return serve()
  }

  async query(_project: string, input: QueryInput): Promise<QueryResult> {
    await this.before?.()
    if (this.failure !== undefined) throw this.failure
    this.queries.push(input)
    const row = this.rows.get(input.metric)
    if (row === undefined) throw new GatewayError('metric_not_found', `there is no metric ${input.metric}`)
    const asked = (input.aggregations ?? []).map((name) => {
      const aggregation = parseAggregation(name)
      if (aggregation === undefined) throw invalidAggregationError(name, row.type)
      requireAppliesToType(aggregation, row.type)
      return aggregation
    })
    const aggregations = [...asked, ...(input.quantiles ?? []).map(quantileAggregation)]
    if (aggregations.length === 0) aggregations.push(defaultAggregation(row.type))
    const optional = (input.optionalAggregations ?? []).filter((aggregation) => appliesToType(aggregation, row.type))
    const startMs = Float64Array.from([0, 1, 2], (hour) => NOW_MS - 2.5 * HOUR_MS + hour * HOUR_MS)
    return {
      metric: row,
      fromMs: startMs[0]!,
      toMs: startMs[2]! + HOUR_MS,
      interval: '1h',
      timezone: input.timezone ?? 'UTC',
      fill: FILLS.find((fill) => fill === input.fill) ?? 'none',
      aggregations,
      startMs,
      endMs: startMs.map((ms) => ms + HOUR_MS),
      groups: groupsOf(input, [...aggregations, ...optional], this.valueOffset),
      meta: {
        resolutionsMs: [10_000],
        rollupsRead: 7,
        blocksRead: 2,
        cacheHits: 1,
        isExact: true,
        bucketsUnavailable: 0,
        cost: 7,
        durationMs: 0.5,
        nowMs: NOW_MS,
      },
    }
  }

  async metric(_project: string, name: string): Promise<MetricRow | undefined> {
    await this.before?.()
    if (this.failure !== undefined) throw this.failure
    return this.rows.get(name)
  }

  openSession(): QuerySession {
    return new QuerySession(1_000, () => NOW_MS)
  }

  async tagValues(_metric: MetricRow, key: string, max: number): Promise<readonly TagValueCount[]> {
    return ['/users', '/orders'].map((value, i) => ({ value: `${key}=${value}`, seriesCount: 2 - i })).slice(0, max)
  }

  async deleteMetric(_project: string, name: string): Promise<boolean> {
    if (this.failure !== undefined) throw this.failure
    return this.rows.delete(name)
  }

  async metrics(
    _project: string,
    filter: { search?: string; type?: MetricType; after?: string; limit?: number } = {},
  ): Promise<readonly MetricRow[]> {
    const { search = '', type, after = '', limit } = filter
    return [...this.rows.values()]
      .filter((row) => row.name > after && row.name.includes(search) && (type === undefined || row.type === type))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .slice(0, limit)
  }

  async *metricPages(): AsyncGenerator<readonly MetricRow[]> {
    yield [...this.rows.values()]
  }

  takePermit(): RateLimitDecision | undefined {
    return this.permit
  }

  async authenticate(key: string): Promise<Principal | undefined> {
    if (this.keyFailure !== undefined) throw this.keyFailure
    return this.keys.get(key)
  }

  async ping(): Promise<void> {}
  async close(): Promise<void> {}
}

function groupsOf(input: QueryInput, computed: readonly Aggregation[], offset: number): readonly ResultGroup[] {
  const columns = new Map(
    [...new Set(computed.map(({ name }) => name))].map((name, rank) => {
      const value = (rank + 1) * 10 + offset
      return [name, Float64Array.of(value, Number.NaN, value + 1)]
    }),
  )
  const bucketStates = Uint8Array.of(1, 0, 1)
  const totals = new Map([...columns].map(([name, column]) => [name, column[0]! * 100]))
  const group = { bucketStates, values: columns, totals, series: undefined, tags: [] }
  if (input.bySeries === true) {
    const tags = [['endpoint', '/users']] as const
    return [{ ...group, tags, series: { seriesId: { hi: 1, lo: 2 }, tags } }]
  }
  if (input.groupBy === undefined) return [group]
  const keys = input.groupBy
  return ['', '/orders', '/users'].map((value) => ({ ...group, tags: keys.map((key) => [key, value] as const) }))
}

export function metricRow(name: string, type: MetricType): MetricRow {
  return {
    project: 'shop',
    name,
    type,
    unit: 'ms',
    description: undefined,
    generation: 1,
    metricId: { hi: name.length, lo: 7 },
    partition: 0,
    points: 5_000_000_000,
    firstSeenMs: Date.parse('2024-01-01T00:00:00Z'),
    lastSeenMs: NOW_MS,
    tagKeys: ['endpoint'],
    seriesCount: 3,
    cumulative: false,
  }
}
