import type { ApiKeyAuthenticator, Principal } from './access/api-keys.ts'
import type { RateLimitDecision, RateLimiter } from './access/rate-limiter.ts'
import { GatewayError, type ItemError, metricNotFoundError } from './model/errors.ts'
import type { NewEvent } from './model/event.ts'
import { type EventIdGenerator, keyedEventId } from './model/event-id.ts'
import type { ItemCache } from './model/item-cache.ts'
import { METRIC_NAME_CODE_UNITS_MAX, type MetricType, partitionOf } from './model/metric.ts'
import type { Decode, SeriesRef } from './model/point.ts'
import type { RateClass } from './model/rate.ts'
import type { QueryResult } from './query/compute/result.ts'
import type { EventPage, EventQueryInput, EventReader } from './query/events.ts'
import type { LiveUpdate } from './query/live/live-patch.ts'
import type { LiveQueries } from './query/live/live-queries.ts'
import type { QueryInput } from './query/plan/request.ts'
import type { Querier } from './query/querier.ts'
import type { QuerySession } from './query/session.ts'
import type { TagValueCount } from './query/tag-values.ts'
import type { MetricRow } from './store/catalog.ts'
import type { Store } from './store/store.ts'
import type { Telemetry } from './telemetry/telemetry-interface.ts'
import type { Writer } from './write/commit/writer.ts'
import type { FoldLoop } from './write/fold/fold-loop.ts'
import type { Idempotency, IdempotentRequest, SavedResponse } from './write/idempotency.ts'
import type { PartitionEvent } from './write/round/round.ts'

export type { Grant, Principal } from './access/api-keys.ts'
export type { RateLimitDecision } from './access/rate-limiter.ts'
export type { IdempotentRequest, SavedResponse } from './write/idempotency.ts'

export interface MetricFilter {
  /** A substring of the metric name, case-insensitive. */
  readonly search?: string
  readonly type?: MetricType
  /** Cursor: only names that sort after this one, such as the last name of the previous page. */
  readonly after?: string
  readonly limit?: number
}

/**
 * The operations of the gateway. HTTP and GraphQL translate requests to calls of these operations, and results to
 * responses. They do not access the store themselves.
 */
export interface Gateway {
  /**
   * Stores the points that `decode` passes to its sink. Resolves when they are durable, with the rejected items sorted
   * by index. If it throws `overloaded` or `store_unavailable`, this call has stored no point, unless `details.outcome`
   * of the error is `unknown`. Rethrows the errors of `decode`, and then stores no point either.
   */
  track(project: string, decode: Decode, options?: TrackOptions): Promise<readonly ItemError[]>
  /** Like `track`, but stores points and events. Also returns the ids of the events, in the order of `batch.events`. */
  trackBatch(project: string, batch: TrackedBatch, options?: TrackOptions): Promise<BatchOutcome>
  /** Returns the item cache that the sinks of a project have, until another one replaces it. */
  itemCache(project: string): ItemCache<SeriesRef>
  /**
   * Serves a request with an idempotency key. Returns the saved response of the key if the store has one. Otherwise
   * calls `serve`, and saves the response if its status is 2xx: for 24 h, or shorter if the project has more responses
   * than the store keeps. `serve` may run several times for one key, for example after a crash, so it must pass the key
   * to `track` or `trackBatch`. Throws `invalid_body` if the key is malformed, and `idempotency_conflict` if the saved
   * response belongs to a different request.
   */
  serveOnce(project: string, request: IdempotentRequest, serve: () => Promise<SavedResponse>): Promise<SavedResponse>
  /** Runs a query. `session` is shared by the queries of one request; without it, the query gets its own session. */
  query(project: string, input: QueryInput, session?: QuerySession): Promise<QueryResult>
  openSession(): QuerySession
  /**
   * Yields the result of a query, then its updates. Throws `rate_limited` or `overloaded` if there are too many live
   * queries, and `overloaded` when the gateway is stopping.
   */
  live(principal: Principal, input: QueryInput): AsyncIterableIterator<LiveUpdate>
  events(project: string, input: EventQueryInput): Promise<EventPage>
  metric(project: string, name: string): Promise<MetricRow | undefined>
  /** Returns at most `max` values of a tag, sorted by the number of series that have the value, greatest first. */
  tagValues(metric: MetricRow, tagKey: string, max: number): Promise<readonly TagValueCount[]>
  /**
   * Deletes a metric. Its data is removed in the background, and the name can be defined again at once, with any type.
   * Returns false if there is no such metric, or if it has no points. A query in progress may still return a result.
   */
  deleteMetric(project: string, name: string): Promise<boolean>
  /** Returns all metrics that match the filter, sorted by name. They may be many: see `metricPages`. */
  metrics(project: string, filter?: MetricFilter): Promise<readonly MetricRow[]>
  /**
   * Yields the metrics that match the filter in pages, sorted by name. Each page is read from the store when the caller
   * requests it.
   */
  metricPages(project: string, filter?: MetricFilter): AsyncIterableIterator<readonly MetricRow[]>
  /** Returns the sender that an API key belongs to. Undefined if the key does not exist, was revoked or has expired. */
  authenticate(apiKey: string): Principal | undefined | Promise<Principal | undefined>
  /** Takes a permit for a request of this class. Returns undefined if such requests are not limited. */
  takePermit(
    principal: Principal,
    rateClass: RateClass,
    address: string,
  ): RateLimitDecision | undefined | Promise<RateLimitDecision>
  /**
   * Rejects if the store does not respond, was created again with another shape, accepts no commits in some partition,
   * or lacks the API keys that requests need. The message of a `GatewayError` is safe to show to anybody.
   */
  ping(): Promise<void>
  /**
   * Refuses new writes, finishes the accepted ones, stops the folds and closes the store. Does not wait for queries.
   */
  close(): Promise<void>
}

export interface TrackedBatch {
  /** Passes the points to a sink; undefined if the batch has no points. */
  readonly decode?: Decode
  readonly events: readonly NewEvent[]
}

export interface BatchOutcome {
  readonly rejected: readonly ItemError[]
  readonly eventIds: readonly string[]
}

export interface TrackOptions {
  /**
   * The points and events of the request are stored in parts. A retry with the same key within 24 h skips the parts
   * that an earlier attempt has stored. If a retry must get the first response, call `track` within `serveOnce`.
   */
  readonly idempotencyKey?: string
}

export interface GatewayOptions {
  readonly writer: Writer
  readonly idempotency: Idempotency
  readonly folds: FoldLoop
  readonly querier: Querier
  readonly live: LiveQueries
  readonly events: EventReader
  readonly eventIdGenerator: EventIdGenerator
  readonly store: Store
  readonly keys: ApiKeyAuthenticator
  readonly limiter: RateLimiter
  readonly telemetry: Telemetry
}

export function createGateway(options: GatewayOptions): Gateway {
  const { writer, idempotency, folds, querier, live, events, eventIdGenerator, store, keys, limiter, telemetry } =
    options
  return {
    async track(project, decode, { idempotencyKey } = {}) {
      const rejected = await writer.track(project, decode, idempotencyKey)
      if (rejected.length > 0) telemetry.countRejectedItems(rejected)
      return rejected
    },
    itemCache: (project) => writer.itemCache(project),
    async trackBatch(project, batch, { idempotencyKey } = {}) {
      const partitionEvents: readonly PartitionEvent[] = batch.events.map(({ name, timeMs, json }, index) => ({
        // The partition depends only on project and name, so a retry finds the markers of the first attempt.
        partition: partitionOf(project, name, store.partitions),
        event: { project, id: idempotencyKey === undefined ? eventIdGenerator.next() : '', timeMs, json },
        ...(idempotencyKey !== undefined && {
          eventIdAt: (acceptedMs: number) => keyedEventId(project, idempotencyKey, acceptedMs, index),
        }),
      }))
      const rejected = await writer.track(project, batch.decode ?? decodeNothing, idempotencyKey, partitionEvents)
      if (rejected.length > 0) telemetry.countRejectedItems(rejected)
      if (idempotencyKey === undefined) return { rejected, eventIds: partitionEvents.map(({ event }) => event.id) }
      const partitions = new Set(partitionEvents.map(({ partition }) => partition))
      const acceptedMsByPartition = await readAcceptedMs(idempotency, project, idempotencyKey, partitions)
      return {
        rejected,
        eventIds: partitionEvents.map(({ partition, eventIdAt }) => eventIdAt!(acceptedMsByPartition.get(partition)!)),
      }
    },
    serveOnce: (project, request, serve) => idempotency.serveOnce(project, request, serve),
    live: (principal, input) => live.subscribe(principal, input),
    openSession: () => querier.openSession(),
    async query(project, input, session = querier.openSession()) {
      const metric = await session.findMetricOnce(input.metric, () =>
        findMetricWithPoints(store, project, input.metric),
      )
      if (metric === undefined) throw metricNotFoundError(input.metric)
      try {
        const result = await querier.query(metric, input, session)
        telemetry.observeQuery(result.meta)
        return result
      } catch (error) {
        if (error instanceof GatewayError && error.code !== 'internal' && error.code !== 'store_unavailable')
          throw error
        // A query fails if the metric is deleted meanwhile and its blocks are removed. The error is then
        // `metric_not_found`.
        const metricNow = await findMetricWithPoints(store, project, input.metric).catch(() => metric)
        throw metricNow?.generation === metric.generation ? error : metricNotFoundError(input.metric)
      }
    },
    events: (project, input) => events.readPage(project, input),
    metric: (project, name) => findMetricWithPoints(store, project, name),
    async deleteMetric(project, name) {
      const row = await findMetricWithPoints(store, project, name)
      return row !== undefined && writer.deleteMetric({ project, name, generation: row.generation })
    },
    tagValues: (metric, tagKey, max) => querier.tagValues(metric, tagKey, max),
    async metrics(project, filter) {
      const rows: MetricRow[] = []
      for await (const page of listMetrics(store, project, filter)) for (const row of page) rows.push(row)
      return rows
    },
    metricPages: (project, filter) => listMetrics(store, project, filter),
    authenticate: (apiKey) => keys.authenticate(apiKey),
    takePermit: (principal, rateClass, address) => limiter.take(principal, rateClass, address),
    async ping() {
      writer.requireAvailableStore()
      await store.ping()
      await keys.requireKeys()
    },
    async close() {
      await writer.close()
      idempotency.close()
      await folds.stop()
      await store.close()
    },
  }
}

/** Returns the time at which the events of the key were committed in each partition. */
async function readAcceptedMs(
  idempotency: GatewayOptions['idempotency'],
  project: string,
  idempotencyKey: string,
  partitions: ReadonlySet<number>,
): Promise<ReadonlyMap<number, number>> {
  const entries = [...partitions].map(
    async (partition) => [partition, await idempotency.readAcceptedMs(project, idempotencyKey, partition)] as const,
  )
  return new Map(await Promise.all(entries))
}

/** The decoder of a batch without points. */
function decodeNothing(): void {}

/** Maximum number of metric names that are read from the store at once. Reading so many takes some milliseconds. */
const NAMES_PER_LISTING_STEP_MAX = 500

/** Yields the matching metrics in pages. Lets the event loop run between two reads from the store. */
async function* listMetrics(
  store: Store,
  project: string,
  { search, type, after, limit = Number.POSITIVE_INFINITY }: MetricFilter = {},
): AsyncGenerator<readonly MetricRow[]> {
  const lowerCaseSearch = search?.toLowerCase()
  const isFiltered = type !== undefined || lowerCaseSearch !== undefined
  let remaining = limit
  for (let lastName = after; remaining > 0; ) {
    const { metrics, next } = await store.listMetrics(project, {
      namesMax: isFiltered ? NAMES_PER_LISTING_STEP_MAX : Math.min(remaining, NAMES_PER_LISTING_STEP_MAX),
      ...(lastName === undefined ? {} : { after: lastName }),
      ...(lowerCaseSearch === undefined
        ? {}
        : { matches: (name: string) => name.toLowerCase().includes(lowerCaseSearch) }),
    })
    const page = metrics.filter((row) => type === undefined || row.type === type).slice(0, remaining)
    remaining -= page.length
    if (page.length > 0) yield page
    if (next === undefined) return
    lastName = next
    await new Promise(setImmediate)
  }
}

/**
 * Reads a metric. Returns undefined also for a metric that was defined and never received a point: for clients it does
 * not exist.
 */
async function findMetricWithPoints(store: Store, project: string, name: string): Promise<MetricRow | undefined> {
  if (name.length > METRIC_NAME_CODE_UNITS_MAX) return undefined
  const row = await store.readMetric(project, name)
  return row === undefined || row.points === 0 ? undefined : row
}
