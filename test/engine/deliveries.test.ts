import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DAY_MS } from '../../src/model/time.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { encodeOtlp, type OtlpRequest, requestOf } from '../support/otlp-request.ts'
import { COUNTER, snappyLiterals, writeRequestV1, writeRequestV2 } from '../support/remote-write.ts'
import { rows } from './harness.ts'

/**
 * Counters of processes that restart and pause, sent by OTLP and by remote write. Requests arrive in any order, and
 * some of them twice. The increases are those of a reference that knows the order.
 */

const T0_MS = Date.parse('2026-05-05T12:00:00Z')
const SILENCE_MS_MAX = 7 * DAY_MS

let gateway: TestGateway
beforeAll(async () => {
  gateway = await startGateway({ now: () => T0_MS + 40 * DAY_MS })
})
afterAll(() => gateway.close())

/** One running total of a process, and the total before it. */
interface Sample {
  readonly startMs: number
  readonly timeMs: number
  readonly total: number
  /** The last total of the same process, 0 at its start, and when that was. */
  readonly before: number
  readonly beforeMs: number
}

const processes = fc.array(
  fc.record({
    pauseMs: fc.oneof({ weight: 5, arbitrary: fc.nat(90_000) }, { weight: 1, arbitrary: fc.constant(8 * DAY_MS) }),
    steps: fc.array(fc.record({ afterMs: fc.integer({ min: 2, max: 1_000_000 }), added: fc.nat(20) }), {
      minLength: 1,
      maxLength: 6,
    }),
  }),
  { minLength: 1, maxLength: 4 },
)

type Processes = typeof processes extends fc.Arbitrary<infer T> ? T : never

function samplesOf(given: Processes): Sample[] {
  const samples: Sample[] = []
  let timeMs = T0_MS
  for (const { pauseMs, steps } of given) {
    timeMs += pauseMs
    const startMs = timeMs
    let total = 0
    for (const { afterMs, added } of steps) {
      const before = { before: total, beforeMs: timeMs }
      timeMs += afterMs
      total += added
      samples.push({ startMs, timeMs, total, ...before })
    }
  }
  return samples
}

/** What a sender that names starts, or sends deltas, has counted at each sample. */
const known = (samples: readonly Sample[]) => samples.map(({ total, before }) => total - before)

/** What can be known of totals without starts: a lower total is a restart, and the first one counts nothing. */
const unknown = (samples: readonly Sample[]) =>
  samples.map(({ total, timeMs }, i) => {
    const before = samples[i - 1]
    if (before === undefined || timeMs - before.timeMs > SILENCE_MS_MAX) return 0
    return total < before.total ? total : total - before.total
  })

interface Sender {
  /** The path, headers and body of a request with these samples. */
  request(name: string, samples: readonly Sample[]): readonly [path: string, headers: object, body: string | Uint8Array]
  readonly increases: (samples: readonly Sample[]) => readonly number[]
}

const nanos = (ms: number): string => `${ms}000000`
const PROTOBUF = { 'content-type': 'application/x-protobuf' }
const SNAPPY = { ...PROTOBUF, 'content-encoding': 'snappy' }
const SNAPPY_V2 = { ...SNAPPY, 'content-type': 'application/x-protobuf;proto=io.prometheus.write.v2.Request' }

const totals = (name: string, samples: readonly Sample[]): OtlpRequest =>
  requestOf({
    name,
    sum: {
      aggregationTemporality: 2,
      isMonotonic: true,
      dataPoints: samples.map(({ startMs, timeMs, total }) => ({
        ...{ startTimeUnixNano: nanos(startMs), timeUnixNano: nanos(timeMs), asInt: total },
      })),
    },
  })

const deltas = (name: string, samples: readonly Sample[]): OtlpRequest =>
  requestOf({
    name,
    sum: {
      aggregationTemporality: 1,
      isMonotonic: true,
      dataPoints: samples.map(({ beforeMs, timeMs, total, before }) => ({
        ...{ startTimeUnixNano: nanos(beforeMs), timeUnixNano: nanos(timeMs), asInt: total - before },
      })),
    },
  })

const SENDERS: Readonly<Record<string, Sender>> = {
  'OTLP totals in protobuf': {
    request: (name, samples) => ['/v1/metrics', PROTOBUF, encodeOtlp(totals(name, samples))],
    increases: known,
  },
  'OTLP totals in JSON': {
    request: (name, samples) => [
      '/v1/metrics',
      { 'content-type': 'application/json' },
      JSON.stringify(totals(name, samples)),
    ],
    increases: known,
  },
  'OTLP deltas': {
    request: (name, samples) => ['/v1/metrics', PROTOBUF, encodeOtlp(deltas(name, samples))],
    increases: known,
  },
  'remote write 2.0 with created timestamps': {
    request: (name, samples) => [
      '/api/v1/write',
      SNAPPY_V2,
      snappyLiterals(
        writeRequestV2(
          samples.map(({ startMs, timeMs, total }) => ({
            ...{ labels: { __name__: name }, samples: [[total, timeMs]], type: COUNTER, createdMs: startMs },
          })),
        ),
      ),
    ],
    increases: known,
  },
  'remote write 1.0': {
    request: (name, samples) => [
      '/api/v1/write',
      SNAPPY,
      snappyLiterals(
        writeRequestV1([
          { labels: { __name__: name }, samples: samples.map(({ total, timeMs }) => [total, timeMs] as const) },
        ]),
      ),
    ],
    increases: unknown,
  },
}

function hourly(samples: readonly Sample[], increases: readonly number[]): string[] {
  const byHour = new Map<number, number>()
  for (const [i, { timeMs }] of samples.entries()) {
    const hour = Math.floor(timeMs / 3_600_000) * 3_600_000
    byHour.set(hour, (byHour.get(hour) ?? 0) + increases[i]!)
  }
  return [...byHour].map(([hour, sum]) => `${new Date(hour).toISOString().replace('.000', '')} ${sum}`)
}

let runs = 0

describe.each(Object.entries(SENDERS))('%s', (_, { request, increases }) => {
  it('add up, whatever the order in which requests arrive and however often', async () => {
    const draws = fc.infiniteStream(fc.nat(1_000))
    await fc.assert(
      fc.asyncProperty(processes, draws, fc.boolean(), async (given, draw, isFolded) => {
        const name = `delivered_${runs++}_total`
        const samples = samplesOf(given)
        const drawn = () => draw.next().value!
        const shuffled = <T>(values: readonly T[]): T[] =>
          values
            .map((value) => ({ value, key: drawn() }))
            .sort((a, b) => a.key - b.key)
            .map(({ value }) => value)
        const mixed = shuffled(samples)
        const parts: Sample[][] = []
        while (mixed.length > 0) parts.push(mixed.splice(0, 1 + (drawn() % 3)))
        const requests = parts.map((part) => request(name, part))
        const repeated = requests.filter(() => drawn() % 3 === 0)
        for (const [path, headers, body] of shuffled([...requests, ...repeated])) {
          const response = await fetch(gateway.url + path, {
            method: 'POST',
            headers: { authorization: `Bearer ${gateway.key}`, ...headers },
            body: typeof body === 'string' ? body : Uint8Array.from(body),
          })
          expect([response.status, await response.text()]).toEqual([
            path === '/v1/metrics' ? 200 : 204,
            expect.stringMatching(/^(?:\{\})?$/),
          ])
        }
        if (isFolded) await gateway.folds.drain()
        const range = { from: T0_MS - 3_600_000, to: T0_MS + 36 * DAY_MS, interval: '1h' }
        const found = await rows(gateway, { metric: name, ...range, aggregations: ['sum'] })
        const isIncrease = (row: string) => !row.endsWith(' 0')
        expect(found.filter(isIncrease)).toEqual(hourly(samples, increases(samples)).filter(isIncrease))
      }),
      { numRuns: 30 },
    )
  })
})
