import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import type { QueryInput } from '../../src/query/plan/request.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { ask, refusal, type Sample, track } from './harness.ts'

/** Queries that are too large name an interval that is not: asked with it, they are answered. */

const NOW_MS = Date.parse('2026-05-05T12:34:56.789Z')
const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000

let nowMs = NOW_MS
let gateway: TestGateway

beforeAll(async () => {
  gateway = await startGateway({ now: () => nowMs, env: { QUERY_VALUES_MAX: '1000', QUERY_ROLLUPS_MAX: '5000' } })
  const perHour = (hours: number, sample: (i: number) => Partial<Sample>): Sample[] =>
    Array.from({ length: hours }, (_, i) => ({ at: nowMs - i * HOUR_MS, ...sample(i) }))
  await track(
    gateway,
    'load',
    'gauge',
    perHour(60 * 24, (i) => ({ value: i, tags: { host: String(i % 20) } })),
  )
  await track(
    gateway,
    'users',
    'set',
    perHour(24, () => ({ member: 'x' })),
  )
  const minutes = Array.from({ length: 15 * 60 * 20 }, (_, i) => ({
    at: nowMs - Math.floor(i / 20) * 60_000,
    value: i,
    tags: { host: String(i % 20) },
  }))
  await track(gateway, 'dense', 'gauge', minutes)
  await gateway.folds.drain()
})

afterAll(() => gateway.close())

test.each([
  ['of a gauge, 10 s', { metric: 'load', last: '7d', interval: '1s' }, '10s'],
  ['of a set, a minute', { metric: 'users', last: '12h', interval: '10s' }, '1m'],
])('an interval below the base %s is refused for that, however many buckets it has', async (_, input, finest) => {
  expect(await refusal(gateway, input)).toMatchObject({ code: 'invalid_interval', details: { finest } })
})

test.each([
  ['buckets of a gauge', { metric: 'load', last: '7d', interval: '1m' }],
  [
    'buckets of several aggregations',
    { metric: 'load', last: '7d', interval: '15m', aggregations: ['min', 'max', 'avg'] },
  ],
  ['buckets of thousands of years', { metric: 'load', from: '0001-01-01T00:00:00Z', interval: '1w' }],
  ['groups', { metric: 'load', last: '60d', interval: '1d', groupBy: ['host'], aggregations: ['min', 'max'] }],
  ['days of a zone', { metric: 'load', last: '20d', interval: '15m', timezone: 'Asia/Kathmandu' }],
  ['rollups', { metric: 'dense', from: '2026-05-04T22:00:00Z', to: '2026-05-05T11:59:59Z', interval: '1m' }],
])('of too many %s', async (_, input) => {
  const refused = await refusal(gateway, input)
  expect(refused.code).toBe('query_too_large')
  const interval = refused.details?.['fits']
  expect(interval).toBeTypeOf('string')
  const result = await ask(gateway, { ...input, interval: String(interval) })
  expect(result.groups.length).toBeGreaterThan(0)
})

test('the interval that is named is accepted, whatever the zone, the range and the comparison', async () => {
  const days = 40
  const small = await startGateway({ now: () => NOW_MS, env: { QUERY_VALUES_MAX: '400', QUERY_ROLLUPS_MAX: '300' } })
  const hours = Array.from({ length: days * 24 }, (_, i) => ({ at: NOW_MS - i * HOUR_MS, value: i }))
  await track(small, 'one', 'gauge', hours)
  const hosts = hours.slice(0, 100).map((sample, i) => ({ ...sample, tags: { host: String(i % 4) } }))
  await track(small, 'four', 'gauge', hosts)
  await small.folds.drain()
  const attempt = (input: QueryInput) =>
    ask(small, input).catch((error: unknown) => {
      if (error instanceof GatewayError) return error
      throw error
    })
  let suggestions = 0
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        metric: fc.constantFrom('one', 'four'),
        from: fc.integer({ min: 1, max: days * 8 }).map((i) => Math.floor(NOW_MS / DAY_MS) * DAY_MS - 3 * i * HOUR_MS),
        length: fc.constantFrom(2 * HOUR_MS, DAY_MS, 3 * DAY_MS, 20 * DAY_MS, 33 * DAY_MS),
        interval: fc.constantFrom('10s', '15m', '1h', '6h', '1d', '24h'),
        timezone: fc.constantFrom('UTC', 'Europe/Berlin', 'Asia/Kathmandu', 'America/St_Johns', '+05:30'),
        compare: fc.constantFrom({}, { offset: '6h' }, { offset: '3d' }),
      }),
      async ({ length, ...query }) => {
        const input = { ...query, to: query.from + length - 1, groupBy: query.metric === 'four' ? ['host'] : [] }
        const refused = await attempt(input)
        if (!(refused instanceof GatewayError) || refused.details?.['fits'] === undefined) return
        // Refused before the index of the compared period is read, or before the groups that have data are counted.
        if ('bucketsMax' in refused.details && 'offset' in query.compare) return
        if (!('groups' in refused.details) && query.metric === 'four') return
        suggestions++
        expect(await attempt({ ...input, interval: String(refused.details['fits']) })).not.toBeInstanceOf(GatewayError)
      },
    ),
    { numRuns: 250, endOnFailure: true },
  )
  expect(suggestions).toBeGreaterThan(10)
  await small.close()
}, 60_000)

test('a hint names no interval that is no longer kept', async () => {
  nowMs = NOW_MS + 2 * HOUR_MS
  for (let i = 0; i < 60; i++) {
    nowMs += DAY_MS / 4
    await gateway.folds.drain()
  }
  const input = { metric: 'load', from: NOW_MS - 2 * DAY_MS, to: NOW_MS, interval: '1m' }
  const refused = await refusal(gateway, input)
  expect(refused.code).toBe('query_too_large')
  const interval = String(refused.details?.['fits'])
  expect(await ask(gateway, { ...input, interval })).toMatchObject({ interval })
})

test('more groups than a result may have are refused without a hint', async () => {
  const samples = Array.from({ length: 1_200 }, (_, i) => ({ at: nowMs, value: 1, tags: { host: String(i) } }))
  await track(gateway, 'wide', 'gauge', samples)
  const refused = await refusal(gateway, { metric: 'wide', last: '1h', bySeries: true })
  expect(refused.code).toBe('query_too_large')
  expect(refused.details).not.toHaveProperty('fits')
})
