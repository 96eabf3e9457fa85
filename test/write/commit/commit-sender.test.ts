import { beforeEach, describe, expect, it } from 'vitest'
import { unavailableError } from '../../../src/store/embedded/lmdb.ts'
import type { Store } from '../../../src/store/store.ts'
import type { Writer, WriterEvents, WriterSettings } from '../../../src/write/commit/writer.ts'
import { ask, PROJECT, type TestPoint, totalOf } from '../../support/engine.ts'
import { FaultyStore, gate, lostRequest, lostResponse, respondWith } from '../../support/faulty-store.ts'
import { openTestStore, openTestWriter } from '../../support/test-writer.ts'
import { held, hit, refusal, track, until } from './harness.ts'

let real: Store
let faulty: FaultyStore

beforeEach(async () => {
  real = await openTestStore()
  faulty = new FaultyStore(real)
})

const newWriter = (settings: Partial<WriterSettings> = {}, events: Partial<WriterEvents> = {}): Writer =>
  openTestWriter(faulty, settings, events)

describe('a commit without a response', () => {
  it('is retried under the same number and counted once when the response was lost', async () => {
    const writer = newWriter()
    faulty.next('append', lostResponse, lostResponse)
    await track(writer, hit(7))
    const numbers = faulty.calls('append').map(([[commit]]) => [commit!.writer, commit!.commitNumber])
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
    const unknown = 'the store does not respond; the outcome of a commit is unknown'
    expect(warnings.filter((message) => message === unknown)).toHaveLength(1)

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
    expect(new Set(fences.map(({ commitNumber }) => commitNumber))).toEqual(new Set([refused!.commitNumber]))
    expect(rest.at(-1)).toMatchObject({ writer: refused!.writer, commitNumber: refused!.commitNumber + 1 })
  })

  it('is logged with its cause once, and again only after a commit was stored', async () => {
    const warned: unknown[] = []
    const writer = newWriter({}, { warn: (message, details) => warned.push({ message, ...details }) })
    const diskIsFull = () =>
      Promise.reject(unavailableError(Object.assign(new Error('no space left'), { code: 'ENOSPC' })))
    const warning = {
      message: 'the store does not accept commits; they are retried',
      err: { cause: { code: 'ENOSPC' } },
    }
    faulty.next('append', diskIsFull, diskIsFull, diskIsFull)
    await track(writer, hit())
    expect(warned).toMatchObject([warning])
    faulty.next('append', diskIsFull)
    await track(writer, hit())
    expect(warned).toMatchObject([warning, warning])
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
    expect(last!.commitNumber).toBe(1)
    expect(last!.parts[0]!.series).toHaveLength(1)
    expect(await totalOf(real, 'hits', 'sum')).toBe(101)
  })

  it('refuses a round in conflict, fences its number and registers its series again', async () => {
    let losses = 0
    const writer = newWriter({}, { writesLost: () => losses++ })
    await track(writer, hit(1))
    faulty.next('append', respondWith([{ status: 'conflict', metricIds: [], deleted: [] }]))
    expect(await refusal(track(writer, hit(10)))).toMatchObject({ code: 'store_unavailable', details: undefined })
    expect(losses).toBe(1)
    await track(writer, hit(100))
    const [, refused, fenced, last] = faulty.calls('append').map(([[commit]]) => commit!)
    expect(fenced).toEqual({ ...refused!, parts: [] })
    expect(last).toMatchObject({ writer: refused!.writer, commitNumber: refused!.commitNumber + 1 })
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

function settles(promise: Promise<unknown>): Promise<boolean> {
  return promise.then(
    () => true,
    () => false,
  )
}
