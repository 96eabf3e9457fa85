import type { Gateway, Grant, IdempotentRequest, MetricFilter, RateLimitDecision } from '../../src/gateway.ts'
import type { ItemError } from '../../src/model/errors.ts'
import { GatewayError } from '../../src/model/errors.ts'
import { ItemCache } from '../../src/model/item-cache.ts'
import { type MetricType, metricIdOf } from '../../src/model/metric.ts'
import type { PointSink, Rejection, SeriesRef } from '../../src/model/point.ts'
import type { RateClass } from '../../src/model/rate.ts'
import { runAtOnce, type Steps } from '../../src/model/steps.ts'
import { quantileAggregation } from '../../src/query/aggregations.ts'
import type { QueryResult, ResultGroup } from '../../src/query/compute/result.ts'
import type { QueryInput } from '../../src/query/plan/request.ts'
import { QuerySession } from '../../src/query/session.ts'
import type { Scope } from '../../src/store/api-keys.ts'
import type { MetricRow } from '../../src/store/catalog.ts'

/** What a decoder delivered, one object a call, so that tests can compare it. */
export interface DeliveredPoint {
  readonly project: string
  readonly index: number
  readonly name: string
  readonly type: MetricType
  readonly tags: readonly (readonly [string, string])[]
  readonly timeMs: number
  readonly how: 'add' | 'addWeighted' | 'addTotal' | 'addTotalSince' | 'addMember' | 'addEnd'
  readonly value: number | string
  readonly weight?: number
  /** Of a running total. */
  readonly startMs?: number
}

export interface FakeGatewayOptions {
  readonly keys?: ReadonlyMap<string, Grant>
  readonly metrics?: readonly MetricRow[]
  /** Why a series is refused, as a store that knows better would say it. */
  readonly resolve?: (name: string, type: MetricType) => Rejection | undefined
  readonly query?: (project: string, input: QueryInput) => QueryResult
  /** Without it nothing is limited. */
  readonly takePermit?: (
    rateClass: RateClass,
    keyHash: string,
    address: string,
  ) => RateLimitDecision | undefined | Promise<RateLimitDecision>
  /** Run before a verb does anything; throws what the verb shall reject with. */
  readonly before?: (verb: keyof Gateway) => void | Promise<void>
}

export interface FakeGateway extends Gateway {
  readonly points: readonly DeliveredPoint[]
  readonly queries: readonly QueryInput[]
  readonly filters: readonly MetricFilter[]
  /** Those served through `serveOnce`; each is served every time. */
  readonly requests: readonly IdempotentRequest[]
  /** The idempotency key of each call of `track`. */
  readonly keysTracked: readonly (string | undefined)[]
}

export const ALL_SCOPES: readonly Scope[] = ['ingest', 'query', 'admin']

/** A gateway in memory that records what it is asked: routes are tested against it. */
export function createFakeGateway(options: FakeGatewayOptions = {}): FakeGateway {
  const keys = options.keys ?? new Map([['test-key', { project: 'shop', scopes: ALL_SCOPES }]])
  const points: DeliveredPoint[] = []
  const queries: QueryInput[] = []
  const filters: MetricFilter[] = []
  const requests: IdempotentRequest[] = []
  const keysTracked: (string | undefined)[] = []
  const before = async (verb: keyof Gateway) => options.before?.(verb)
  const rowsOf = (project: string) => (options.metrics ?? []).filter((row) => row.project === project)
  return {
    points,
    queries,
    filters,
    requests,
    keysTracked,
    async track(project, decode, { idempotencyKey } = {}) {
      await before('track')
      keysTracked.push(idempotencyKey)
      const recorder = createRecordingSink(project, options.resolve)
      runAtOnce(decode(recorder.sink) ?? noSteps())
      points.push(...recorder.points)
      return recorder.errors
    },
    itemCache: () => new ItemCache(0),
    async trackBatch(project, { decode = () => {}, events }, { idempotencyKey } = {}) {
      await before('trackBatch')
      keysTracked.push(idempotencyKey)
      const recorder = createRecordingSink(project, options.resolve)
      runAtOnce(decode(recorder.sink) ?? noSteps())
      points.push(...recorder.points)
      return { rejected: recorder.errors, eventIds: events.map((_, i) => `E${i}`) }
    },
    async serveOnce(_project, request, serve) {
      await before('serveOnce')
      requests.push(request)
      return serve()
    },
    live() {
      throw new GatewayError('overloaded', 'nothing is live here')
    },
    openSession: () => new QuerySession(1_000, Date.now),
    async tagValues() {
      await before('tagValues')
      return []
    },
    async query(project, input) {
      await before('query')
      queries.push(input)
      if (options.query === undefined) throw new GatewayError('metric_not_found', 'there is no such metric')
      return options.query(project, input)
    },
    async events() {
      await before('events')
      return { events: [], nextCursor: undefined }
    },
    async metric(project, name) {
      await before('metric')
      return rowsOf(project).find((row) => row.name === name)
    },
    async deleteMetric(project, name) {
      await before('deleteMetric')
      return rowsOf(project).some((row) => row.name === name)
    },
    async metrics(project, filter = {}) {
      await before('metrics')
      filters.push(filter)
      return rowsOf(project)
    },
    async *metricPages(project, filter = {}) {
      await before('metrics')
      filters.push(filter)
      yield rowsOf(project)
    },
    async authenticate(key) {
      await before('authenticate')
      const grant = keys.get(key)
      return grant && { ...grant, keyHash: `id of ${key}` }
    },
    takePermit: (principal, rateClass, address) => options.takePermit?.(rateClass, principal.keyHash, address),
    async ping() {
      await before('ping')
    },
    async close() {},
  }
}

function* noSteps(): Steps<void> {}

interface RecordedSeries extends SeriesRef {
  readonly name: string
  readonly type: MetricType
  readonly tags: readonly (readonly [string, string])[]
}

export interface RecordingSink {
  readonly sink: PointSink
  readonly points: readonly DeliveredPoint[]
  readonly errors: readonly ItemError[]
}

export function createRecordingSink(
  project: string,
  refuse: (name: string, type: MetricType) => Rejection | undefined = () => undefined,
): RecordingSink {
  const points: DeliveredPoint[] = []
  const errors: ItemError[] = []
  const known = new WeakMap<SeriesRef, RecordedSeries>()
  const record = (
    how: DeliveredPoint['how'],
    index: number,
    ref: SeriesRef,
    timeMs: number,
    value: number | string,
    more: Pick<DeliveredPoint, 'weight' | 'startMs'> = {},
  ) => {
    const series = known.get(ref)
    if (series === undefined) throw new Error('a series that this sink did not resolve')
    const { name, type, tags } = series
    points.push({ project, index, name, type, tags, timeMs, how, value, ...more })
  }
  const sink: PointSink = {
    resolve(name, type, pairs) {
      const rejection = refuse(name, type)
      if (rejection !== undefined) return rejection
      const kind = type === 'histogram' ? 'counter' : type === 'summary' ? 'gauge' : type
      const series: RecordedSeries = { kind, name, type, tags: pairs.map(([key, value]) => [key, value] as const) }
      known.set(series, series)
      return series
    },
    add: (index, series, timeMs, value) => record('add', index, series, timeMs, value),
    addWeighted: (index, series, timeMs, value, weight) =>
      record('addWeighted', index, series, timeMs, value, { weight }),
    addTotal: (index, series, timeMs, total) => record('addTotal', index, series, timeMs, total),
    addTotalSince: (index, series, timeMs, total, startMs) =>
      record('addTotalSince', index, series, timeMs, total, { startMs }),
    addMember: (index, series, timeMs, member) => record('addMember', index, series, timeMs, member),
    addEnd: (index, series, timeMs) => record('addEnd', index, series, timeMs, Number.NaN),
    reject: (index, { code, message }) => void errors.push({ index, code, message }),
    itemCache: new ItemCache(1 << 20),
    canAddTo: () => true,
    mayCache: () => true,
    restart() {
      points.length = 0
      errors.length = 0
    },
  }
  return { sink, points, errors }
}

/** A catalog row with the fields that a test does not care about filled in. */
export function metricRow(fields: Partial<MetricRow> = {}): MetricRow {
  const project = fields.project ?? 'shop'
  const name = fields.name ?? 'api.response_time'
  return {
    project,
    name,
    type: 'distribution',
    unit: undefined,
    description: undefined,
    generation: 1,
    metricId: metricIdOf(project, name, 1),
    partition: 0,
    points: 1_234_567,
    firstSeenMs: Date.UTC(2024, 0, 1),
    lastSeenMs: Date.UTC(2024, 0, 15, 10, 30),
    tagKeys: ['endpoint', 'method', 'status'],
    seriesCount: 1,
    cumulative: false,
    ...fields,
  }
}

/** A group whose buckets are present where its first column is not undefined. */
export function resultGroup(
  columns: Readonly<Record<string, readonly (number | undefined)[]>>,
  fields: Partial<ResultGroup> = {},
): ResultGroup {
  const [first = []] = Object.values(columns)
  return {
    tags: [],
    series: undefined,
    bucketStates: Uint8Array.from(first, (value) => (value === undefined ? 0 : 1)),
    values: new Map(
      Object.entries(columns).map(([name, values]) => [
        name,
        Float64Array.from(values, (value) => value ?? Number.NaN),
      ]),
    ),
    totals: new Map(),
    ...fields,
  }
}

/** Hourly buckets from 2024-01-15T00:00:00Z on. */
export function queryResult(fields: Partial<QueryResult> & Pick<QueryResult, 'groups'>): QueryResult {
  const hourMs = 3_600_000
  const fromMs = Date.UTC(2024, 0, 15)
  const buckets = fields.groups[0]?.bucketStates.length ?? 0
  const startMs = Float64Array.from({ length: buckets }, (_, index) => fromMs + index * hourMs)
  return {
    metric: metricRow(),
    fromMs,
    toMs: fromMs + buckets * hourMs,
    interval: '1h',
    timezone: 'UTC',
    fill: 'none',
    aggregations: [quantileAggregation(0.95)],
    startMs,
    endMs: startMs.map((ms) => ms + hourMs),
    meta: {
      resolutionsMs: [hourMs],
      rollupsRead: 0,
      blocksRead: 0,
      cacheHits: 0,
      isExact: true,
      bucketsUnavailable: 0,
      cost: 7,
      durationMs: 0,
      nowMs: fromMs,
    },
    ...fields,
  }
}
