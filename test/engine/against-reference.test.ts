import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TrackedType } from '../../src/model/metric.ts'
import { fillLine, type QueryResult } from '../../src/query/compute/result.ts'
import type { Fill, QueryInput } from '../../src/query/plan/request.ts'
import { foldInbox } from '../../src/write/fold/fold.ts'
import { mergeWindow } from '../../src/write/fold/merge-window.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { type Point, type ReferenceValues, referenceResult, type Width } from '../support/reference.ts'

const PROJECT = 'test'
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const RESOLUTIONS = [
  { bucketWidthMs: 10_000, keptMs: 6 * HOUR_MS },
  { bucketWidthMs: 60_000, keptMs: 7 * DAY_MS },
  { bucketWidthMs: 900_000, keptMs: 35 * DAY_MS },
  { bucketWidthMs: HOUR_MS, keptMs: 400 * DAY_MS },
  { bucketWidthMs: DAY_MS, keptMs: 1_825 * DAY_MS },
]
const SET_RESOLUTIONS = [
  { bucketWidthMs: 60_000, keptMs: 6 * HOUR_MS },
  { bucketWidthMs: HOUR_MS, keptMs: 90 * DAY_MS },
  { bucketWidthMs: DAY_MS, keptMs: 400 * DAY_MS },
]
const PARTITIONS = 2
const ROWS_MAX = 400
const RUNS = 40
/** Of a sketch, and what rounding adds. */
const ALPHA = 0.01 + 1e-9

let folder: string
let gateway: TestGateway
const nowMs = Date.parse('2026-05-05T12:34:56.789Z')
let runs = 0

const open = (): Promise<TestGateway> =>
  startGateway({ folder, now: () => nowMs, env: { QUERY_VALUES_MAX: '2000000', PARTITIONS: String(PARTITIONS) } })

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gaugeql-answers-'))
  gateway = await open()
})

afterAll(async () => {
  await gateway.close()
  await rm(folder, { recursive: true, force: true })
})

/** Around the changes of the clock in Berlin, around a month's end, and now (an hour of it still to come). */
const ANCHORS = ['2024-03-31T00:30:00Z', '2024-10-27T00:30:00Z', '2025-12-31T22:00:00Z', 'now'] as const
type Anchor = (typeof ANCHORS)[number]

const anchorMs = (anchor: Anchor): number => (anchor === 'now' ? nowMs : Date.parse(anchor))

/** Mostly instants that several points share, or close to each other; some within four days. */
const offset = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(0, 1, 5_000, 10_000, 60_000, -HOUR_MS, -DAY_MS) },
  { weight: 3, arbitrary: fc.integer({ min: -60_000, max: 60_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: -3 * DAY_MS, max: HOUR_MS }) },
)
interface Place {
  readonly anchor: Anchor
  readonly offset: number
}

const timeOf = ({ anchor, offset: ms }: Place): number => anchorMs(anchor) + ms

const tags = fc.record({
  host: fc.constantFrom('a', 'b', ''),
  path: fc.constantFrom('/users', '/users', '/users', '/orders,1'),
})
// Quarters add up without rounding in any order.
const quarters = fc
  .oneof(fc.integer({ min: -40, max: 40 }), fc.integer({ min: -4_000_000, max: 4_000_000 }))
  .map((n) => n / 4)

interface Sent {
  readonly metric: TrackedType
  readonly place: Place
  readonly tags: { readonly host: string; readonly path: string }
  readonly value: number
  readonly weight: number
  readonly isTotal: boolean
  readonly member: number
}

/** Points around one anchor, some around another. */
const sentAround = (anchor: Anchor): fc.Arbitrary<Sent> =>
  fc.record({
    metric: fc.constantFrom('gauge' as const, 'counter' as const, 'distribution' as const, 'set' as const),
    place: fc.record({
      anchor: fc.oneof(
        { weight: 9, arbitrary: fc.constant(anchor) },
        { weight: 1, arbitrary: fc.constantFrom(...ANCHORS) },
      ),
      offset,
    }),
    tags,
    value: quarters,
    weight: fc.oneof(
      { arbitrary: fc.constant(0), weight: 3 },
      { arbitrary: fc.integer({ min: 1, max: 20 }), weight: 1 },
    ),
    isTotal: fc.boolean(),
    member: fc.integer({ min: 0, max: 39 }),
  })

/**
 * The running total of a series at an instant. On host a it only grows; elsewhere it begins anew once a day, and what
 * it is after that is always less than what it was before on the same day, so that rollups see every reset in any order
 * of arrival.
 */
function totalAt(timeMs: number, host: string): number {
  const sinceResetMs = (((timeMs - 3 * HOUR_MS) % DAY_MS) + DAY_MS) % DAY_MS
  if (host === 'a') return Math.floor(timeMs / 1_000) - 1_700_000_000
  return sinceResetMs >= DAY_MS / 2 ? 10_000_000 + Math.floor(sinceResetMs / 500) : Math.floor(sinceResetMs / 1_000)
}

function pointOf({ metric, place: at, tags: own, value, weight, isTotal, member }: Sent): Point {
  const timeMs = timeOf(at)
  const placed = { tags: own, timeMs }
  if (metric === 'set') return { ...placed, mode: 'member', member: `member-${member}` }
  if (metric === 'counter' && isTotal) return { ...placed, mode: 'total', value: totalAt(timeMs, own.host) }
  if (metric === 'distribution' && weight > 0) return { ...placed, mode: 'weighted', value, weight }
  return { ...placed, mode: 'value', value }
}

interface Question {
  readonly anchor: Anchor
  readonly from: number
  readonly length: number
  readonly interval: string
  readonly zone: string
  readonly groupBy: readonly string[]
  readonly hosts: readonly string[] | undefined
  readonly fill: Fill
}

const questionAround = (anchor: Anchor): fc.Arbitrary<Question> =>
  fc.record({
    anchor: fc.constant(anchor),
    from: fc.oneof(
      fc.constantFrom(-60_000, -10_000, 0, -2 * HOUR_MS),
      fc.integer({ min: -60_000, max: 0 }),
      fc.integer({ min: -4 * DAY_MS, max: 0 }),
    ),
    length: fc.oneof(
      fc.integer({ min: 0, max: 120_000 }),
      fc.integer({ min: 0, max: 6 * HOUR_MS }),
      fc.integer({ min: 0, max: 5 * DAY_MS }),
    ),
    interval: fc.constantFrom('10s', '10s', '1m', '5m', '30m', '1h', '7h', '24h', '1d', '1d', '1w', '1mo', 'auto'),
    zone: fc.constantFrom('UTC', 'Europe/Berlin', 'Asia/Kathmandu', 'America/New_York'),
    groupBy: fc.constantFrom<readonly string[]>([], [], ['host'], ['path', 'host'], ['absent']),
    hosts: fc.constantFrom<readonly string[] | undefined>(
      undefined,
      undefined,
      ['a'],
      ['a', ''],
      ['b', 'b'],
      ['nobody'],
    ),
    fill: fc.constantFrom<Fill>('none', 'null', 'zero', 'previous'),
  })

/** A history as requests, and what is asked of it. */
const history = fc.constantFrom(...ANCHORS).chain((anchor) =>
  fc.record({
    batches: fc.array(fc.array(sentAround(anchor), { minLength: 5, maxLength: 40, size: 'max' }), {
      minLength: 3,
      maxLength: 10,
      size: 'max',
    }),
    questions: fc.array(questionAround(anchor), { minLength: 5, maxLength: 8, size: 'max' }),
  }),
)

const AGGREGATIONS: Readonly<Record<'gauge' | 'counter' | 'distribution' | 'set', readonly string[]>> = {
  gauge: ['last', 'first', 'avg', 'min', 'max', 'range', 'sum', 'count'],
  counter: ['sum', 'rate', 'count', 'last'],
  distribution: ['avg', 'sum', 'min', 'max', 'range', 'count', 'p0', 'p50', 'p95', 'p99.9', 'p100'],
  set: ['count'],
}

const WIDTHS: Readonly<Record<string, Width>> = {
  '10s': 10_000,
  '1m': 60_000,
  '5m': 300_000,
  '15m': 900_000,
  '30m': 1_800_000,
  '1h': HOUR_MS,
  '7h': 7 * HOUR_MS,
  '24h': DAY_MS,
  '1d': 'day',
  '1w': 'week',
  '1mo': 'month',
}

async function track(batch: readonly Sent[], nameOf: (metric: TrackedType) => string): Promise<void> {
  const rejected = await gateway.gateway.track(PROJECT, (sink) => {
    for (const [i, item] of batch.entries()) {
      const series = sink.resolve(nameOf(item.metric), item.metric, Object.entries(item.tags))
      if ('code' in series) {
        sink.reject(i, series)
        continue
      }
      const point = pointOf(item)
      if (point.mode === 'value') sink.add(i, series, point.timeMs, point.value)
      else if (point.mode === 'weighted') sink.addWeighted(i, series, point.timeMs, point.value, point.weight)
      else if (point.mode === 'total') sink.addTotal(i, series, point.timeMs, point.value)
      else sink.addMember(i, series, point.timeMs, point.member)
    }
  })
  expect(rejected).toEqual([])
}

const fromOf = ({ anchor, from }: Question): number => anchorMs(anchor) + from

const filtersOf = ({ hosts }: Question): ReadonlyMap<string, readonly string[]> =>
  new Map(hosts === undefined ? [] : [['host', hosts]])

function inputOf(name: string, metric: TrackedType, question: Question): QueryInput {
  const width = WIDTHS[question.interval]
  const tooManyRows = typeof width === 'number' && question.length / width > ROWS_MAX
  const interval = tooManyRows || (metric === 'set' && width === 10_000) ? 'auto' : question.interval
  return {
    metric: name,
    from: fromOf(question),
    to: fromOf(question) + question.length,
    interval,
    timezone: question.zone,
    aggregations: AGGREGATIONS[metric],
    tags: filtersOf(question),
    groupBy: question.groupBy,
    fill: question.fill,
  }
}

/** The answer as plain rows, beside those that the reference expects. */
function compare(metric: TrackedType, question: Question, points: readonly Point[], given: QueryResult): void {
  const fromMs = fromOf(question)
  const baseMs = (metric === 'set' ? SET_RESOLUTIONS : RESOLUTIONS)[0]!.bucketWidthMs
  const expected = referenceResult(points, {
    fromMs,
    toMs: fromMs + question.length,
    baseMs,
    interval: WIDTHS[given.interval]!,
    zone: question.zone,
    nowMs,
    tags: filtersOf(question),
    groupBy: question.groupBy,
  })
  expect(given.fromMs).toBe(Math.floor(fromMs / baseMs) * baseMs)
  const groups = new Map(given.groups.map((group) => [JSON.stringify(group.tags.map(([, value]) => value)), group]))
  expect([...groups.keys()].sort()).toEqual([...expected.keys()].sort())
  for (const [key, buckets] of expected) {
    const group = groups.get(key)!
    let before: readonly ReferenceValues[] | undefined
    expect([...given.startMs]).toEqual(buckets.map(({ startMs }) => startMs))
    expect([...given.endMs]).toEqual(buckets.map(({ endMs }) => endMs))
    for (const { name } of given.aggregations) {
      const line = fillLine(group, name, question.fill)
      const rows = line.bucketIndexes.map((bucket, i) => ({
        at: new Date(given.startMs[bucket]!),
        value: line.values[i] ?? null,
      }))
      const wanted: typeof rows = []
      let previous: number | null = null
      if (question.fill === 'previous' && buckets[0]!.values === undefined) {
        before ??= [...bucketsBefore(baseMs, question, points, given, key)]
        for (const values of before) previous ??= expectedValue(metric, name, values, group.valuesBefore?.get(name))
      }
      for (const { startMs, values } of buckets) {
        if (values === undefined && question.fill === 'none') continue
        const value: number | null =
          values === undefined
            ? question.fill === 'zero'
              ? 0
              : question.fill === 'previous'
                ? previous
                : null
            : expectedValue(metric, name, values, rows[wanted.length]?.value)
        if (values !== undefined) previous = value ?? previous
        wanted.push({ at: new Date(startMs), value })
      }
      expect(rows, `${metric} ${name} of ${key}, ${JSON.stringify(question)}`).toEqual(wanted)
    }
  }
}

const LOOK_BACK_MS = 7 * DAY_MS

/** The buckets before the range that hold points of the group, within seven days, the last one first. */
function* bucketsBefore(
  baseMs: number,
  question: Question,
  points: readonly Point[],
  given: QueryResult,
  key: string,
): Generator<ReferenceValues, void> {
  const limitMs = given.fromMs - LOOK_BACK_MS
  const width = WIDTHS[given.interval]!
  const { zone, groupBy } = question
  const asked = { toMs: given.fromMs - 1, baseMs, interval: width, zone, nowMs, tags: filtersOf(question), groupBy }
  const times = points.map(({ timeMs }) => timeMs).filter((timeMs) => timeMs >= limitMs && timeMs < given.fromMs)
  const starts = typeof width === 'number' ? times.map((timeMs) => Math.floor(timeMs / width) * width) : [limitMs]
  for (const startMs of [...new Set(starts)].sort((a, b) => b - a)) {
    const toMs = typeof width === 'number' ? Math.min(asked.toMs, startMs + width - 1) : asked.toMs
    const buckets = referenceResult(points, { ...asked, fromMs: Math.max(limitMs, startMs), toMs }).get(key) ?? []
    for (const { values } of buckets.toReversed()) if (values !== undefined) yield values
  }
}

function expectedValue(
  metric: TrackedType,
  name: string,
  values: ReferenceValues,
  given: number | null | undefined,
): number | null {
  // These forty members fall on registers of their own, so that their sketch is exact.
  if (metric === 'set') return values.distinct
  if (name.startsWith('p')) {
    const { low, high } = values.quantile(Number(name.slice(1)) / 100, ALPHA)
    return typeof given === 'number' && low <= given && given <= high ? given : (low + high) / 2
  }
  const exact = metric === 'counter' && name === 'last' ? values.lastTotal : simple(name, values)
  return Number.isFinite(exact) ? exact : null
}

function simple(name: string, values: ReferenceValues): number {
  switch (name) {
    case 'count':
    case 'sum':
    case 'avg':
    case 'min':
    case 'max':
    case 'first':
    case 'last':
    case 'rate':
      return values[name]
    case 'range':
      return values.max - values.min
    default:
      throw new Error(`no reference for ${name}`)
  }
}

async function sealAll(): Promise<void> {
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const windows = await gateway.store.dueWindows(partition, Number.MAX_SAFE_INTEGER, 100_000)
    for (const window of windows) await mergeWindow(gateway.store, partition, window, { isSealing: true, nowMs })
  }
}

test('results equal the reference before, during and after folding, sealed, and reopened', async () => {
  await fc.assert(
    fc.asyncProperty(
      history,
      fc.integer({ min: 1, max: 9 }),
      fc.constantFrom('drain', 'seal', 'reopen'),
      async ({ batches, questions }, folded, ending) => {
        const run = runs++
        const nameOf = (metric: TrackedType): string => `${metric}.${run}`
        const points = new Map<TrackedType, Point[]>()
        const compareAll = async (): Promise<void> => {
          for (const [metric, ofMetric] of points) {
            for (const question of questions) {
              const given = await gateway.gateway.query(PROJECT, inputOf(nameOf(metric), metric, question))
              compare(metric, question, ofMetric, given)
            }
          }
        }
        gateway.folds.pauseUntil(Number.POSITIVE_INFINITY)
        for (const batch of batches) {
          await track(batch, nameOf)
          for (const item of batch) points.set(item.metric, [...(points.get(item.metric) ?? []), pointOf(item)])
        }
        await compareAll()
        const settings = { resolutions: RESOLUTIONS, setResolutions: SET_RESOLUTIONS, stepBytesMax: 1 }
        for (let i = 0; i < folded; i++) {
          for (let partition = 0; partition < PARTITIONS; partition++) {
            await foldInbox(gateway.store, partition, settings, nowMs)
          }
        }
        await compareAll()
        gateway.folds.pauseUntil(0)
        await gateway.folds.drain()
        if (ending === 'seal') await sealAll()
        if (ending === 'reopen') {
          await gateway.close()
          gateway = await open()
        }
        await compareAll()
      },
    ),
    // Shrinking takes minutes; a failure prints its seed and path, with which it can be shrunk.
    { numRuns: RUNS, endOnFailure: true },
  )
}, 240_000)
