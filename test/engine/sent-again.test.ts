import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { encodeOtlp, type OtlpMetricJson, requestOf } from '../support/otlp-request.ts'
import { Message } from '../support/protobuf.ts'
import { snappyLiterals, writeRequestV1 } from '../support/remote-write.ts'
import { ask } from './harness.ts'

/** A sender that hears of no success sends the same bytes again, perhaps to the gateway that was started meanwhile. */

const NOW_MS = Date.UTC(2024, 0, 15, 12)
let nowMs = NOW_MS
let folder: string
let gateway: TestGateway

const open = () => startGateway({ folder, now: () => nowMs })
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gaugeql-again-'))
  gateway = await open()
})
afterAll(async () => {
  await gateway.close()
  await rm(folder, { recursive: true, force: true })
})

async function restart(): Promise<void> {
  await gateway.close()
  nowMs += 1_000
  gateway = await open()
}

async function post(path: string, body: Uint8Array, headers: Record<string, string>): Promise<number> {
  const authorization = `Bearer ${gateway.key}`
  const response = await fetch(gateway.url + path, {
    method: 'POST',
    body: Uint8Array.from(body),
    headers: { authorization, 'content-type': 'application/x-protobuf', ...headers },
  })
  await response.arrayBuffer()
  return response.status
}

const sendOtlp = async (...metrics: OtlpMetricJson[]) =>
  expect(await post('/v1/metrics', encodeOtlp(requestOf(...metrics)), {})).toBe(200)

const sendNative = async (count: number, timeMs: number) => {
  const histogram = new Message()
    .bytes(11, new Message().sint(1, 1).varint(2, 1))
    .packedSints(12, [count])
    .varint(15, timeMs)
  const body = snappyLiterals(writeRequestV1([{ labels: { __name__: 'native' }, histograms: [histogram] }]))
  expect(await post('/api/v1/write', body, { 'content-encoding': 'snappy' })).toBe(204)
}

async function total(metric: string, aggregation: string): Promise<number> {
  const range = { from: NOW_MS - 3_600_000, to: NOW_MS + 3_600_000 }
  const { groups } = await ask(gateway, { metric, ...range, aggregations: [aggregation] })
  return groups[0]!.totals.get(aggregation)!
}

const times = (startMs: number, timeMs: number) => ({
  startTimeUnixNano: `${startMs}000000`,
  timeUnixNano: `${timeMs}000000`,
})
const delta = (value: number, startMs: number): OtlpMetricJson => ({
  name: 'deltas',
  sum: {
    aggregationTemporality: 1,
    isMonotonic: true,
    dataPoints: [{ ...times(startMs, startMs + 10_000), asInt: value }],
  },
})
const exponential = (count: number, startMs: number, timeMs: number): OtlpMetricJson => ({
  name: 'exponential',
  exponentialHistogram: {
    aggregationTemporality: 2,
    dataPoints: [{ ...times(startMs, timeMs), positive: { bucketCounts: [count] } }],
  },
})

test('deltas count once, before and after a restart of the gateway', async () => {
  for (const value of [5, 5, 7]) await sendOtlp(delta(value, NOW_MS - 60_000))
  await sendOtlp(delta(5, NOW_MS - 50_000))
  expect(await total('deltas', 'sum')).toBe(17)
  await restart()
  await sendOtlp(delta(5, NOW_MS - 60_000))
  expect(await total('deltas', 'sum')).toBe(17)
})

test('cumulative exponential histograms never count twice, and a restart of the gateway loses one interval', async () => {
  nowMs = NOW_MS
  await restart()
  nowMs = NOW_MS + 60_000
  const startedMs = NOW_MS + 2_000
  const at = (count: number, seconds: number) => exponential(count, startedMs, startedMs + seconds * 1_000)
  for (const [count, seconds] of [
    [3, 10],
    [3, 10],
    [8, 20],
    [3, 10],
  ] as const)
    await sendOtlp(at(count, seconds))
  expect(await total('exponential', 'count')).toBe(8)
  await restart()
  for (const [count, seconds] of [
    [8, 20],
    [10, 30],
    [14, 40],
    [14, 40],
  ] as const)
    await sendOtlp(at(count, seconds))
  // The gateway did not know what the first of these had counted.
  expect(await total('exponential', 'count')).toBe(8 + 6)
})

test('a total in the millisecond of its start counts whole, and what is added later is added', async () => {
  const startMs = NOW_MS - 30_000
  const running = (value: number, timeUnixNano: string): OtlpMetricJson => ({
    name: 'quick',
    sum: {
      aggregationTemporality: 2,
      isMonotonic: true,
      dataPoints: [{ startTimeUnixNano: `${startMs}000100`, timeUnixNano, asInt: value }],
    },
  })
  await sendOtlp(running(5, `${startMs}000900`))
  expect(await total('quick', 'sum')).toBe(5)
  await sendOtlp(running(6, `${startMs + 10_000}000000`))
  expect(await total('quick', 'sum')).toBe(6)
  await restart()
  await sendOtlp(running(8, `${startMs + 20_000}000000`))
  expect(await total('quick', 'sum')).toBe(8)
})

test('native histograms count what was added since the one before', async () => {
  await sendNative(10, NOW_MS)
  for (const [count, seconds] of [
    [12, 10],
    [12, 10],
    [15, 20],
    [2, 30],
  ] as const)
    await sendNative(count, NOW_MS + seconds * 1_000)
  expect(await total('native', 'count')).toBe(2 + 3 + 2)
})
