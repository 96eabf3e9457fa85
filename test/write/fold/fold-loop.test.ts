import { afterEach, describe, expect, it } from 'vitest'
import { DAY_MS } from '../../../src/model/time.ts'
import type { FoldCommit, Store } from '../../../src/store/store.ts'
import { FoldLoop } from '../../../src/write/fold/fold-loop.ts'
import { decoderOf, FOLD_SETTINGS, openStore, openWriter, PROJECT, T0_MS } from '../../support/engine.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/**
 * A loop with a clock of its own over a store that a writer fills; `onFold` runs before each commit of a fold or a
 * merge.
 */
async function openLoop(ageMsMax = 60_000, onFold: (fold: FoldCommit) => Promise<void> = async () => {}) {
  const opened: Store = await openStore(await temporaryFolder(), 1)
  const store = new Proxy(opened, {
    get(target, verb) {
      if (verb === 'commitFold') return (fold: FoldCommit) => onFold(fold).then(() => target.commitFold(fold))
      const value: unknown = Reflect.get(target, verb, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  let nowMs = T0_MS
  const settings = { ...FOLD_SETTINGS, inboxBytesMax: 1 << 30, inboxAgeMsMax: ageMsMax, eventsKeptMs: 90 * DAY_MS }
  const loop = new FoldLoop(store, settings, { error: () => {} }, () => nowMs)
  const writer = openWriter(store, {}, { committed: (partition, added) => loop.noteCommit(partition, added) })
  closing.push(async () => {
    await writer.close()
    await loop.stop()
    await store.close()
  })
  return { store, loop, writer, clock: { set: (ms: number) => (nowMs = ms) } }
}

describe('FoldLoop', () => {
  it('folds many metrics in several steps', async () => {
    const { store, loop, writer } = await openLoop()
    for (let batch = 0; batch < 8; batch++) {
      const points = Array.from({ length: 400 }, (_, i) => ({
        name: `m${batch}.${i}`,
        type: 'gauge' as const,
        value: i,
      }))
      await writer.track(PROJECT, decoderOf(points))
    }
    await loop.drain()
    expect(await store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
    expect(loop.totals.steps).toBeGreaterThanOrEqual(4)
  })

  it('folds many metrics of one commit in several steps', async () => {
    const { loop, writer } = await openLoop()
    const points = Array.from({ length: 2_000 }, (_, i) => ({ name: `m${i}`, type: 'gauge' as const, value: i }))
    await writer.track(PROJECT, decoderOf(points))
    await loop.drain()
    expect(loop.totals.steps).toBeGreaterThanOrEqual(4)
  })

  it('seals windows that have ended, and folds entries that arrive meanwhile', async () => {
    const { store, loop, writer, clock } = await openLoop()
    const scattered = Array.from({ length: 100 }, (_, i) => ({
      name: 'old',
      type: 'gauge' as const,
      value: i,
      timeMs: T0_MS - i * 86_400_000,
    }))
    await writer.track(PROJECT, decoderOf(scattered))
    await loop.drain()
    expect(loop.totals.seals).toBe(0)
    clock.set(T0_MS + 3 * 3_600_000)
    const draining = loop.drain()
    await writer.track(PROJECT, decoderOf([{ name: 'live', type: 'gauge', value: 1 }]))
    await draining
    await loop.drain()
    expect(await store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
    expect(loop.totals.seals).toBeGreaterThanOrEqual(100)
  })

  it('postpones sealing when an inbox is due', async () => {
    const sealedWhenFolded: number[] = []
    let isSealing = false
    const { store, loop, writer, clock } = await openLoop(60_000, async ({ inbox }) => {
      if (inbox.length > 0) sealedWhenFolded.push(loop.totals.seals)
      else if (!isSealing) {
        isSealing = true
        await writer.track(PROJECT, decoderOf([{ name: 'live', type: 'gauge', value: 1 }]))
        clock.set(T0_MS + 4 * 3_600_000)
      }
    })
    const scattered = Array.from({ length: 100 }, (_, i) => ({
      name: 'old',
      type: 'gauge' as const,
      value: i,
      timeMs: T0_MS - i * 86_400_000,
    }))
    await loop.start()
    await writer.track(PROJECT, decoderOf(scattered))
    await loop.drain()
    clock.set(T0_MS + 3 * 3_600_000)
    await expect.poll(() => sealedWhenFolded.length, { timeout: 20_000 }).toBe(2)
    expect(sealedWhenFolded[1]).toBeLessThan(50)
    // It was counted before it was committed.
    await expect.poll(() => store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
  })

  it('folds after the clock was set back', async () => {
    const { store, loop, writer, clock } = await openLoop(1_000)
    await loop.start()
    await writer.track(PROJECT, decoderOf([{ name: 'm', type: 'gauge', value: 1 }]))
    const backMs = T0_MS - 7_200_000
    const startedMs = Date.now()
    const entries = async () => {
      clock.set(backMs + Date.now() - startedMs)
      return (await store.inboxSize(0)).entries
    }
    await expect.poll(entries, { timeout: 15_000 }).toBe(0)
  })
})

describe('events', () => {
  it('expire after their retention, many in one run', async () => {
    const { store, loop, writer, clock } = await openLoop()
    // The writer of these tests has the true time, at which their commits are made.
    const event = (id: string) => ({ project: PROJECT, id, timeMs: T0_MS, json: '{"name":"e"}' })
    const partitionEvents = Array.from({ length: 2_500 }, (_, i) => ({ partition: 0, event: event(`E${i}`) }))
    await writer.track(PROJECT, () => {}, undefined, partitionEvents)
    const count = async () =>
      (await store.readEvents({ project: PROJECT, fromMs: 0, toMs: T0_MS, limit: 9_999, bytesMax: 1e9 })).length
    clock.set(Date.now() + 89 * DAY_MS)
    await loop.drain()
    expect(await count()).toBe(2_500)
    clock.set(Date.now() + 91 * DAY_MS)
    await loop.drain()
    expect(await count()).toBe(0)
  })
})
