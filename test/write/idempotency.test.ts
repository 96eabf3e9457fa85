import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import type { Store } from '../../src/store/store.ts'
import { Idempotency } from '../../src/write/idempotency.ts'
import { decoderOf, openStore, PROJECT, T0_MS, type TestPoint, totalOf } from '../support/engine.ts'
import { FaultyStore, gate, lostRequest, lostResponse } from '../support/faulty-store.ts'
import { ForgetfulStore } from '../support/forgetful-store.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { openTestWriter } from '../support/test-writer.ts'

let real: Store
let nowMs: number

beforeEach(async () => {
  real = await openStore(await temporaryFolder())
  onTestFinished(() => real.close())
  nowMs = T0_MS
})

/** A gateway that shares the store with others and has a line of its own to it. */
interface TestGateway {
  readonly faulty: FaultyStore
  /** Tracks the points under the key. The body of the response differs for each time that they were really tracked. */
  send(key: string, points: readonly TestPoint[], hash?: string): Promise<{ status: number; body: string }>
}

let servings = 0

/** Looks by itself only when a test says how often. */
const SETTINGS = { storeWaitMsMax: 1_000, retainedMsMax: 30_000, lossCheckIntervalMs: 3_600_000 }

function newGateway(faulty = new FaultyStore(real)): TestGateway {
  const writer = openTestWriter(faulty, { storeWaitMsMax: 1_000 }, {}, () => nowMs)
  const idempotency = new Idempotency(faulty.store, SETTINGS, () => nowMs)
  return {
    faulty,
    send: (key, points, hash = JSON.stringify(points)) =>
      idempotency.serveOnce(PROJECT, { key, requestHash: hash }, async () => {
        const rejected = await writer.track(PROJECT, decoderOf(points), key)
        return { status: 201, body: `serving ${++servings}, ${rejected.length} rejected` }
      }),
  }
}

const hits: readonly TestPoint[] = [{ name: 'hits', type: 'counter', value: 1 }]
/** Values and sets in both partitions. */
const many: readonly TestPoint[] = Array.from({ length: 12 }, (_, i) => [
  { name: `count${i}`, type: 'counter' as const, value: 1 },
  { name: `users${i}`, type: 'set' as const, value: 'ann' },
]).flat()

async function countsOfMany(): Promise<Set<number>> {
  const counts = await Promise.all(
    many.map(({ name }) => real.readMetric(PROJECT, name).then((row) => row?.points ?? 0)),
  )
  return new Set(counts)
}

describe('a request with a key', () => {
  it('counts once and gets the same response, through any gateway', async () => {
    const [gatewayA, gatewayB] = [newGateway(), newGateway()]
    const first = await gatewayA.send('k', many)
    expect(await gatewayA.send('k', many)).toEqual(first)
    expect(await gatewayB.send('k', many)).toEqual(first)
    expect(await countsOfMany()).toEqual(new Set([1]))
  })

  it('counts again under another key, and in another project', async () => {
    const gateway = newGateway()
    await gateway.send('k', hits)
    await gateway.send('l', hits)
    expect(await totalOf(real, 'hits', 'sum')).toBe(2)
    expect(await real.readReceipt('other', 'k', nowMs)).toBeUndefined()
  })

  it('is a conflict when it is another request, and stores nothing of it', async () => {
    const gateway = newGateway()
    await gateway.send('k', hits)
    const other: TestPoint[] = [{ name: 'other', type: 'counter', value: 1 }]
    await expect(gateway.send('k', other)).rejects.toMatchObject({ code: 'idempotency_conflict' })
    await expect(newGateway().send('k', other)).rejects.toMatchObject({ code: 'idempotency_conflict' })
    expect(await real.readMetric(PROJECT, 'other')).toBeUndefined()
  })

  it('counts again after a day', async () => {
    const gateway = newGateway()
    const first = await gateway.send('k', hits)
    nowMs += 86_400_000 - 1
    expect(await gateway.send('k', hits)).toEqual(first)
    nowMs += 1
    expect(await gateway.send('k', hits)).not.toEqual(first)
    expect(await totalOf(real, 'hits', 'sum')).toBe(2)
  })

  it('counts once when it is sent twice concurrently', async () => {
    const [gatewayA, gatewayB] = [newGateway(), newGateway()]
    const responses = await Promise.all(
      [...Array(5).fill(gatewayA), ...Array(5).fill(gatewayB)].map((g) => g.send('k', many)),
    )
    expect(new Set(responses.map(({ body }) => body)).size).toBe(1)
    expect(await countsOfMany()).toEqual(new Set([1]))
  })

  it('is a conflict too when another request with the key is in progress', async () => {
    const gateway = newGateway()
    const other: TestPoint[] = Array.from({ length: 4 }, (_, i) => ({ name: `other${i}`, type: 'counter', value: 1 }))
    const [first, second] = await Promise.allSettled([gateway.send('k', hits), gateway.send('k', other)])
    expect(first).toMatchObject({ status: 'fulfilled' })
    expect(second).toMatchObject({ status: 'rejected', reason: { code: 'idempotency_conflict' } })
    for (const { name } of other) expect(await real.readMetric(PROJECT, name)).toBeUndefined()
  })

  it('is served by the next request when the one before it fails', async () => {
    const gateway = newGateway()
    const slow = gate()
    gateway.faulty.next('readReceipt', async (proceed) => {
      await slow.fault(proceed)
      return lostRequest(proceed)
    })
    const first = gateway.send('k', hits)
    await slow.reached
    const second = gateway.send('k', hits)
    slow.open()
    await expect(first).rejects.toMatchObject({ code: 'store_unavailable' })
    expect(await second).toMatchObject({ status: 201 })
    expect(await totalOf(real, 'hits', 'sum')).toBe(1)
  })

  it('is not saved when it is refused', async () => {
    const idempotency = new Idempotency(real, SETTINGS, () => nowMs)
    const request = { key: 'k', requestHash: 'a' }
    expect(await idempotency.serveOnce(PROJECT, request, async () => ({ status: 400, body: 'no' }))).toMatchObject({
      status: 400,
    })
    await expect(idempotency.serveOnce(PROJECT, request, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(
      await idempotency.serveOnce(PROJECT, { ...request, requestHash: 'b' }, async () => ({ status: 201, body: '' })),
    ).toEqual({ status: 201, body: '' })
  })

  it.each([
    ['nothing', ''],
    ['a space', 'a b'],
    ['a line feed', 'a\nb'],
    ['a letter beyond ASCII', 'clé'],
    ['256 characters', 'k'.repeat(256)],
  ])('is refused when its key has %s', async (_, key) => {
    await expect(newGateway().send(key, hits)).rejects.toMatchObject({ code: 'invalid_body' })
    expect(await real.readMetric(PROJECT, 'hits')).toBeUndefined()
  })

  it('may have a key of 255 characters', async () => {
    await newGateway().send('~'.repeat(255), hits)
    expect(await totalOf(real, 'hits', 'sum')).toBe(1)
  })
})

describe('a gateway that crashes during a request', () => {
  const crashes: readonly [string, (faulty: FaultyStore) => void][] = [
    ['before its commit', (faulty) => faulty.always('append', lostRequest)],
    [
      'after its commit, before the answer',
      (faulty) => {
        faulty.next('append', lostResponse)
        faulty.always('append', lostRequest)
      },
    ],
    [
      'after its commit in one of two partitions',
      (faulty) =>
        faulty.alwaysOf('append', async (proceed, [commits]) => {
          if (commits.some(({ partition }) => partition === 0)) return lostRequest(proceed)
          return proceed()
        }),
    ],
    ['between its commit and its receipt', (faulty) => faulty.always('writeReceipt', lostRequest)],
    [
      'after its receipt, before the answer',
      (faulty) => {
        faulty.next('writeReceipt', lostResponse)
        faulty.always('writeReceipt', lostRequest)
      },
    ],
  ]

  it.each(crashes)('%s: a retry through another one counts what is missing, once', async (_, crash) => {
    const dying = newGateway()
    // Its metrics are known, so that the crash is where it is said to be.
    await dying.send('before', many)
    crash(dying.faulty)
    await expect(dying.send('k', many)).rejects.toMatchObject({
      code: 'store_unavailable',
      details: { outcome: 'unknown' },
    })
    const gatewayB = newGateway()
    const response = await gatewayB.send('k', many)
    expect(response.body).toMatch(/, 0 rejected$/)
    expect(await gatewayB.send('k', many)).toEqual(response)
    expect(await countsOfMany()).toEqual(new Set([2]))
    await expect(gatewayB.send('k', hits)).rejects.toMatchObject({ code: 'idempotency_conflict' })
  })

  it('after its receipt: the retry gets the first response', async () => {
    const dying = newGateway()
    dying.faulty.next('writeReceipt', lostResponse)
    dying.faulty.always('writeReceipt', lostRequest)
    await expect(dying.send('k', hits)).rejects.toMatchObject({ details: { outcome: 'unknown' } })
    const receipt = await real.readReceipt(PROJECT, 'k', nowMs)
    expect((await newGateway().send('k', hits)).body).toBe(receipt?.body)
  })

  it('rejects in bounded time when the store leaves calls pending', async () => {
    const gateway = newGateway()
    gateway.faulty.next('readReceipt', () => new Promise(() => {}))
    await expect(gateway.send('k', hits)).rejects.toMatchObject({ code: 'store_unavailable', details: undefined })
    gateway.faulty.always('writeReceipt', () => new Promise(() => {}))
    await expect(gateway.send('k', hits)).rejects.toMatchObject({ details: { outcome: 'unknown' } })
  })
})

describe('a retry of which other items are rejected', () => {
  it('adds what was left out the first time and nothing else', async () => {
    const dying = newGateway()
    dying.faulty.always('writeReceipt', lostRequest)
    const set: TestPoint = { name: 'users', type: 'set', value: 'ann' }
    const asGauge: TestPoint = { name: 'hits', type: 'gauge', value: 1 }
    // Only the set gets in, for the name is another gauge's by then.
    const other = newGateway()
    await other.send('define', [{ name: 'late', type: 'gauge', value: 1 }])
    const points: TestPoint[] = [{ ...asGauge, name: 'late', type: 'counter' }, set]
    await expect(dying.send('k', points)).rejects.toMatchObject({ details: { outcome: 'unknown' } })
    // Now there are values too: the part of the set is known by what it holds, not by its place.
    await other.send('k', [{ name: 'late', type: 'gauge', value: 2 }, set])
    expect((await real.readMetric(PROJECT, 'users'))?.points).toBe(1)
    expect((await real.readMetric(PROJECT, 'late'))?.points).toBe(2)
  })
})

describe('a store that lost receipts', () => {
  it('gets the latest ones again', async () => {
    const store = await ForgetfulStore.open()
    const idempotency = new Idempotency(store.faulty.store, SETTINGS, () => nowMs)
    const serve = (key: string, body: string) =>
      idempotency.serveOnce(PROJECT, { key, requestHash: 'h' }, async () => ({ status: 201, body }))
    await serve('old', 'first')
    nowMs += 30_001
    await store.remember()
    await serve('k', 'first')
    await store.forget()
    expect(await store.current.readReceipt(PROJECT, 'k', nowMs)).toBeUndefined()
    store.faulty.next('writeReceipt', (proceed) => proceed())
    const before = store.faulty.calls('writeReceipt').length
    await idempotency.replayReceipts()
    expect(
      store.faulty
        .calls('writeReceipt')
        .slice(before)
        .map(([, key]) => key),
    ).toEqual(['k'])
    expect(await serve('k', 'second')).toEqual({ status: 201, body: 'first' })
  })
  it('is found by a check, even if it holds nothing else of the gateway, and gets them again', async () => {
    const store = await ForgetfulStore.open()
    const idempotency = new Idempotency(store.faulty.store, { ...SETTINGS, lossCheckIntervalMs: 5 }, () => nowMs)
    onTestFinished(() => idempotency.close())
    const serve = (key: string) =>
      idempotency.serveOnce(PROJECT, { key, requestHash: 'h' }, async () => ({ status: 201, body: key }))
    await serve('before')
    await store.remember()
    for (const key of ['a', 'b']) await serve(key)
    await store.forget()
    const readAll = () => Promise.all(['before', 'a', 'b'].map((key) => store.current.readReceipt(PROJECT, key, nowMs)))
    await expect.poll(async () => (await readAll()).map((receipt) => receipt?.body)).toEqual(['before', 'a', 'b'])
    // What the store has had for long enough is let go, and it is asked nothing more.
    nowMs += 30_001
    await expect.poll(() => idempotency.retainedReceiptCount).toBe(0)
  })

  it('is not checked any more once the gateway is closed, also if a request ends after that', async () => {
    const store = await ForgetfulStore.open()
    const idempotency = new Idempotency(store.faulty.store, { ...SETTINGS, lossCheckIntervalMs: 1 }, () => nowMs)
    await idempotency.serveOnce(PROJECT, { key: 'k', requestHash: 'h' }, async () => {
      idempotency.close()
      return { status: 201, body: '' }
    })
    const before = store.faulty.calls('readReceipt').length
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(store.faulty.calls('readReceipt')).toHaveLength(before)
  })

  it('returns the first response, and refuses another body, before the loss is noticed', async () => {
    const store = await ForgetfulStore.open()
    const idempotency = new Idempotency(store.faulty.store, SETTINGS, () => nowMs)
    const serve = (requestHash: string, body: string) =>
      idempotency.serveOnce(PROJECT, { key: 'k', requestHash }, async () => ({ status: 201, body }))
    await store.remember()
    await serve('h', 'first')
    await store.forget()
    await expect(serve('another', 'second')).rejects.toMatchObject({ code: 'idempotency_conflict' })
    expect(await store.current.readReceipt(PROJECT, 'k', nowMs)).toMatchObject({ body: 'first' })
    expect(await serve('h', 'second')).toEqual({ status: 201, body: 'first' })
  })

  it('stays without them when nothing is retained', async () => {
    const store = await ForgetfulStore.open()
    const idempotency = new Idempotency(store.faulty.store, { ...SETTINGS, retainedMsMax: 0 }, () => nowMs)
    const serve = (body: string) =>
      idempotency.serveOnce(PROJECT, { key: 'k', requestHash: 'h' }, async () => ({ status: 201, body }))
    await store.remember()
    await serve('first')
    await store.forget()
    await idempotency.replayReceipts()
    expect(await serve('second')).toEqual({ status: 201, body: 'second' })
  })
})
