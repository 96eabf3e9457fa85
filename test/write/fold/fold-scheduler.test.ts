import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { HOUR_MS } from '../../../src/model/time.ts'
import type { Store } from '../../../src/store/store.ts'
import type { Writer } from '../../../src/write/commit/writer.ts'
import { FoldLoop, type FoldLoopSettings } from '../../../src/write/fold/fold-loop.ts'
import { STEP_ENTRIES_MAX } from '../../../src/write/fold/fold-step.ts'
import { SEALED_TIER } from '../../../src/write/fold/runs-to-merge.ts'
import { decoderOf, FOLD_SETTINGS, PROJECT, T0_MS, type TestPoint, totalOf } from '../../support/engine.ts'
import { FaultyStore, gate, lostRequest, respondWith } from '../../support/faulty-store.ts'
import { openTestStore, openTestWriter } from '../../support/test-writer.ts'
import { entriesOf, gauge, NOW_MS } from './harness.ts'

let store: Store
let writer: Writer

beforeEach(async () => {
  store = await openTestStore(1)
  writer = openTestWriter(new FaultyStore(store))
})

const track = (...points: readonly TestPoint[]) => writer.track(PROJECT, decoderOf(points))

describe('the scheduler of folds', () => {
  const LOOP: FoldLoopSettings = { ...FOLD_SETTINGS, inboxBytesMax: 1 << 20, inboxAgeMsMax: 15_000, eventsKeptMs: 1 }

  function newLoop(through: Store, settings: Partial<FoldLoopSettings> = {}) {
    const failures: string[] = []
    let nowMs = NOW_MS
    const log = { error: (_details: object, message: string) => failures.push(message) }
    const loop = new FoldLoop(through, { ...LOOP, ...settings }, log, () => nowMs)
    onTestFinished(() => loop.stop())
    return { loop, failures, advance: (ms: number) => (nowMs += ms) }
  }

  async function noteInbox(loop: FoldLoop): Promise<void> {
    loop.noteCommit(0, await store.inboxSize(0))
  }

  it('folds what an earlier process left, on drain', async () => {
    for (let i = 0; i < 20; i++) await track(gauge(i))
    const { loop } = newLoop(store)
    await loop.start()
    await loop.drain()
    expect(await store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
    expect(loop.totals).toMatchObject({ foldedEntries: 20, failures: 0 })
    expect(await totalOf(store, 'level', 'last')).toBe(19)
  })

  it('folds at once when the inbox has grown to its bound', async () => {
    const { loop } = newLoop(store, { inboxBytesMax: 10 })
    await track(gauge(1))
    await noteInbox(loop)
    await expect.poll(async () => (await store.inboxSize(0)).entries).toBe(0)
  })

  it('folds at once when the inbox has as many entries as a step takes, however small they are', async () => {
    const { loop } = newLoop(store)
    for (let i = 1; i < STEP_ENTRIES_MAX; i++) await track(gauge(i))
    await noteInbox(loop)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect((await store.inboxSize(0)).entries).toBe(STEP_ENTRIES_MAX - 1)
    await track(gauge(0))
    loop.noteCommit(0, { entries: 1, bytes: 1 })
    await expect.poll(async () => (await store.inboxSize(0)).entries).toBe(0)
    expect(loop.totals.steps).toBe(1)
  })

  it('does not fold while the store is behind with writing', async () => {
    const faulty = new FaultyStore(store)
    faulty.hasRoomForLargeWrites = false
    const { loop } = newLoop(faulty.store, { inboxBytesMax: 10 })
    await track(gauge(1))
    await noteInbox(loop)
    const folded = loop.drain()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect((await store.inboxSize(0)).entries).toBe(1)
    faulty.hasRoomForLargeWrites = true
    await folded
    expect((await store.inboxSize(0)).entries).toBe(0)
  })

  it('does not fold while it is held', async () => {
    const { loop, advance } = newLoop(store)
    loop.pauseUntil(NOW_MS + 5_000)
    await track(gauge(1))
    await noteInbox(loop)
    await loop.drain()
    expect((await store.inboxSize(0)).entries).toBe(1)
    advance(6_000)
    await loop.drain()
    expect((await store.inboxSize(0)).entries).toBe(0)
  })

  it('logs a failing store, lets points in meanwhile and goes on later', async () => {
    const faulty = new FaultyStore(store)
    const { loop, failures, advance } = newLoop(faulty.store)
    await track(gauge(1))
    await noteInbox(loop)
    faulty.always('commitFold', lostRequest)
    await loop.drain()
    expect(failures).toHaveLength(1)
    expect(loop.totals.failures).toBe(1)
    await track(gauge(2))
    expect(await totalOf(store, 'level', 'last')).toBe(2)
    faulty.heal()
    await loop.drain()
    expect((await store.inboxSize(0)).entries).toBe(2)
    advance(10_000)
    await loop.drain()
    expect((await store.inboxSize(0)).entries).toBe(0)
    expect(await totalOf(store, 'level', 'last')).toBe(2)
  })

  it('does not spin when its commits are refused again and again', async () => {
    const faulty = new FaultyStore(store)
    const { loop } = newLoop(faulty.store)
    await track(gauge(1))
    await noteInbox(loop)
    faulty.always('commitFold', respondWith(false))
    await loop.drain()
    expect(faulty.calls('commitFold')).toHaveLength(1)
    faulty.heal()
    await loop.drain()
    expect((await store.inboxSize(0)).entries).toBe(0)
  })

  it('stops in the middle of its work', async () => {
    for (let i = 0; i < 10; i++) await track(gauge(i))
    const faulty = new FaultyStore(store)
    const { loop } = newLoop(faulty.store, { stepBytesMax: 1 })
    await noteInbox(loop)
    const slow = gate()
    faulty.next('commitFold', slow.fault)
    const drained = loop.drain()
    await slow.reached
    const stopped = loop.stop()
    slow.open()
    await Promise.all([drained, stopped])
    expect((await store.inboxSize(0)).entries).toBe(9)
    expect(await totalOf(store, 'level', 'count')).toBe(10)
  })

  it('merges piles and seals windows that have ended', async () => {
    const { loop, advance } = newLoop(store)
    for (let i = 0; i < 8; i++) {
      await track(gauge(i))
      await noteInbox(loop)
      await loop.drain()
    }
    expect(loop.totals).toMatchObject({ steps: 8, merges: 4, seals: 0 })
    expect((await entriesOf(store, 'level', 10_000)).map(({ tier }) => tier)).toEqual([1])
    advance(2 * HOUR_MS)
    await loop.drain()
    expect((await entriesOf(store, 'level', 10_000)).map(({ tier }) => tier)).toEqual([SEALED_TIER])
    expect(await totalOf(store, 'level', 'last')).toBe(7)
  })

  it('seals a large window in several steps, and again after a point that arrives between two of them', async () => {
    const faulty = new FaultyStore(store)
    const { loop, advance } = newLoop(faulty.store, { mergeStepBytesMax: 1 })
    const series = 1_000
    const points = Array.from({ length: 20 * series }, (_, i) =>
      gauge(Math.sin(i), T0_MS + Math.floor(i / series) * 30_000, { host: `${i % series}` }),
    )
    await track(...points)
    await noteInbox(loop)
    await loop.drain()
    advance(2 * HOUR_MS)
    let isLate = true
    faulty.alwaysOf('commitFold', async (proceed, [{ inbox }]) => {
      const isDone = await proceed()
      if (inbox.length === 0 && isLate) {
        isLate = false
        await track(gauge(1, T0_MS, { host: '7' }))
        await noteInbox(loop)
      }
      return isDone
    })
    await loop.drain()
    const steps = faulty.calls('commitFold').filter(([{ inbox }]) => inbox.length === 0)
    expect(steps.length).toBeGreaterThan(loop.totals.seals)
    expect(loop.totals.seals).toBeGreaterThan(0)
    // The point is folded, and then the window is sealed again.
    for (let n = 0; n < 2; n++) {
      await loop.drain()
      advance(HOUR_MS)
    }
    await loop.drain()
    const entries = await entriesOf(store, 'level', 10_000)
    expect(new Set(entries.map(({ tier, order }) => `${tier} ${order}`)).size).toBe(1)
    expect(entries[0]!.tier).toBe(SEALED_TIER)
    expect(loop.totals.failures).toBe(0)
    expect(await totalOf(store, 'level', 'count')).toBe(points.length + 1)
  })

  it('does not count the age of a commit without blocks', async () => {
    const faulty = new FaultyStore(store)
    const { loop, advance } = newLoop(faulty.store)
    loop.noteCommit(0, { entries: 0, bytes: 0 })
    advance(60_000)
    expect(loop.oldestEntryAgeMs).toBe(0)
    await loop.drain()
    expect(faulty.calls('readInbox')).toEqual([])
  })

  it('goes on with the entries that one read leaves, without waiting for them to be old again', async () => {
    const { loop, advance } = newLoop(store, { stepBytesMax: 1 })
    for (let i = 0; i < 3; i++) await track(gauge(i))
    await noteInbox(loop)
    advance(15_000)
    // The inbox looks full, so that the work begins.
    loop.noteCommit(0, { entries: 1, bytes: LOOP.inboxBytesMax })
    await expect.poll(async () => (await store.inboxSize(0)).entries).toBe(0)
    expect(loop.totals.steps).toBe(3)
  })

  it.each(['scalars', 'sketches'] as const)('counts and logs once a window of which the %s were lost', async (lost) => {
    const faulty = new FaultyStore(store)
    const { loop, failures, advance } = newLoop(faulty.store)
    const observed = (value: number): TestPoint => ({ name: 'ms', type: 'distribution', value, timeMs: T0_MS })
    await track(observed(1), observed(2))
    await track(gauge(1))
    await noteInbox(loop)
    await loop.drain()
    const [entry] = await entriesOf(store, 'ms', 10_000)
    faulty.alwaysOf('readBlocks', async (proceed, [, names, part]) => {
      const blocks = (await proceed()) as readonly (Uint8Array | undefined)[]
      return blocks.map((block, i) => (names[i] === entry!.block && part === lost ? undefined : block))
    })
    advance(2 * HOUR_MS)
    for (let i = 0; i < 3; i++) {
      await loop.drain()
      advance(10_000)
    }
    expect(loop.totals).toMatchObject({ failures: 1 })
    expect(failures).toHaveLength(1)
    expect((await entriesOf(store, 'ms', 10_000)).map(({ tier }) => tier)).toEqual([0])
    expect((await entriesOf(store, 'level', 10_000)).map(({ tier }) => tier)).toEqual([SEALED_TIER])
  })
})
