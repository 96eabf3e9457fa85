import { randomBytes } from 'node:crypto'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { ApiKeyAuthenticator, hashKey } from '../../src/access/api-keys.ts'
import { RateLimiter } from '../../src/access/rate-limiter.ts'
import { createGateway } from '../../src/gateway.ts'
import { registerGraphQL } from '../../src/graphql/server/graphql-routes.ts'
import { createPageAssets } from '../../src/http/pages/page-assets.ts'
import { EventIdGenerator } from '../../src/model/event-id.ts'
import { HOUR_MS, MINUTE_MS } from '../../src/model/time.ts'
import { EventReader } from '../../src/query/events.ts'
import { LiveQueries } from '../../src/query/live/live-queries.ts'
import type { QuerierSettings } from '../../src/query/querier.ts'
import type { Store } from '../../src/store/store.ts'
import { foldInbox } from '../../src/write/fold/fold.ts'
import { FoldLoop } from '../../src/write/fold/fold-loop.ts'
import { Idempotency } from '../../src/write/idempotency.ts'
import { DEFAULT_GRAPHQL_LIMITS } from '../support/default-limits.ts'
import { DEFAULT_RATE_LIMITS } from '../support/defaults.ts'
import {
  decoderOf,
  FOLD_SETTINGS,
  openQuerier,
  openStore,
  openWriter,
  PROJECT,
  T0_MS,
  type TestPoint,
} from '../support/engine.ts'
import { FaultyStore } from '../support/faulty-store.ts'
import { NO_TELEMETRY } from '../support/no-telemetry.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createApp, type GraphQLResponse } from './harness.ts'

/** The queries of a request share a session: each block is read once, each distinct query runs once, on one budget. */

let store: Store
let nowMs = T0_MS

beforeEach(async () => {
  nowMs = T0_MS
  store = await openStore(await temporaryFolder(), 1)
  onTestFinished(() => store.close())
  const writer = openWriter(store, {}, {}, () => nowMs)
  const points: TestPoint[] = []
  for (const [name, type] of [
    ['latency', 'distribution'],
    ['load', 'gauge'],
  ] as const) {
    for (let i = 0; i < 90; i++) {
      const timeMs = T0_MS - 2 * HOUR_MS + i * MINUTE_MS
      for (const host of ['a', 'b', 'c', 'd']) points.push({ name, type, value: i + 1, timeMs, tags: { host } })
    }
  }
  await writer.track(PROJECT, decoderOf(points))
  for (let i = 0; i < 8; i++) await foldInbox(store, 0, FOLD_SETTINGS, nowMs)
  // Some of it is not folded yet.
  await writer.track(
    PROJECT,
    decoderOf([{ name: 'load', type: 'gauge', value: 1_000, timeMs: T0_MS, tags: { host: 'a' } }]),
  )
})

function open(settings: Partial<QuerierSettings> = {}): {
  readonly faulty: FaultyStore
  run(query: string): Promise<GraphQLResponse>
} {
  const faulty = new FaultyStore(store)
  const now = () => nowMs
  const querier = openQuerier(faulty.store, settings, now)
  const folds = new FoldLoop(
    store,
    { ...FOLD_SETTINGS, inboxBytesMax: 1 << 30, inboxAgeMsMax: HOUR_MS, eventsKeptMs: HOUR_MS },
    { error: () => {} },
    now,
  )
  const idempotency = new Idempotency(
    store,
    { storeWaitMsMax: 100, retainedMsMax: 30_000, lossCheckIntervalMs: 1_000 },
    now,
  )
  const writer = openWriter(faulty.store, {}, {}, now)
  const keys = new ApiKeyAuthenticator(
    store,
    new Map([[hashKey('key'), { project: PROJECT, scopes: ['ingest', 'query'] }]]),
    now,
  )
  const limiter = new RateLimiter(store, { limits: DEFAULT_RATE_LIMITS, countersPerClassMax: 10 }, now)
  const live = new LiveQueries(
    {
      query: () => Promise.reject(new Error('nobody watches')),
      onCommit: () => () => {},
      now,
      startTimer: () => () => {},
    },
    { runIntervalMsMin: 1, pollIntervalMs: 1, subscriptionsMax: 1, subscriptionsPerKeyMax: 1, concurrentRunsMax: 1 },
  )
  const rest = {
    live,
    events: new EventReader(store, now),
    eventIdGenerator: new EventIdGenerator(now, randomBytes),
    keys,
    limiter,
    telemetry: NO_TELEMETRY,
  }
  const gateway = createGateway({ writer, idempotency, folds, querier, store: faulty.store, ...rest })
  const app = createApp()
  registerGraphQL(app, {
    readAssets: createPageAssets(),
    gateway,
    log: { error: () => {} },
    now,
    limits: DEFAULT_GRAPHQL_LIMITS,
    persisted: { mode: 'off', registeredDocuments: new Map(), sentDocumentCharsMax: 1 },
    streams: { keepAliveIntervalMs: 60_000, stallTimeoutMs: 60_000, unreadBytesMax: 1 },
  })
  return {
    faulty,
    run: async (query) => {
      const { body } = await app.inject({
        method: 'POST',
        url: '/graphql',
        headers: { authorization: 'Bearer key', 'content-type': 'application/json' },
        payload: JSON.stringify({ query }),
      })
      return JSON.parse(body)
    },
  }
}

const RANGE = `from: ${T0_MS - 2 * HOUR_MS}, to: ${T0_MS}`

/** Without a cache, only the session of the request can share blocks. */
test.each([
  ['with', 1 << 24],
  ['without', 1],
])('a document reads each block once, %s a cache of blocks', async (_, blockCacheBytesMax) => {
  const { faulty, run } = open({ blockCacheBytesMax })
  const { data, errors } = await run(`{
      a: query(metric: "latency", ${RANGE}, interval: "1h", aggregations: [AVG, P95]) { series { values } groups { total { count } } }
      b: query(metric: "latency", ${RANGE}, interval: "1h", aggregations: [MAX]) { series { values total } }
      c: query(metric: "latency", ${RANGE}, interval: "30m", groupBy: ["host"]) { series { values } }
      d: query(metric: "latency", ${RANGE}, interval: "1h", aggregations: [MAX], where: [{key: "host", eq: "b"}]) { series { values } }
      e: query(metric: "load", ${RANGE}, interval: "1h", fill: ZERO) { groups { buckets { values { max } } } }
      later: query(metric: "latency", ${RANGE}, interval: "1h", aggregations: [SUM]) {
        metric { query(${RANGE}, interval: "1h", groupBy: ["host"]) { series { values } } }
      }
      f: metric(name: "load") { query(${RANGE}, interval: "1h") { groups { total { max last } } } }
    }`)
  expect(errors).toBeUndefined()
  expect(data.a.groups[0].total.count).toBe(360)
  expect(data.b.series[0]).toEqual({ values: [60, 90], total: 90 })
  expect(data.c.series).toHaveLength(4)
  expect(data.d.series[0].values).toEqual([60, 90])
  expect(data.e.groups[0].buckets.map((row: { values: { max: number } }) => row.values.max)).toEqual([60, 90, 1_000])
  expect(data.f.query.groups[0].total).toEqual({ max: 1_000, last: 1_000 })
  const read = faulty.calls('readBlocks').flatMap(([, names, part]) => names.map((name) => `${name} ${part}`))
  expect(read.length).toBeGreaterThan(3)
  expect(new Set(read).size).toBe(read.length)
})

test('equal queries read the store once, whatever they select and compute', async () => {
  const { faulty, run } = open()
  const { data } = await run(`{
    a: query(metric: "load", ${RANGE}, interval: "1h", aggregations: [AVG]) { series { aggregation values } meta { cost } }
    b: query(metric: "load", ${RANGE}, interval: "60m", aggregations: [MAX, AVG], fill: NULL) { series { aggregation values } }
    c: query(metric: "load", ${RANGE}, interval: "1h", aggregations: [P95]) { series { values } }
    d: query(metric: "load", ${RANGE}, interval: "1h") { groups { total { min } } meta { cost } }
  }`)
  expect(faulty.calls('readIndex')).toHaveLength(1)
  expect(faulty.calls('readMetric')).toHaveLength(1)
  expect(data.a.series.map((line: { aggregation: string }) => line.aggregation)).toEqual(['avg'])
  expect(data.b.series.map((line: { aggregation: string }) => line.aggregation)).toEqual(['max', 'avg'])
  expect(data.b.series[1].values).toEqual(data.a.series[0].values)
  expect(data.c).toBeNull()
  expect(data.d.groups[0].total.min).toBe(1)
  expect(data.a.meta.cost).toBeGreaterThan(0)
  expect(data.d.meta.cost).toBe(data.a.meta.cost)
})

test('the limit of values applies to each alias and not to their sum', async () => {
  const { run } = open({ valuesMax: 5 })
  const aliasedQuery = (aggregation: string) =>
    `${aggregation}: query(metric: "load", ${RANGE}, interval: "1h", aggregations: [${aggregation}]) { series { values } }`
  const { data, errors } = await run(`{ ${['AVG', 'MIN', 'MAX', 'SUM'].map(aliasedQuery).join(' ')} }`)
  expect(errors).toBeUndefined()
  expect(data.SUM.series[0].values).toHaveLength(3)
  const alone = await run(`{ query(metric: "load", ${RANGE}, interval: "1h", aggregations: [AVG, MIN]) { interval } }`)
  expect(alone.errors).toMatchObject([{ extensions: { code: 'QUERY_TOO_LARGE' } }])
})

test('the queries of a request share one budget, and an error names an interval that fits', async () => {
  const cost = async (interval: string): Promise<number> => {
    const { data } = await open().run(`{ query(metric: "load", ${RANGE}, interval: "${interval}") { meta { cost } } }`)
    return data.query.meta.cost
  }
  const [fine, coarse] = [await cost('1m'), await cost('1h')]
  expect(coarse).toBeLessThan(fine)
  const { faulty, run } = open({ rollupsMax: fine + coarse })
  const aliasedQuery = (alias: string, metric: string, interval: string) =>
    `${alias}: query(metric: "${metric}", ${RANGE}, interval: "${interval}") { interval }`
  const { data, errors } = await run(`{ ${aliasedQuery('a', 'load', '1m')} ${aliasedQuery('b', 'latency', '1m')} }`)
  expect([data.a, data.b].filter((result) => result !== null)).toEqual([{ interval: '1m' }])
  expect(errors).toMatchObject([
    { extensions: { code: 'QUERY_TOO_LARGE', rollups: fine, rollupsLeft: coarse, fits: '1h' } },
  ])
  // Refused before anything was read.
  const read = faulty.calls('readBlocks').length
  const again = await run(`{ ${aliasedQuery('a', 'load', '1m')} ${aliasedQuery('b', 'latency', '1h')} }`)
  expect(again.errors).toBeUndefined()
  expect(faulty.calls('readBlocks').length).toBeGreaterThan(read)
})

test('each field of a mutation reads its own and earlier writes, at its own time', async () => {
  const { run } = open()
  const track = (alias: string, value: number) =>
    `${alias}: trackMetric(input: { name: "own", type: COUNTER, value: ${value} }) {
      metric { dataPoints query(last: "1h", interval: "1h") { series { total } meta { now } } }
    }`
  const { data, errors } = await run(`mutation { ${track('a', 1)} ${track('b', 2)} }`)
  expect(errors).toBeUndefined()
  const step = ({ metric }: { metric: { dataPoints: number; query: { series: { total: number }[] } } }) => [
    metric.dataPoints,
    metric.query.series[0]?.total,
  ]
  expect([step(data.a), step(data.b)]).toEqual([
    [1, 1],
    [2, 3],
  ])
})
