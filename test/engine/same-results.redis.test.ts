import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import { partitionOf, type TrackedType } from '../../src/model/metric.ts'
import type { PointSink } from '../../src/model/point.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/model/time.ts'
import { EventReader } from '../../src/query/events.ts'
import type { QueryInput } from '../../src/query/plan/request.ts'
import type { Querier } from '../../src/query/querier.ts'
import type { MetricRow } from '../../src/store/catalog.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import { openRedisStore } from '../../src/store/redis/redis-store.ts'
import type { Store } from '../../src/store/store.ts'
import type { Writer } from '../../src/write/commit/writer.ts'
import { foldInbox } from '../../src/write/fold/fold.ts'
import { mergeWindow } from '../../src/write/fold/merge-window.ts'
import { clearDeletedMetrics, expireDueWindows, expireEvents } from '../../src/write/fold/remove-expired.ts'
import { Idempotency } from '../../src/write/idempotency.ts'
import { FOLD_SETTINGS, openQuerier, openWriter, PROJECT } from '../support/engine.ts'
import { listAll } from '../support/list-metrics.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'

/**
 * Two engines, one on the embedded store and one on Redis, are told and asked the same under one clock: whatever is
 * folded, merged or let go in between, and in what order, they answer alike, to the last bit of every number.
 */

const RUNS = 4
const PARTITIONS = 2
const START_MS = Date.parse('2026-05-05T12:34:56.789Z')

const TYPES: readonly TrackedType[] = ['gauge', 'counter', 'distribution', 'set']
const AGGREGATIONS: Readonly<Record<TrackedType, readonly string[]>> = {
  gauge: ['last', 'first', 'avg', 'min', 'max', 'sum', 'count'],
  counter: ['sum', 'rate', 'count', 'last'],
  distribution: ['avg', 'sum', 'min', 'max', 'count', 'p0', 'p50', 'p95', 'p99.9', 'p100'],
  set: ['count'],
}

/** What a gateway is made of, but for the loop that folds: here a step says when. */
interface Engine {
  readonly store: Store
  readonly writer: Writer
  readonly idempotency: Idempotency
  readonly querier: Querier
  readonly events: EventReader
  /** Ids of events are drawn; here both engines draw the same. */
  eventsTracked: number
}

let nowMs = START_MS
const now = (): number => nowMs

function openEngine(store: Store): Engine {
  return {
    store,
    writer: openWriter(store, {}, {}, now),
    idempotency: new Idempotency(
      store,
      { storeWaitMsMax: 5_000, retainedMsMax: 30_000, lossCheckIntervalMs: 1_000 },
      now,
    ),
    querier: openQuerier(store, {}, now),
    events: new EventReader(store, now),
    eventsTracked: 0,
  }
}

let server: RedisServer
let folder: string
let engines: readonly Engine[] = []

beforeAll(async () => {
  server = await startRedis()
  folder = await mkdtemp(join(tmpdir(), 'gaugeql-same-'))
  const shape = { ...FOLD_SETTINGS, partitions: PARTITIONS, now }
  engines = [
    openEngine(await openEmbeddedStore({ folder, ...shape })),
    openEngine(await openRedisStore({ url: server.url, prefix: 'same', ...shape })),
  ]
})
afterAll(async () => {
  for (const { writer, idempotency, store } of engines) {
    idempotency.close()
    await writer.close()
    await store.close()
  }
  await server?.stop()
  await rm(folder, { recursive: true, force: true })
})

/** What is drawn, and what it does to a gateway. The answers of both are compared. */
interface Step {
  readonly name: string
  readonly drawn: unknown
  take(engine: Engine, run: number): Promise<unknown>
}

function step<T>(
  name: string,
  arbitrary: fc.Arbitrary<T>,
  take: (engine: Engine, drawn: T, run: number) => Promise<unknown>,
): fc.Arbitrary<Step> {
  return arbitrary.map((drawn) => ({ name, drawn, take: (engine, run) => take(engine, drawn, run) }))
}

const nameOf = (type: TrackedType, run: number): string => `${type}.${run}`

/** How long ago: mostly of late, so that points meet in buckets; sometimes where windows have expired. */
const ago = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(0, 1, 5_000, 10_000, MINUTE_MS) },
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 2 * HOUR_MS }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 3 * DAY_MS }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 60 * DAY_MS }) },
)

const point = fc.record({
  type: fc.constantFrom(...TYPES),
  tags: fc.record({ host: fc.constantFrom('a', 'b', ''), path: fc.constantFrom('/users', '/orders,1') }),
  ago,
  value: fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  weight: fc.constantFrom(0, 0, 3),
  isTotal: fc.boolean(),
  member: fc.nat({ max: 3_000 }),
})

const batch = fc.record({
  points: fc.array(point, { maxLength: 60, size: 'max' }),
  events: fc.array(fc.record({ name: fc.constantFrom('deploy', 'alarm'), ago }), { maxLength: 2 }),
  /** Used again, with the same batch or another one. */
  key: fc.option(fc.nat({ max: 3 }), { nil: undefined, freq: 3 }),
})

const track = step('track', batch, async (engine, { points, events, key }, run) => {
  const partitionEvents = events.map(({ name, ago: ms }) => ({
    partition: partitionOf(PROJECT, name, PARTITIONS),
    event: {
      project: PROJECT,
      id: String(engine.eventsTracked++).padStart(26, '0'),
      timeMs: nowMs - ms,
      json: JSON.stringify({ name, number: engine.eventsTracked }),
    },
  }))
  const decode = (sink: PointSink): void => {
    for (const [i, { type, tags, ago: ms, value, weight, isTotal, member }] of points.entries()) {
      const series = sink.resolve(nameOf(type, run), type, Object.entries(tags))
      const timeMs = nowMs - ms
      if ('code' in series) sink.reject(i, series)
      else if (type === 'set') sink.addMember(i, series, timeMs, `member-${member}`)
      else if (type === 'counter' && isTotal) sink.addTotal(i, series, timeMs, Math.abs(value))
      else if (type === 'gauge' && isTotal && weight > 0) sink.addEnd(i, series, timeMs)
      else if (type === 'distribution' && weight > 0) sink.addWeighted(i, series, timeMs, value, weight)
      else sink.add(i, series, timeMs, value)
    }
  }
  if (key === undefined) return engine.writer.track(PROJECT, decode, undefined, partitionEvents)
  const request = { key: `${run}-${key}`, requestHash: JSON.stringify({ points, events }) }
  return engine.idempotency.serveOnce(PROJECT, request, async () => {
    const rejected = await engine.writer.track(PROJECT, decode, request.key, partitionEvents)
    return { status: 201, body: JSON.stringify([rejected, nowMs]) }
  })
})

const question = fc.record({
  type: fc.constantFrom(...TYPES),
  from: ago,
  length: ago,
  interval: fc.constantFrom('10s', '1m', '5m', '1h', '7h', '1d', '1w', 'auto'),
  timezone: fc.constantFrom('UTC', 'Europe/Berlin', 'Asia/Kathmandu'),
  groupBy: fc.constantFrom<readonly string[]>([], ['host'], ['path', 'host']),
  isBySeries: fc.constantFrom(true, false, false),
  hosts: fc.constantFrom<readonly string[] | undefined>(undefined, undefined, ['a'], ['b', ''], ['nobody']),
})

async function metricOf({ store }: Engine, type: TrackedType, run: number): Promise<MetricRow> {
  const row = await store.readMetric(PROJECT, nameOf(type, run))
  if (row === undefined) throw new GatewayError('metric_not_found', nameOf(type, run))
  return row
}

const query = step('query', question, async (engine, drawn, run) => {
  const { type, from, length, interval, timezone, groupBy, isBySeries, hosts } = drawn
  const input: QueryInput = {
    metric: nameOf(type, run),
    from: nowMs - from,
    to: nowMs - from + length,
    interval,
    timezone,
    aggregations: AGGREGATIONS[type],
    ...(isBySeries ? { bySeries: true } : { groupBy }),
    tags: new Map(hosts === undefined ? [] : [['host', hosts]]),
  }
  const { meta, ...result } = await engine.querier.query(await metricOf(engine, type, run), input)
  const { durationMs: _, ...counted } = meta
  return { ...result, meta: counted }
})

/** Some of the inbox, block by block or much at once. */
const fold = step(
  'fold',
  fc.record({ partition: fc.nat({ max: PARTITIONS - 1 }), steps: fc.integer({ min: 1, max: 6 }), whole: fc.boolean() }),
  async ({ store }, { partition, steps, whole }) => {
    const folded: unknown[] = []
    for (let i = 0; i < steps; i++) {
      folded.push(await foldInbox(store, partition, { ...FOLD_SETTINGS, stepBytesMax: whole ? 1 << 20 : 1 }, nowMs))
    }
    return folded
  },
)

const merge = step('merge', fc.boolean(), async ({ store }, isSealing) => {
  const merged: unknown[] = []
  for (let partition = 0; partition < PARTITIONS; partition++) {
    for (const window of await store.dueWindows(partition, Number.MAX_SAFE_INTEGER, 50)) {
      const isCoarse = window.resolutionMs > MINUTE_MS
      merged.push(await mergeWindow(store, partition, window, { isSealing, isCoarse, nowMs }))
    }
  }
  return merged
})

/** Lets go of what is over. */
const retain = step('retain', fc.constant(undefined), async ({ store }) => {
  const gone: unknown[] = []
  for (let partition = 0; partition < PARTITIONS; partition++) {
    gone.push(await expireDueWindows(store, partition, FOLD_SETTINGS, nowMs))
    gone.push(await expireEvents(store, partition, nowMs - 2 * DAY_MS, () => false))
    await clearDeletedMetrics(store, partition, nowMs, () => false)
  }
  await store.sweep(nowMs)
  return gone
})

/** The name lives on when the next point comes. */
const remove = step('delete', fc.constantFrom<TrackedType>(...TYPES), async (engine, type, run) => {
  const { name, generation } = await metricOf(engine, type, run)
  return engine.writer.deleteMetric({ project: PROJECT, name, generation })
})

/** The clock is one for both: it moves before they are asked. */
const wait = fc
  .constantFrom(1_000, MINUTE_MS, HOUR_MS, 7 * HOUR_MS, 2 * DAY_MS, 8 * DAY_MS)
  .map((ms) => ({ name: 'wait', drawn: ms, take: async () => undefined }))

const list = step('list', fc.constantFrom<TrackedType>(...TYPES), async (engine, type, run) => {
  const metric = await metricOf(engine, type, run)
  return {
    metric,
    values: await engine.querier.tagValues(metric, 'host', 2),
    after: await listAll(engine.store, PROJECT, { after: nameOf('counter', run) }),
  }
})

const events = step('events', fc.constantFrom('deploy', 'a*', undefined), async (engine, name) => {
  const found: unknown[] = []
  for (let after: string | undefined; ; ) {
    const page = await engine.events.readPage(PROJECT, { name, from: 0, to: nowMs, limit: 3, after })
    found.push(...page.events)
    after = page.nextCursor
    if (after === undefined) return found
  }
})

const steps = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: track },
    { weight: 10, arbitrary: query },
    { weight: 4, arbitrary: fold },
    { weight: 2, arbitrary: merge },
    { weight: 3, arbitrary: retain },
    { weight: 3, arbitrary: wait },
    { weight: 1, arbitrary: remove },
    { weight: 2, arbitrary: list },
    { weight: 1, arbitrary: events },
  ),
  { minLength: 40, maxLength: 80, size: 'max' },
)

/** The result, or the error of a refused call. */
function resultOrError(promise: Promise<unknown>): Promise<unknown> {
  return promise.catch((error: unknown) => {
    if (error instanceof GatewayError) return { code: error.code, message: error.message, details: error.details }
    throw error
  })
}

test('two engines on different stores get the same points and queries, and return the same results', async () => {
  const outcomes = { returned: 0, refused: 0 }
  let runs = 0
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      const run = runs++
      for (const { name, drawn, take } of sequence) {
        nowMs += name === 'wait' ? Number(drawn) : 1_000
        const [embedded, redis] = await Promise.all(engines.map((engine) => resultOrError(take(engine, run))))
        expect(redis, `${name} ${JSON.stringify(drawn)}`).toEqual(embedded)
        outcomes[typeof embedded === 'object' && 'code' in (embedded ?? {}) ? 'refused' : 'returned']++
      }
    }),
    // Shrinking takes minutes; a failure prints its path, with which it can be shrunk.
    { numRuns: RUNS, seed: 20_260_505, endOnFailure: true },
  )
  // A test in which most is refused would say little.
  expect(outcomes.returned).toBeGreaterThan(4 * outcomes.refused)
}, 60_000)
