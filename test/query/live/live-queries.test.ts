import { beforeEach, describe, expect, test } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import type { Id64 } from '../../../src/model/id.ts'
import type { QueryResult } from '../../../src/query/compute/result.ts'
import type { LiveUpdate } from '../../../src/query/live/live-patch.ts'
import { LiveQueries, type LiveSettings } from '../../../src/query/live/live-queries.ts'
import type { QueryInput } from '../../../src/query/plan/request.ts'
import { FakeGateway } from '../../support/fake-graphql-gateway.ts'

const READER = { project: 'shop', keyHash: 'r' }
const INPUT: QueryInput = { metric: 'latency' }
const METRIC: Id64 = { hi: 'latency'.length, lo: 7 }

/** A clock that only moves when the test says so, and a metric whose last value is set by the test. */
class World {
  nowMs = 0
  value = 1
  asked: string[] = []
  failure: Error | undefined
  listeners = new Set<(metricIds: readonly Id64[]) => void>()
  readonly #gateway = new FakeGateway()
  readonly #timers = new Set<{ readonly atMs: number; readonly run: () => void }>()

  constructor() {
    this.#gateway.define('latency', 'distribution')
    this.#gateway.define('other', 'distribution')
  }

  get timers(): number {
    return this.#timers.size
  }

  open(settings: Partial<LiveSettings> = {}): LiveQueries {
    return new LiveQueries(
      {
        query: (project, input) => this.#query(project, input),
        onCommit: (listener) => {
          this.listeners.add(listener)
          return () => this.listeners.delete(listener)
        },
        now: () => this.nowMs,
        startTimer: (ms, run) => {
          const timer = { atMs: this.nowMs + ms, run }
          this.#timers.add(timer)
          return () => this.#timers.delete(timer)
        },
      },
      {
        runIntervalMsMin: 1_000,
        pollIntervalMs: 10_000,
        subscriptionsMax: 10,
        subscriptionsPerKeyMax: 10,
        concurrentRunsMax: 4,
        ...settings,
      },
    )
  }

  commit(value: number, metricId = METRIC): void {
    this.value = value
    for (const listener of this.listeners) listener([metricId])
  }

  async pass(ms: number): Promise<void> {
    this.nowMs += ms
    for (const timer of [...this.#timers].filter(({ atMs }) => atMs <= this.nowMs)) {
      this.#timers.delete(timer)
      timer.run()
    }
    await runPendingCallbacks()
  }

  async #query(project: string, input: QueryInput): Promise<QueryResult> {
    this.asked.push(input.metric)
    if (this.failure !== undefined) throw this.failure
    const result = await this.#gateway.query(project, input)
    const values = new Map([['avg', Float64Array.of(10, Number.NaN, this.value)]])
    return { ...result, groups: result.groups.map((group) => ({ ...group, values })) }
  }
}

/** Runs everything that is ready to run. */
async function runPendingCallbacks(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** Whether it has happened is seen after {@link runPendingCallbacks}. */
function watch<T>(promise: Promise<T>): { value: T | undefined; error: unknown } {
  const seen: { value: T | undefined; error: unknown } = { value: undefined, error: undefined }
  promise.then(
    (value) => {
      seen.value = value
    },
    (error: unknown) => {
      seen.error = error
    },
  )
  return seen
}

const lastOf = ({ value }: IteratorResult<LiveUpdate>): unknown => value?.result.groups[0].values.get('avg')[2]

let world: World
beforeEach(() => {
  world = new World()
})

test('a snapshot comes first, then what commits to its metric change, at most once a second', async () => {
  const updates = world.open().subscribe(READER, INPUT)
  const snapshot = await updates.next()
  expect(snapshot.value.kind).toBe('snapshot')
  const next = watch(updates.next())
  world.commit(2)
  world.commit(3)
  await world.pass(999)
  expect(next.value).toBeUndefined()
  world.commit(4)
  await world.pass(1)
  expect(next.value).toMatchObject({ value: { kind: 'patch' } })
  expect(lastOf(next.value!)).toBe(4)
  expect(world.asked).toHaveLength(2)
})

test('commits to other metrics do not run the query, and an equal result is not sent', async () => {
  const updates = world.open().subscribe(READER, INPUT)
  await updates.next()
  const next = watch(updates.next())
  world.commit(2, { hi: 1, lo: 1 })
  await world.pass(2_000)
  expect(world.asked).toHaveLength(1)
  world.commit(1)
  await world.pass(2_000)
  expect(world.asked).toHaveLength(2)
  expect(next.value).toBeUndefined()
})

test('polling finds a commit whose notification was lost', async () => {
  const updates = world.open().subscribe(READER, INPUT)
  await updates.next()
  const next = watch(updates.next())
  world.value = 9
  await world.pass(9_999)
  expect(next.value).toBeUndefined()
  await world.pass(1)
  await world.pass(0)
  expect(lastOf(next.value!)).toBe(9)
})

test('a query with equal results is polled less and less often, and at the full rate again after a change', async () => {
  const updates = world.open().subscribe(READER, INPUT)
  await updates.next()
  const next = watch(updates.next())
  const waits: number[] = []
  for (let seconds = 0; world.asked.length < 8; seconds += 10) {
    const asked = world.asked.length
    await world.pass(10_000)
    if (world.asked.length > asked) waits.push(seconds + 10)
  }
  const gaps = waits.map((at, i) => at - (waits[i - 1] ?? 0))
  expect(gaps).toEqual([10, 20, 40, 80, 160, 160, 160])
  world.commit(7)
  await world.pass(1_000)
  expect(lastOf(next.value!)).toBe(7)
  const asked = world.asked.length
  await world.pass(10_000)
  expect(world.asked.length).toBe(asked + 1)
})

test('a commit during a run causes another run', async () => {
  const live = world.open()
  const updates = live.subscribe(READER, INPUT)
  world.commit(5)
  await updates.next()
  await world.pass(1_000)
  expect(world.asked).toHaveLength(2)
})

test('subscribers of equal queries share results, and each gets its own snapshot, not older than its subscription', async () => {
  const live = world.open()
  const first = live.subscribe(READER, INPUT)
  await first.next()
  world.value = 2
  const second = live.subscribe(READER, INPUT)
  const joined = watch(second.next())
  await runPendingCallbacks()
  expect(joined.value).toBeUndefined()
  await world.pass(1_000)
  expect(joined.value).toMatchObject({ value: { kind: 'snapshot' } })
  expect(lastOf(joined.value!)).toBe(2)
  expect(await first.next()).toMatchObject({ value: { kind: 'patch' } })
  expect(world.asked).toHaveLength(2)
  expect(live.objectCounts).toEqual({ subscriptions: 2, liveQueries: 1, keys: 1 })
})

test('different queries and projects have separate topics', async () => {
  const live = world.open()
  live.subscribe(READER, INPUT)
  live.subscribe(READER, { ...INPUT, tags: new Map([['a', ['x']]]) })
  live.subscribe(READER, { ...INPUT, tags: new Map([['a', ['y']]]) })
  live.subscribe({ ...READER, project: 'bank' }, INPUT)
  expect(live.objectCounts.liveQueries).toBe(4)
})

test('a slow subscriber gets one patch that covers all changes since its last update', async () => {
  const updates = world.open().subscribe(READER, INPUT)
  await updates.next()
  for (const value of [2, 3, 4]) {
    world.commit(value)
    await world.pass(1_000)
  }
  expect(lastOf(await updates.next())).toBe(4)
  const next = watch(updates.next())
  await runPendingCallbacks()
  expect(next.value).toBeUndefined()
})

describe('everything is freed', () => {
  test('when subscribers leave, before the first result, between results, or while a run is due', async () => {
    const live = world.open()
    const early = live.subscribe(READER, INPUT)
    await early.return?.()
    expect(await early.next()).toEqual({ value: undefined, done: true })
    const [a, b] = [live.subscribe(READER, INPUT), live.subscribe({ ...READER, keyHash: 's' }, INPUT)]
    await a.next()
    await world.pass(1_000)
    world.commit(2)
    await a.return?.()
    expect(live.objectCounts).toEqual({ subscriptions: 1, liveQueries: 1, keys: 1 })
    const pending = watch(b.next())
    await runPendingCallbacks()
    await b.return?.()
    await runPendingCallbacks()
    expect(pending.value).toMatchObject({ done: expect.any(Boolean) })
    expect(live.objectCounts).toEqual({ subscriptions: 0, liveQueries: 0, keys: 0 })
    expect(world.listeners.size).toBe(0)
    expect(world.timers).toBe(0)
  })

  test('when the gateway stops, which ends all subscriptions and refuses new ones', async () => {
    const live = world.open()
    const updates = live.subscribe(READER, INPUT)
    await updates.next()
    const next = updates.next()
    live.close()
    await expect(next).rejects.toMatchObject({ code: 'overloaded', details: { reconnect: true } })
    expect(live.objectCounts.subscriptions).toBe(0)
    expect(world.timers).toBe(0)
    expect(() => live.subscribe(READER, INPUT)).toThrow(expect.objectContaining({ code: 'overloaded' }))
  })
})

describe('errors', () => {
  test('an error of the query ends its subscriptions with that error', async () => {
    const live = world.open()
    const updates = live.subscribe(READER, { metric: 'nothing' })
    await expect(updates.next()).rejects.toMatchObject({ code: 'metric_not_found' })
    expect(await updates.next()).toEqual({ value: undefined, done: true })
    expect(live.objectCounts.subscriptions).toBe(0)
  })

  test('an unavailable store does not end a subscription', async () => {
    const updates = world.open().subscribe(READER, INPUT)
    await updates.next()
    world.failure = new GatewayError('store_unavailable', 'away')
    world.commit(2)
    await world.pass(1_000)
    const next = watch(updates.next())
    world.failure = undefined
    await world.pass(10_000)
    await world.pass(0)
    expect(lastOf(next.value!)).toBe(2)
  })
})

describe('bounds', () => {
  test('subscriptions of a key and of the process', () => {
    const live = world.open({ subscriptionsMax: 3, subscriptionsPerKeyMax: 2 })
    live.subscribe(READER, INPUT)
    live.subscribe(READER, INPUT)
    expect(() => live.subscribe(READER, INPUT)).toThrow(expect.objectContaining({ code: 'rate_limited' }))
    live.subscribe({ ...READER, keyHash: 's' }, INPUT)
    expect(() => live.subscribe({ ...READER, keyHash: 's' }, INPUT)).toThrow(
      expect.objectContaining({ code: 'overloaded' }),
    )
    expect(live.objectCounts.subscriptions).toBe(3)
  })

  test('queries that run at the same time', async () => {
    const live = world.open({ concurrentRunsMax: 1 })
    live.subscribe(READER, { metric: 'latency' })
    live.subscribe(READER, { metric: 'other' })
    expect(world.asked).toEqual(['latency'])
    await runPendingCallbacks()
    expect(world.asked).toEqual(['latency', 'other'])
  })
})
