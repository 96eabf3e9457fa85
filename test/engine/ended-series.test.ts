import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DAY_MS, HOUR_MS } from '../../src/model/time.ts'
import { updateBetween } from '../../src/query/live/live-patch.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { type Series, STALE, snappyLiterals, writeRequestV1, writeRequestV2 } from '../support/remote-write.ts'
import { ask, PROJECT, rows, rowsOf } from './harness.ts'

/** Stale markers of remote write: a gauge has no last value after one, until its next sample. */

const T0_MS = Date.parse('2026-05-05T12:00:00Z')
const at = (seconds: number): number => T0_MS + seconds * 1_000

let gateway: TestGateway
beforeAll(async () => {
  gateway = await startGateway({ now: () => at(6 * 3_600) })
})
afterAll(() => gateway.close())

type Value = number | typeof STALE

async function send(series: readonly Series[], version: 1 | 2 = 1): Promise<void> {
  const body = version === 1 ? writeRequestV1(series) : writeRequestV2(series)
  const type = version === 1 ? '' : ';proto=io.prometheus.write.v2.Request'
  const response = await fetch(`${gateway.url}/api/v1/write`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${gateway.key}`,
      'content-type': `application/x-protobuf${type}`,
      'content-encoding': 'snappy',
    },
    body: Uint8Array.from(snappyLiterals(body)),
  })
  expect([response.status, await response.text()]).toEqual([204, ''])
}

let metrics = 0
/** Sends each sample in a request of its own, and returns the name of the metric. */
async function sent(samples: readonly (readonly [seconds: number, value: Value, pod?: string])[]): Promise<string> {
  const name = `ended_${metrics++}`
  for (const [i, [seconds, value, pod = 'a']] of samples.entries())
    await send([{ labels: { __name__: name, pod }, samples: [[value, at(seconds)]] }], i % 2 === 0 ? 1 : 2)
  return name
}

const FIRST_MINUTE = { from: T0_MS, to: at(59), interval: '10s' }

describe.each(['in the inbox', 'folded'])('%s', (where) => {
  const settled = async (name: string): Promise<string> => {
    if (where === 'folded') await gateway.folds.drain()
    return name
  }

  it('later buckets have no last value, until the next sample', async () => {
    const given = [
      [2, 5],
      [12, 6],
      [27, STALE],
      [44, 7],
    ] as const
    const metric = await settled(await sent(given))
    expect(await rows(gateway, { metric, ...FIRST_MINUTE })).toEqual([
      '2026-05-05T12:00:00Z 5',
      '2026-05-05T12:00:10Z 6',
      '2026-05-05T12:00:40Z 7',
    ])
    const filled = await rows(gateway, { metric, ...FIRST_MINUTE, fill: 'previous', aggregations: ['last', 'max'] })
    expect(filled.map((row) => row.slice(21))).toEqual(['5 5', '6 6', 'null 6', 'null 6', '7 7', '7 7'])
  })

  it('a bucket with a sample and then an end has no last value, and keeps its other aggregations', async () => {
    const metric = await settled(
      await sent([
        [2, 5],
        [4, 8],
        [7, STALE],
        [70, STALE],
      ]),
    )
    const aggregations = ['last', 'first', 'avg', 'min', 'max', 'sum', 'count']
    for (const interval of ['10s', '1m', '1h']) {
      const result = await ask(gateway, { metric, from: T0_MS, to: at(59), interval, aggregations })
      expect(rowsOf(result)['']).toEqual(['2026-05-05T12:00:00Z null 5 6.5 5 8 13 2'])
      expect(result.groups[0]!.totals.get('last')).toBeNaN()
      expect(result.groups[0]!.totals.get('avg')).toBe(6.5)
    }
  })

  it('the other series of a group keep theirs', async () => {
    const given = [
      [2, 5, 'a'],
      [3, 8, 'b'],
      [7, STALE, 'a'],
      [12, 9, 'b'],
      [25, STALE, 'b'],
      [36, 1, 'c'],
    ] as const
    const metric = await settled(await sent(given))
    expect(await rows(gateway, { metric, ...FIRST_MINUTE, fill: 'previous' })).toEqual([
      '2026-05-05T12:00:00Z 8',
      '2026-05-05T12:00:10Z 9',
      '2026-05-05T12:00:20Z null',
      '2026-05-05T12:00:30Z 1',
      '2026-05-05T12:00:40Z 1',
      '2026-05-05T12:00:50Z 1',
    ])
    const minute = { metric, from: T0_MS, to: at(59), interval: '1m' }
    expect(rowsOf(await ask(gateway, { ...minute, groupBy: ['pod'] }))).toEqual({
      a: ['2026-05-05T12:00:00Z null'],
      b: ['2026-05-05T12:00:00Z null'],
      c: ['2026-05-05T12:00:00Z 1'],
    })
    // A series that is still alive, although another one ended after its last sample.
    const toEnd = await ask(gateway, { metric, from: T0_MS, to: at(9), interval: '10s', groupBy: ['pod'] })
    expect(toEnd.groups.map(({ totals }) => totals.get('last'))).toEqual([Number.NaN, 8])
    expect((await ask(gateway, { metric, from: T0_MS, to: at(9) })).groups[0]!.totals.get('last')).toBe(8)
  })

  it('the last value before a range is not carried past its end', async () => {
    const metric = await settled(
      await sent([
        [2, 5],
        [17, STALE],
      ]),
    )
    for (const [from, interval] of [
      [at(20), '10s'],
      [at(120), '1m'],
      [at(4 * 3_600), '15m'],
    ] as const) {
      const input = {
        metric,
        from,
        to: from + 5_000,
        interval,
        fill: 'previous',
        aggregations: ['last', 'max'],
      } as const
      expect((await rows(gateway, input)).map((row) => row.slice(21))).toEqual(['null 5'])
    }
  })

  it('an end that arrives late, or again, counts at its time', async () => {
    const metric = await settled(
      await sent([
        [44, 7],
        [12, STALE],
        [2, 5],
        [12, STALE],
      ]),
    )
    const filled = await rows(gateway, { metric, ...FIRST_MINUTE, fill: 'previous' })
    expect(filled.map((row) => row.slice(21))).toEqual(['5', 'null', 'null', 'null', '7', '7'])
  })
})

it('a live query gets a patch of what is no longer carried', async () => {
  const metric = await sent([[2, 5]])
  const input = { metric, ...FIRST_MINUTE, fill: 'previous' } as const
  const before = await ask(gateway, input)
  await send([{ labels: { __name__: metric, pod: 'a' }, samples: [[STALE, at(27)]] }])
  const update = updateBetween(before, await ask(gateway, input), { withTotals: true, isRanked: false })
  expect(update?.kind).toBe('patch')
  expect(rowsOf(update!.result)['']).toEqual([
    '2026-05-05T12:00:20Z null',
    '2026-05-05T12:00:30Z null',
    '2026-05-05T12:00:40Z null',
    '2026-05-05T12:00:50Z null',
  ])
})

it('markers are not points', async () => {
  const metric = await sent([
    [2, 5],
    [27, STALE],
  ])
  const [row] = await gateway.gateway.metrics(PROJECT, { search: metric })
  expect(row).toMatchObject({ name: metric, points: 1, firstSeenMs: at(2), lastSeenMs: at(2) })
})

it('running totals have no markers', async () => {
  const name = 'ended_total'
  await send([
    {
      labels: { __name__: name },
      samples: [
        [5, at(2)],
        [STALE, at(12)],
        [9, at(22)],
      ],
    },
  ])
  expect(await rows(gateway, { metric: name, ...FIRST_MINUTE, aggregations: ['sum', 'last'] })).toEqual([
    '2026-05-05T12:00:00Z 0 5',
    '2026-05-05T12:00:20Z 4 9',
  ])
})

describe('last values of one series', () => {
  it('are those of a reference, at every interval', async () => {
    const sample = fc.tuple(fc.integer({ min: 0, max: 5 * 60 - 1 }), fc.option(fc.integer({ min: 0, max: 9 })))
    // A metric without a sample does not exist.
    const samples = fc
      .uniqueArray(sample, { selector: ([seconds]) => seconds, maxLength: 25 })
      .filter((given) => given.some(([, value]) => value !== null))
    await fc.assert(
      fc.asyncProperty(samples, fc.constantFrom(10, 20, 60), fc.boolean(), async (given, width, isFolded) => {
        const name = `ended_${metrics++}`
        for (let i = 0; i < given.length; i += 4) {
          const part = given.slice(i, i + 4)
          const values = part.map(([seconds, value]) => [value ?? STALE, at(seconds)] as const)
          await send([{ labels: { __name__: name }, samples: values }])
        }
        if (isFolded) await gateway.folds.drain()
        const input = {
          metric: name,
          from: at(60),
          to: at(5 * 60 - 1),
          interval: `${width}s`,
          fill: 'previous',
        } as const
        const result = await ask(gateway, { ...input, aggregations: ['last'] })
        const expected: string[] = []
        for (let start = 60; start < 5 * 60; start += width) {
          const known = given.filter(([seconds]) => seconds < start + width).sort(([a], [b]) => b - a)
          expected.push(`${new Date(at(start)).toISOString().replace('.000', '')} ${known[0]?.[1] ?? null}`)
        }
        expect(rowsOf(result)['']).toEqual(expected)
        const all = await ask(gateway, { ...input, fill: 'none', aggregations: ['first', 'last', 'count'] })
        const buckets = []
        for (let start = 60; start < 5 * 60; start += width) {
          const known = given
            .filter(([seconds]) => seconds >= start && seconds < start + width)
            .sort(([a], [b]) => a - b)
            .map(([, value]) => value)
          const values = known.filter((value) => value !== null)
          if (values.length > 0) buckets.push(`${values[0]} ${known.at(-1)} ${values.length}`)
        }
        expect(rowsOf(all)['']?.map((row) => row.slice(21))).toEqual(buckets)
      }),
      { numRuns: 60 },
    )
  })
})

it('an end of days ago is found at a coarse resolution', async () => {
  const metric = 'ended_long_ago'
  const agoMs = at(0) - 3 * DAY_MS
  await send([
    {
      labels: { __name__: metric },
      samples: [
        [5, agoMs],
        [STALE, agoMs + HOUR_MS],
      ],
    },
  ])
  const input = { metric, from: at(0), to: at(3_599), interval: '1h', fill: 'previous' } as const
  expect(await rows(gateway, input)).toEqual(['2026-05-05T12:00:00Z null'])
  const earlier = { ...input, from: agoMs + 120_000, to: agoMs + 2 * HOUR_MS - 1 }
  expect((await rows(gateway, earlier)).map((row) => row.slice(21))).toEqual(['5', 'null'])
})
