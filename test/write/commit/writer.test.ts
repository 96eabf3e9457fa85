import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import type { Store } from '../../../src/store/store.ts'
import type { Writer, WriterEvents, WriterSettings } from '../../../src/write/commit/writer.ts'
import { ask, decoderOf, openStore, openWriter, PROJECT, T0_MS, type TestPoint, totalOf } from '../../support/engine.ts'
import { FaultyStore, gate, lostRequest, lostResponse, respondWith } from '../../support/faulty-store.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

let real: Store
let faulty: FaultyStore

beforeEach(async () => {
  real = await openStore(await temporaryFolder())
  onTestFinished(() => real.close())
  faulty = new FaultyStore(real)
})

function newWriter(settings: Partial<WriterSettings> = {}, events: Partial<WriterEvents> = {}): Writer {
  const writer = openWriter(faulty.store, settings, events)
  onTestFinished(async () => {
    faulty.heal()
    await writer.close()
  })
  return writer
}

const hit = (value = 1, tags: Readonly<Record<string, string>> = {}): TestPoint => ({
  name: 'hits',
  type: 'counter',
  value,
  tags,
})

function track(writer: Writer, ...points: readonly TestPoint[]) {
  return writer.track(PROJECT, decoderOf(points))
}

async function refusal(promise: Promise<unknown>): Promise<GatewayError> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(outcome).toBeInstanceOf(GatewayError)
  return outcome as GatewayError
}

/** What fails now is looked at later. */
function held<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

describe('group commit', () => {
  it('resolves after the points can be read', async () => {
    const writer = newWriter()
    expect(await track(writer, hit(2), hit(3))).toEqual([])
    expect(await totalOf(real, 'hits', 'sum')).toBe(5)
  })

  it('sends the requests of one turn of the event loop in one commit', async () => {
    const writer = newWriter()
    await track(writer, hit())
    await Promise.all(Array.from({ length: 20 }, () => track(writer, hit())))
    expect(faulty.calls('append')).toHaveLength(2)
    expect(await totalOf(real, 'hits', 'sum')).toBe(21)
  })

  it('lets the requests that arrive during a commit share the next one', async () => {
    const writer = newWriter()
    await track(writer, hit())
    const slow = gate()
    faulty.next('append', slow.fault)
    const first = track(writer, hit())
    await slow.reached
    const others = Array.from({ length: 50 }, () => track(writer, hit()))
    slow.open()
    await Promise.all([first, ...others])
    expect(faulty.calls('append')).toHaveLength(3)
    expect(await totalOf(real, 'hits', 'sum')).toBe(52)
  })

  it('commits each partition it has something for, once a round, with numbers that grow by one', async () => {
    const writer = newWriter()
    const names = Array.from({ length: 12 }, (_, i) => `m${i}`)
    for (let round = 0; round < 3; round++)
      await track(writer, ...names.map((name): TestPoint => ({ name, type: 'gauge', value: round })))
    const numbers = faulty
      .calls('append')
      .map(([commits]) => commits.map(({ partition, number }) => [partition, number]))
    expect(numbers.map((round) => round.sort())).toEqual(
      [1, 2, 3].map((n) => [
        [0, n],
        [1, n],
      ]),
    )
  })

  it('stores requests with and without a key separately when they share a round and its series', async () => {
    const writer = newWriter()
    await track(writer, hit(1, { host: 'a' }), hit(1, { host: 'b' }))
    await Promise.all([
      track(writer, hit(10, { host: 'a' }), hit(20, { host: 'b' })),
      writer.track(PROJECT, decoderOf([hit(100, { host: 'b' })]), 'key'),
      track(writer, hit(1_000, { host: 'b' }), hit(2_000, { host: 'a' })),
      writer.track(PROJECT, decoderOf([hit(10_000, { host: 'a' })]), 'another'),
      track(writer, hit(100_000, { host: 'a' }), hit(200_000, { host: 'c' })),
    ])
    expect(faulty.calls('append')).toHaveLength(2)
    expect(faulty.calls('append')[1]![0].flatMap(({ parts }) => parts.map(({ marker }) => marker?.key))).toEqual([
      undefined,
      'key',
      'another',
    ])
    const { groups } = await ask(real, 'hits', { aggregations: ['sum'], groupBy: ['host'] })
    expect(groups.map(({ tags, totals }) => [tags[0]![1], totals.get('sum')])).toEqual([
      ['a', 112_011],
      ['b', 1_121],
      ['c', 200_000],
    ])
  })

  it('does not go to the store for a request without a point', async () => {
    const writer = newWriter()
    expect(await writer.track(PROJECT, () => {})).toEqual([])
    expect(faulty.calls('append')).toHaveLength(0)
  })

  it('reports the bytes that each commit put into an inbox', async () => {
    let told = 0
    const writer = newWriter({}, { committed: (_, bytes) => (told += bytes) })
    await track(writer, hit())
    const sizes = await Promise.all([real.inboxSize(0), real.inboxSize(1)])
    expect(told).toBe(sizes[0].bytes + sizes[1].bytes)
    expect(told).toBeGreaterThan(0)
  })
})

describe('a commit without a response', () => {
  it('is retried under the same number and counted once when the response was lost', async () => {
    const writer = newWriter()
    faulty.next('append', lostResponse, lostResponse)
    await track(writer, hit(7))
    const numbers = faulty.calls('append').map(([[commit]]) => [commit!.writer, commit!.number])
    expect(numbers).toHaveLength(3)
    expect(new Set(numbers.map(String)).size).toBe(1)
    expect(await totalOf(real, 'hits', 'sum')).toBe(7)
  })

  it('is retried and counted once when it never reached the store', async () => {
    const writer = newWriter()
    faulty.next('append', lostRequest, lostRequest)
    await track(writer, hit(7))
    expect(await totalOf(real, 'hits', 'sum')).toBe(7)
  })

  it.each([
    { name: 'had been applied', fault: lostResponse, counted: 7 },
    { name: 'had not been applied', fault: lostRequest, counted: 0 },
  ])('is refused with an unknown outcome and counted at most once when it $name', async ({ fault, counted }) => {
    const warnings: string[] = []
    const writer = newWriter({ storeWaitMsMax: 150 }, { warn: (message) => warnings.push(message) })
    await track(writer, { name: 'known', type: 'gauge', value: 1 })
    const appends = faulty.calls('append').length
    faulty.next('append', fault)
    faulty.always('append', lostRequest)
    const error = await refusal(track(writer, hit(7, { host: 'refused' })))
    expect(error).toMatchObject({ code: 'store_unavailable', details: { outcome: 'unknown' } })
    expect(warnings).toHaveLength(1)

    // Away for longer than a request may wait: refused without being folded.
    expect(await refusal(track(writer, hit(100)))).toMatchObject({ code: 'store_unavailable', details: undefined })

    faulty.heal()
    await until(() => faulty.calls('append').at(-1)?.[0][0]?.parts.length === 0)
    await until(() =>
      track(writer, hit(1, { host: 'later' })).then(
        () => true,
        () => false,
      ),
    )
    expect(await totalOf(real, 'hits', 'sum')).toBe(counted + 1)
    expect((await real.readMetric(PROJECT, 'hits'))?.points).toBe(counted === 0 ? 1 : 2)

    // The refused number was taken by an empty commit; the next one follows it.
    const [refused, ...rest] = faulty
      .calls('append')
      .slice(appends)
      .map(([[commit]]) => commit!)
    const fences = rest.filter(({ parts }) => parts.length === 0)
    expect(new Set(fences.map(({ number }) => number))).toEqual(new Set([refused!.number]))
    expect(rest.at(-1)).toMatchObject({ writer: refused!.writer, number: refused!.number + 1 })
  })

  it('registers the series of a refused commit with their next points', async () => {
    const writer = newWriter({ storeWaitMsMax: 100 })
    await track(writer, hit(1, { host: 'first' }))
    faulty.always('append', lostRequest)
    await refusal(track(writer, hit(2, { host: 'second' })))
    faulty.heal()
    await until(() =>
      track(writer, hit(4, { host: 'second' })).then(
        () => true,
        () => false,
      ),
    )
    const { groups } = await ask(real, 'hits', { aggregations: ['sum'], groupBy: ['host'] })
    expect(groups.map(({ tags, totals }) => [tags[0]![1], totals.get('sum')])).toEqual([
      ['first', 1],
      ['second', 4],
    ])
  })

  it('rejects the requests behind it in bounded time; nothing of them is stored', async () => {
    const writer = newWriter({ storeWaitMsMax: 150 })
    await track(writer, hit())
    faulty.always('append', lostRequest)
    const offered = held(track(writer, hit(10)))
    await until(() => faulty.calls('append').length === 2)
    const behind = held(track(writer, hit(100)))
    expect((await refusal(offered)).details).toEqual({ outcome: 'unknown' })
    expect(await refusal(behind)).toMatchObject({ code: 'store_unavailable', details: undefined })
    faulty.heal()
    await until(() =>
      track(writer, hit(1_000)).then(
        () => true,
        () => false,
      ),
    )
    expect(await totalOf(real, 'hits', 'sum')).toBe(1_001)
  })

  it('is rejected too when the store leaves the call pending, and counts when the store applies it later', async () => {
    const writer = newWriter({ storeWaitMsMax: 100 })
    await track(writer, hit())
    const stuck = gate()
    faulty.next('append', stuck.fault)
    const offered = held(track(writer, hit(10)))
    await stuck.reached
    const behind = held(track(writer, hit(100)))
    expect((await refusal(offered)).details).toEqual({ outcome: 'unknown' })
    await refusal(behind)
    expect(await refusal(track(writer, hit(200)))).toMatchObject({ code: 'store_unavailable' })
    stuck.open()
    await until(() =>
      track(writer, hit(1_000)).then(
        () => true,
        () => false,
      ),
    )
    expect(await totalOf(real, 'hits', 'sum')).toBe(1_011)
  })

  it('fails only its own request when a definition gets no response', async () => {
    const writer = newWriter()
    faulty.next('defineMetrics', lostRequest)
    expect(await refusal(track(writer, hit()))).toMatchObject({ code: 'store_unavailable' })
    await track(writer, hit())
    expect(await totalOf(real, 'hits', 'sum')).toBe(1)
  })
})

describe('a store with unexpected contents', () => {
  it('refuses the round and takes a new writer name when a store that cannot lose writes reports a gap', async () => {
    const reasons: object[] = []
    const writer = newWriter({}, { warn: (_message, details) => reasons.push(details) })
    await track(writer, hit(1))
    faulty.next('append', respondWith([{ status: 'gap', watermark: 0 }]))
    expect(await refusal(track(writer, hit(10)))).toMatchObject({ code: 'store_unavailable' })
    expect(reasons).toHaveLength(1)
    await track(writer, hit(100))
    const [first, , last] = faulty.calls('append').map(([[commit]]) => commit!)
    expect(last!.writer).not.toBe(first!.writer)
    expect(last!.number).toBe(1)
    expect(last!.parts[0]!.series).toHaveLength(1)
    expect(await totalOf(real, 'hits', 'sum')).toBe(101)
  })

  it('refuses a round in conflict, fences its number and announces its series again', async () => {
    let losses = 0
    const writer = newWriter({}, { writesLost: () => losses++ })
    await track(writer, hit(1))
    faulty.next('append', respondWith([{ status: 'conflict', metricIds: [], deleted: [] }]))
    expect(await refusal(track(writer, hit(10)))).toMatchObject({ code: 'store_unavailable', details: undefined })
    expect(losses).toBe(1)
    await track(writer, hit(100))
    const [, refused, fenced, last] = faulty.calls('append').map(([[commit]]) => commit!)
    expect(fenced).toEqual({ ...refused!, parts: [] })
    expect(last).toMatchObject({ writer: refused!.writer, number: refused!.number + 1 })
    expect(last!.parts[0]!.series).toHaveLength(1)
    expect(await totalOf(real, 'hits', 'sum')).toBe(101)
  })

  it('finds the outcome of each partition while another one does not respond', async () => {
    const writer = newWriter({ storeWaitMsMax: 150 })
    const names = Array.from({ length: 12 }, (_, i): TestPoint => ({ name: `m${i}`, type: 'counter', value: 1 }))
    await track(writer, ...names)
    const rows = await Promise.all(names.map(({ name }) => real.readMetric(PROJECT, name)))
    const namesIn = (partition: number) => names.filter((_, i) => rows[i]!.partition === partition)
    faulty.alwaysOf('append', (proceed, [commits]) =>
      commits.some(({ partition }) => partition === 1) ? lostRequest(proceed) : proceed(),
    )
    expect((await refusal(track(writer, ...names))).details).toEqual({ outcome: 'unknown' })
    faulty.heal()
    await until(() => settles(track(writer, ...names)))
    for (const { name } of namesIn(0)) expect(await totalOf(real, name, 'sum')).toBe(3)
    for (const { name } of namesIn(1)) expect(await totalOf(real, name, 'sum')).toBe(2)
    // The partition that answered took the points under their number; only the other one was fenced.
    const fenced = faulty.calls('append').flatMap(([commits]) => commits.filter(({ parts }) => parts.length === 0))
    expect(new Set(fenced.map(({ partition }) => partition))).toEqual(new Set([1]))
  })

  it('acknowledges a request when the last of its partitions has it', async () => {
    const writer = newWriter()
    const names = Array.from({ length: 12 }, (_, i): TestPoint => ({ name: `m${i}`, type: 'counter', value: 1 }))
    await track(writer, ...names)
    let refusals = 5
    faulty.alwaysOf('append', (proceed, [commits]) =>
      commits.some(({ partition }) => partition === 1) && refusals-- > 0 ? lostRequest(proceed) : proceed(),
    )
    await track(writer, ...names)
    expect(refusals).toBeLessThanOrEqual(0)
    for (const { name } of names) expect(await totalOf(real, name, 'sum')).toBe(2)
  })

  it('reports an unknown outcome when another partition has stored its part', async () => {
    const writer = newWriter()
    const names = Array.from({ length: 12 }, (_, i): TestPoint => ({ name: `m${i}`, type: 'gauge', value: 1 }))
    await track(writer, ...names)
    faulty.next(
      'append',
      respondWith([
        { status: 'applied', skipped: [] },
        { status: 'gap', watermark: 0 },
      ]),
    )
    expect((await refusal(track(writer, ...names))).details).toEqual({ outcome: 'unknown' })
  })

  it('reports a defect as internal and goes on', async () => {
    const writer = newWriter()
    await track(writer, hit())
    faulty.next('append', () => Promise.reject(new Error('a bug')))
    expect(await refusal(track(writer, hit()))).toMatchObject({ code: 'internal' })
    await track(writer, hit())
    expect(await totalOf(real, 'hits', 'sum')).toBe(2)
  })
})

describe('what is refused', () => {
  it('refuses requests before it folds anything of them when too much is pending', async () => {
    const writer = newWriter({ pendingBytesMax: 10_000 })
    await track(writer, hit())
    const slow = gate()
    faulty.next('append', slow.fault)
    const accepted = [track(writer, hit())]
    await slow.reached
    const many = Array.from({ length: 100 }, (_, i) => hit(1, { host: String(i) }))
    accepted.push(track(writer, ...many))
    await until(() => faulty.calls('defineMetrics').length > 0)
    await new Promise(setImmediate)
    expect(await refusal(track(writer, hit(1_000)))).toMatchObject({ code: 'overloaded' })
    // Another project, which has nothing waiting, is not refused for it.
    accepted.push(writer.track('other', decoderOf([hit()])))
    await new Promise(setImmediate)
    slow.open()
    await Promise.all(accepted)
    await track(writer, hit())
    expect(await totalOf(real, 'hits', 'sum')).toBe(103)
  })

  it('gives a name to the first of two types that claim it concurrently and rejects the items of the other', async () => {
    const writer = newWriter()
    const [counters, gauges] = await Promise.all([
      track(writer, hit(1), { name: 'ok', type: 'gauge', value: 1 }),
      track(writer, { name: 'ok', type: 'gauge', value: 2 }, { name: 'hits', type: 'gauge', value: 5 }),
    ])
    expect(counters).toEqual([])
    expect(gauges).toMatchObject([{ index: 1, code: 'type_conflict' }])
    expect(await totalOf(real, 'hits', 'sum')).toBe(1)
    expect(await totalOf(real, 'ok', 'count')).toBe(2)
  })

  it('rejects a type conflict within one request, each item once and in their order', async () => {
    const writer = newWriter()
    await track(writer, hit(1))
    const wrong: TestPoint = { name: 'hits', type: 'distribution', value: 1 }
    const rejected = await track(writer, wrong, hit(1), { ...wrong, tags: { a: 'b' } }, hit(1))
    expect(rejected.map(({ index, code }) => [index, code])).toEqual([
      [0, 'type_conflict'],
      [2, 'type_conflict'],
    ])
    expect(await totalOf(real, 'hits', 'sum')).toBe(3)
  })

  it('rejects series beyond the limit of a metric and goes on taking the known ones', async () => {
    const writer = newWriter({ seriesPerMetricMax: 3 })
    await track(writer, hit(1, { host: 'a' }), hit(1, { host: 'b' }))
    const rejected = await track(writer, ...['a', 'c', 'd', 'b', 'e'].map((host) => hit(1, { host })))
    expect(rejected.map(({ index, code }) => [index, code])).toEqual([
      [2, 'series_limit_exceeded'],
      [4, 'series_limit_exceeded'],
    ])
    expect(await track(writer, hit(1, { host: 'c' }))).toEqual([])
    expect(await totalOf(real, 'hits', 'sum')).toBe(6)
    expect((await real.readMetric(PROJECT, 'hits'))?.seriesCount).toBe(3)
  })

  it('holds the series limit against what an earlier process registered', async () => {
    await track(newWriter(), hit(1, { host: 'a' }), hit(1, { host: 'b' }), hit(1, { host: 'c' }))
    const writer = newWriter({ seriesPerMetricMax: 3 })
    expect(await track(writer, hit(1, { host: 'b' }), hit(1, { host: 'c' }))).toEqual([])
    expect(await track(writer, hit(1, { host: 'd' }))).toMatchObject([{ code: 'series_limit_exceeded' }])
  })

  it('holds the series limit between requests that arrive at once', async () => {
    const writer = newWriter({ seriesPerMetricMax: 3 })
    await track(writer, hit(1, { host: 'a' }))
    const rejected = await Promise.all(['b', 'c', 'd', 'e'].map((host) => track(writer, hit(1, { host }))))
    expect(rejected.flat()).toHaveLength(2)
    expect((await real.readMetric(PROJECT, 'hits'))?.seriesCount).toBe(3)
  })

  it('stores nothing of a request whose decoder throws, and takes the next one', async () => {
    const writer = newWriter()
    const decode = decoderOf([hit(5), hit(6, { host: 'x' })])
    await expect(
      writer.track(PROJECT, (sink) => {
        decode(sink)
        throw new RangeError('odd bytes')
      }),
    ).rejects.toThrow(new RangeError('odd bytes'))
    expect(faulty.calls('append')).toHaveLength(0)
    expect(faulty.calls('defineMetrics')).toHaveLength(0)
    await track(writer, hit(1))
    expect(await totalOf(real, 'hits', 'sum')).toBe(1)
    await writer.close()
  })
})

describe('a registry that reaches its bound', () => {
  it('is filled again under traffic, and every total stays exact', async () => {
    const writer = newWriter({ entriesMax: 5 })
    const requests = Array.from({ length: 300 }, (_, i) =>
      track(
        writer,
        hit(1, { host: String(i % 17) }),
        { name: 'users', type: 'set', value: `user-${i % 20}`, tags: { host: String(i % 3) } },
        { name: 'ms', type: 'distribution', value: i, tags: { host: String(i % 5) }, timeMs: T0_MS + (i % 50) * 1_000 },
        { name: 'level', type: 'gauge', value: i, timeMs: T0_MS + i },
      ),
    )
    const pausing = requests.map((request, i) => (i % 20 === 0 ? request : undefined))
    for (const request of pausing) await request
    const rejected = await Promise.all(requests)
    expect(rejected.flat()).toEqual([])
    expect(await totalOf(real, 'hits', 'sum')).toBe(300)
    expect(await totalOf(real, 'users', 'count')).toBe(20)
    expect(await totalOf(real, 'ms', 'count')).toBe(300)
    expect(await totalOf(real, 'ms', 'p100')).toBe(299)
    expect(await totalOf(real, 'level', 'last')).toBe(299)
    expect((await real.readMetric(PROJECT, 'hits'))?.seriesCount).toBe(17)
    expect((await real.readMetric(PROJECT, 'hits'))?.points).toBe(300)
  })

  it('keeps totals exact when it is cleared while a request waits for a definition', async () => {
    const writer = newWriter({ entriesMax: 3 })
    const slow = gate()
    faulty.next('defineMetrics', slow.fault)
    const waiting = track(writer, hit(1, { host: 'a' }), hit(2, { host: 'b' }), hit(4, { host: 'c' }))
    await slow.reached
    const cleared = [track(writer, hit(8, { host: 'a' })), track(writer, hit(16, { host: 'b' }))]
    slow.open()
    await Promise.all([waiting, ...cleared])
    expect(await totalOf(real, 'hits', 'sum')).toBe(31)
    expect((await real.readMetric(PROJECT, 'hits'))?.seriesCount).toBe(3)
  })
})

describe('close', () => {
  it('finishes every accepted request and refuses later ones', async () => {
    const writer = newWriter()
    const slow = gate()
    faulty.next('append', slow.fault)
    const accepted = [track(writer, hit())]
    await slow.reached
    accepted.push(track(writer, hit()), track(writer, { name: 'new', type: 'gauge', value: 1 }))
    const closed = writer.close()
    expect(await refusal(track(writer, hit()))).toMatchObject({ code: 'overloaded' })
    slow.open()
    await Promise.all([...accepted, closed])
    expect(await totalOf(real, 'hits', 'sum')).toBe(2)
    expect(await totalOf(real, 'new', 'count')).toBe(1)
  })

  it('ends when the store stays unavailable, and every request gets a response', async () => {
    const writer = newWriter({ storeWaitMsMax: 100 })
    faulty.always('append', lostRequest)
    const requests = [held(track(writer, hit())), held(track(writer, hit()))]
    await until(() => faulty.calls('append').length > 0)
    await writer.close()
    for (const request of requests) await refusal(request)
  })
})

/** Waits, a few milliseconds at a time, until something has become so. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  await expect.poll(condition, { interval: 5, timeout: 5_000 }).toBe(true)
}

function settles(promise: Promise<unknown>): Promise<boolean> {
  return promise.then(
    () => true,
    () => false,
  )
}
