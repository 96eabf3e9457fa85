import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { DAY_MS, MINUTE_MS } from '../../../src/model/time.ts'
import type { InboxSize } from '../../../src/store/inbox-size.ts'
import { openRedisStore } from '../../../src/store/redis/redis-store.ts'
import type { Store } from '../../../src/store/store.ts'
import { FoldLoop } from '../../../src/write/fold/fold-loop.ts'
import { decoderOf, FOLD_SETTINGS, openWriter, PROJECT, T0_MS, totalOf } from '../../support/engine.ts'
import { FaultyStore, respondWith } from '../../support/faulty-store.ts'
import { type RedisServer, startRedis } from '../../support/redis-server.ts'

/** Two loops, as in two gateways, fold the same partitions of one Redis while points come in. */

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server?.stop())

let stores = 0
const ROUNDS = 12
const NAMES = Array.from({ length: 20 }, (_, i) => `m${i}`)

/** A loop on a store of its own, which counts the folds that the server refused. */
async function openLoop(prefix: string) {
  const { resolutions, setResolutions } = FOLD_SETTINGS
  const store = await openRedisStore({ url: server.url, prefix, partitions: 2, resolutions, setResolutions })
  const faulty = new FaultyStore(store)
  let wasted = 0
  faulty.always('commitFold', async (proceed) => {
    const isDone = await proceed()
    if (isDone === false) wasted++
    return isDone
  })
  const settings = { ...FOLD_SETTINGS, inboxBytesMax: 1 << 30, inboxAgeMsMax: 0, eventsKeptMs: 90 * DAY_MS }
  const loop = new FoldLoop(faulty.store, settings, { error: (details) => expect(details).toBeUndefined() }, Date.now)
  onTestFinished(async () => {
    await loop.stop()
    await store.close()
  })
  return { store, faulty, loop, wasted: () => wasted }
}

async function openTwo() {
  const prefix = `lease${++stores}`
  return [await openLoop(prefix), await openLoop(prefix)] as const
}

/** Sends rounds of points, each while both loops fold what came before. Afterwards the inboxes are empty. */
async function foldUnderLoad(store: Store, loops: readonly FoldLoop[]): Promise<void> {
  const noteCommit = (partition: number, added: InboxSize) => {
    for (const loop of loops) loop.noteCommit(partition, added)
  }
  const writer = openWriter(store, {}, { committed: noteCommit })
  for (let round = 0; round < ROUNDS; round++) {
    const points = NAMES.map((name) => ({
      name,
      type: 'counter' as const,
      value: 1,
      timeMs: T0_MS + round * MINUTE_MS,
      tags: { round: String(round % 3) },
    }))
    await Promise.all([writer.track(PROJECT, decoderOf(points)), ...loops.map((loop) => loop.drain())])
  }
  await writer.close()
  await expect
    .poll(async () => {
      await Promise.all(loops.map((loop) => loop.drain()))
      return Promise.all([store.inboxSize(0), store.inboxSize(1)])
    })
    .toEqual([
      { entries: 0, bytes: 0 },
      { entries: 0, bytes: 0 },
    ])
}

describe('two fold loops on one Redis', () => {
  it('lose and double nothing when both believe that they hold the lease', async () => {
    const [gatewayA, gatewayB] = await openTwo()
    for (const { faulty } of [gatewayA, gatewayB]) faulty.always('takeLease', respondWith(true))
    await foldUnderLoad(gatewayA.store, [gatewayA.loop, gatewayB.loop])
    for (const name of NAMES) expect(await totalOf(gatewayA.store, name, 'sum')).toBe(ROUNDS)
    expect(gatewayA.wasted() + gatewayB.wasted()).toBeGreaterThan(0)
  })

  it('do no work twice with the lease', async () => {
    const [gatewayA, gatewayB] = await openTwo()
    await foldUnderLoad(gatewayA.store, [gatewayA.loop, gatewayB.loop])
    for (const name of NAMES) expect(await totalOf(gatewayA.store, name, 'sum')).toBe(ROUNDS)
    expect(gatewayA.wasted() + gatewayB.wasted()).toBe(0)
    expect(gatewayA.loop.totals.foldedEntries + gatewayB.loop.totals.foldedEntries).toBeGreaterThanOrEqual(ROUNDS)
  })

  it('leave a partition to the holder of its lease, and fold it after the holder crashed', async () => {
    const [gatewayA, gatewayB] = await openTwo()
    const take = (leaseMs: number) =>
      gatewayA.store.takeLease({ partition: 0, holder: 'dead', leaseMs, nowMs: Date.now() })
    await Promise.all([
      take(60_000),
      gatewayA.store.takeLease({ partition: 1, holder: 'dead', leaseMs: 60_000, nowMs: 0 }),
    ])
    const writer = openWriter(gatewayA.store)
    await writer.track(PROJECT, decoderOf(NAMES.map((name) => ({ name, type: 'counter' as const, value: 1 }))))
    await writer.close()
    await gatewayB.loop.start()
    await gatewayB.loop.drain()
    expect((await gatewayA.store.inboxSize(0)).entries).toBeGreaterThan(0)
    await take(50)
    await expect.poll(() => gatewayA.store.inboxSize(0), { timeout: 10_000 }).toEqual({ entries: 0, bytes: 0 })
    expect((await gatewayA.store.inboxSize(1)).entries).toBeGreaterThan(0)
  })
})
