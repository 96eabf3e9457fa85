import { encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { STEP_ROWS_MAX, STEP_WINDOWS_MAX } from '../../src/write/fold/fold-step.ts'
import { startGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'

/**
 * One project sends points that are as far apart, as heavy, as large and as small as they may be, through every door,
 * and some that may not be, while another project sends ordinary ones.
 */

const RUNS = 12
const HOSTILE = 'hostile-0123456789'
const NEIGHBOUR = 'neighbour-0123456789'
const TYPES = ['gauge', 'counter', 'distribution', 'set'] as const

interface Point {
  readonly type: (typeof TYPES)[number]
  readonly value: number
  readonly weight: number
  readonly seconds: number
  readonly host: string
}

const value = fc.oneof(
  fc.constantFrom(0, -0, 1, 2, 5e-324, Number.MAX_VALUE, -Number.MAX_VALUE, 2 ** 53, 2 ** 53 + 2, 1e300, -1e300),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
)
const weight = fc.constantFrom(1, 3, 2 ** 53 - 6, 2 ** 53 - 1, 2 ** 53, 2 ** 53 + 2, 1e300)
const seconds = fc.oneof(
  fc.constantFrom(1_700_000_000, 1_700_000_000.123, 0, -1, -62_000_000_000),
  fc.integer({ min: -62_000_000_000, max: 1_700_000_000 }),
)
const point: fc.Arbitrary<Point> = fc.record({
  type: fc.constantFrom(...TYPES),
  value,
  weight,
  seconds,
  host: fc.constantFrom('a', 'b'),
})

const flux = ({ type, value: amount, seconds: timestamp, host }: Point) => ({
  name: `flux.${type}`,
  type,
  value: type === 'set' ? `member-${amount}` : amount,
  timestamp,
  tags: { host },
})

const betterStack = ({ type, value: amount, weight: rate, seconds: dt, host }: Point) => {
  const measured = {
    gauge: { gauge: { value: amount } },
    counter: { counter: { value: amount }, kind: rate > 1 ? 'absolute' : 'incremental' },
    distribution: {
      distribution: {
        samples: [
          { value: amount, rate },
          { value: -amount, rate },
        ],
      },
    },
    set: { set: { values: [`member-${amount}`] } },
  }
  return { name: `stack.${type}`, dt, tags: { host }, ...measured[type] }
}

interface Door {
  readonly path: string
  readonly type: string
  readonly body: (points: readonly Point[]) => string | Uint8Array<ArrayBuffer>
}

const DOORS: readonly Door[] = [
  { path: '/api/v1/metrics/batch', type: 'application/json', body: (points) => JSON.stringify(points.map(flux)) },
  { path: '/', type: 'application/json', body: (points) => JSON.stringify(points.map(betterStack)) },
  {
    path: '/metrics',
    type: 'application/x-ndjson',
    body: (points) => points.map((each) => JSON.stringify(betterStack(each))).join('\n'),
  },
  { path: '/metrics', type: 'application/msgpack', body: (points) => encode(points.map(betterStack)) },
  {
    path: '/graphql',
    type: 'application/json',
    body: (points) =>
      JSON.stringify({
        query: 'mutation ($metrics: [MetricInput!]!) { trackMetrics(metrics: $metrics) { accepted rejected } }',
        variables: { metrics: points.map((each) => ({ ...flux(each), type: each.type.toUpperCase() })) },
      }),
  },
]

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server?.stop())

const STORES: readonly [string, () => Readonly<Record<string, string>>][] = [
  ['the embedded store', () => ({})],
  ['Redis', () => ({ REDIS_URL: server.url })],
]

describe.each(STORES)('on %s', (_, settings) => {
  test('hostile points neither fail, lose nor delay the points of others, and are folded in bounded steps', async () => {
    const gateway = await startGateway({
      env: {
        ...settings(),
        PARTITIONS: '1',
        FOLD_INBOX_AGE_MS: '3600000',
        API_KEYS: `${HOSTILE}:hostile:ingest+query+admin,${NEIGHBOUR}:neighbour:ingest+query`,
      },
    })
    const call = (path: string, key: string, body?: string | Uint8Array<ArrayBuffer>, type = 'application/json') =>
      fetch(`${gateway.url}${path}`, {
        headers: { authorization: `Bearer ${key}`, 'content-type': type },
        ...(body === undefined ? {} : { method: 'POST', body }),
      })
    let sent = 0
    const neighbours = () =>
      Array.from({ length: 5 }, async () => {
        sent++
        const response = await call('/api/v1/metrics', NEIGHBOUR, '{"name":"hits","type":"counter","value":1}')
        expect(response.status).toBe(201)
      })
    try {
      await fc.assert(
        fc.asyncProperty(
          fc.tuple(...DOORS.map(() => fc.array(point, { minLength: 1, maxLength: 40 }))),
          async (points) => {
            const hostile = DOORS.map(async ({ path, type, body }, i) => {
              const response = await call(path, HOSTILE, body(points[i]!), type)
              expect(response.status, await response.text()).toBeLessThan(300)
            })
            await Promise.all([...hostile, ...neighbours()])
          },
        ),
        { numRuns: RUNS },
      )
      // As far apart as one request may bring them.
      const apart = Array.from({ length: 500 }, (__, i): Point => {
        return { type: 'gauge', value: i, weight: 1, seconds: 1_700_000_000 - i * 4_000_000, host: 'a' }
      })
      await Promise.all([call(DOORS[0]!.path, HOSTILE, DOORS[0]!.body(apart)), ...neighbours()])

      await gateway.folds.drain()
      expect(await gateway.store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
      const { totals } = gateway.folds
      expect(totals).toMatchObject({ failures: 0, rowsOmitted: 0, blocksOmitted: 0 })
      expect(totals.largestStepRows).toBeLessThanOrEqual(STEP_ROWS_MAX)
      expect(totals.largestStepWindows).toBeLessThanOrEqual(STEP_WINDOWS_MAX)
      expect(totals.steps).toBeGreaterThan(4)

      const counted = await call('/api/v1/metrics/hits/query?interval=1d&aggregation=sum', NEIGHBOUR)
      const { data } = (await counted.json()) as { data: { series: readonly { value: number }[] } }
      expect(data.series.reduce((sum, { value }) => sum + value, 0)).toBe(sent)
      for (const name of ['flux', 'stack'].flatMap((door) => TYPES.map((type) => `${door}.${type}`))) {
        const aggregation = name.endsWith('distribution') ? 'count,sum,p50,p99' : 'count'
        const range = `from=0001-01-02&to=2024-01-01&interval=1w&fill=none&aggregation=${aggregation}`
        const response = await call(`/api/v1/metrics/${name}/query?${range}`, HOSTILE)
        expect(response.status, await response.text()).toBeLessThan(500)
      }
    } finally {
      await gateway.close()
    }
  }, 240_000)
})
