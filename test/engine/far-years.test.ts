import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import { parseInstant } from '../../src/model/parse-instant.ts'
import { formatInstant } from '../../src/model/time.ts'
import type { QueryResult } from '../../src/query/compute/result.ts'
import type { QueryInput } from '../../src/query/plan/request.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { ask, refusal, rows, track } from './harness.ts'

/** Whatever instant is answered can be asked about: at the ends of the calendar too. */

const NOW_MS = Date.parse('2026-05-05T12:00:00Z')
let gateway: TestGateway

beforeAll(async () => {
  gateway = await startGateway({ now: () => NOW_MS })
  await track(gateway, 'load', 'gauge', [
    { at: '0003-04-05T00:00:00Z', value: 3 },
    { at: '2026-05-05T11:00:00Z', value: 5 },
  ])
})
afterAll(() => gateway.close())

test('the bucket that begins before the first year is shown to begin with it', async () => {
  const range = { from: '0001-01-01', to: '0004-12-31' }
  expect(await rows(gateway, { metric: 'load', ...range, interval: '10y' })).toEqual(['0001-01-01T00:00:00Z 3'])
  expect(await rows(gateway, { metric: 'load', ...range, interval: '100y', timezone: 'America/New_York' })).toEqual([
    '0001-01-01T00:00:00Z 3',
  ])
})

test('the last bucket is shown to end with the last year', async () => {
  const result = await ask(gateway, {
    metric: 'load',
    from: '2026-01-01',
    to: '9999-12-31T23:59:59.999Z',
    interval: '1y',
  })
  expect(formatInstant(result.endMs.at(-1)!)).toBe('9999-12-31T23:59:59.999Z')
  expect(formatInstant(result.toMs)).toBe('9999-12-31T23:59:59.999Z')
})

test('nothing is compared with what lies before the first year', async () => {
  const input = { metric: 'load', from: '0001-06-01', to: '0003-12-31', interval: '1mo' }
  expect(await refusal(gateway, { ...input, compare: { offset: '1y' } })).toMatchObject({
    code: 'invalid_range',
    details: { argument: 'compare' },
  })
})

test('every instant of an answer is read as itself, and asked about again gives the same first bucket', async () => {
  const day = fc.integer({ min: 0, max: 40_000 })
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        day.map((days) => Date.parse('0001-01-01') + days * 86_400_000),
        day.map((days) => Date.parse('9999-12-31') - days * 86_400_000),
      ),
      fc.integer({ min: 0, max: 30_000 }),
      fc.constantFrom('1w', '1mo', '1q', '1y', '10y', '100y', 'auto'),
      fc.constantFrom('UTC', 'America/New_York', 'Asia/Tokyo'),
      fc.constantFrom(undefined, { offset: '1y' }, { previousPeriod: true }),
      async (fromMs, days, interval, timezone, compare) => {
        const toMs = Math.min(fromMs + days * 86_400_000, Date.parse('9999-12-31T23:59:59.999Z'))
        const input: QueryInput = {
          metric: 'load',
          from: formatInstant(fromMs),
          to: formatInstant(toMs),
          interval,
          timezone,
        }
        const result = await resultOf({ ...input, ...(compare && { compare }) })
        if (result === undefined) return
        const { startMs, endMs, comparison } = result
        const all = [startMs, endMs, comparison?.startMs ?? [], comparison?.endMs ?? []].flatMap((column) => [
          ...column,
        ])
        for (const ms of [result.fromMs, result.toMs, ...all]) expect(parseInstant(formatInstant(ms))).toBe(ms)
        if (interval === 'auto') return
        const again = await resultOf({ ...input, from: formatInstant(startMs[0]!), to: formatInstant(startMs[0]!) })
        if (again !== undefined) expect(again.startMs[0]).toBe(startMs[0])
      },
    ),
    { numRuns: 150 },
  )
})

/**
 * Undefined where the range is refused, or the days of a zone lie inside stored buckets: local mean time has odd
 * seconds.
 */
async function resultOf(input: QueryInput): Promise<QueryResult | undefined> {
  try {
    return await ask(gateway, input)
  } catch (error) {
    if (error instanceof GatewayError && ['invalid_range', 'invalid_interval'].includes(error.code)) return undefined
    throw error
  }
}
