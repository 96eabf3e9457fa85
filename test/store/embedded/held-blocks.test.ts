import { expect, onTestFinished, test } from 'vitest'
import { UNCOMMITTED_BLOCK_KEPT_MS, UNLISTED_BLOCK_KEPT_MS } from '../../../src/store/bookkeeping-lifetimes.ts'
import { expireBlockIfUnlisted, putBlock, readBlock } from '../../../src/store/embedded/blocks.ts'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.ts'
import { Environment } from '../../../src/store/embedded/environment.ts'
import { HELD_BYTES_MAX, HeldBlocks } from '../../../src/store/embedded/held-blocks.ts'
import { Lmdb } from '../../../src/store/embedded/lmdb.ts'
import { sweepOneStep } from '../../../src/store/embedded/sweep.ts'
import type { IndexEntry, Store } from '../../../src/store/store.ts'
import { failingJournal } from '../../support/failing-journal.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'
import { block, commit, DAY, entryOf, exists, metricOf, NOW, part, SECONDS_10 } from '../contract/fixtures.ts'

const ALL_KEYS = { start: Buffer.of(0), end: Buffer.of(255, 255) }
const UNAVAILABLE = { code: 'store_unavailable' }

const TIMELINE = { metricId: metricOf('folded').metricId, resolutionMs: SECONDS_10 }

/** Writes a block and a fold that adds it. `removed`: an index entry that the fold replaces. */
async function foldBlock(store: Store, removed?: IndexEntry): Promise<{ name: string; isDone: Promise<boolean> }> {
  const written = block(8, 9)
  await store.writeBlocks(0, [written], NOW)
  const entry = entryOf(written.name, NOW, { scalarBytes: 8, sketchBytes: 9 })
  const isDone = store.commitFold({
    partition: 0,
    inbox: [],
    removed: removed === undefined ? [] : [{ timeline: TIMELINE, entry: removed }],
    added: [{ timeline: TIMELINE, entry }],
    touched: [{ ...TIMELINE, windowMs: NOW, expiresMs: NOW + DAY }],
    nowMs: NOW,
  })
  return { name: written.name, isDone }
}

async function openStore(journal = failingJournal()): Promise<Store> {
  const resolutions = [{ bucketWidthMs: SECONDS_10, keptMs: DAY }]
  const environment = { checkpointIntervalMs: 1e9, openFile: journal.openFile }
  const folder = await temporaryFolder()
  const store = await openEmbeddedStore({
    folder,
    partitions: 1,
    resolutions,
    setResolutions: resolutions,
    environment,
  })
  onTestFinished(() => store.close())
  return store
}

test('the blocks of a fold that the journal refuses are dropped at once; the next fold is stored', async () => {
  const journal = failingJournal()
  const store = await openStore(journal)
  journal.failure = 'sync'
  for (let attempts = 0; attempts < 3; attempts++) {
    const { name, isDone } = await foldBlock(store)
    await expect(isDone).rejects.toMatchObject(UNAVAILABLE)
    expect(await exists(store, 0, name)).toBe(false)
  }
  journal.failure = undefined
  const { name, isDone } = await foldBlock(store)
  expect(await isDone).toBe(true)
  expect(await exists(store, 0, name)).toBe(true)
})

test('the blocks of a fold that the store refuses are dropped at once', async () => {
  const store = await openStore()
  for (let attempts = 0; attempts < 3; attempts++) {
    const { name, isDone } = await foldBlock(store, entryOf('gone', NOW, { scalarBytes: 8, sketchBytes: 9 }))
    expect(await isDone).toBe(false)
    expect(await exists(store, 0, name)).toBe(false)
  }
})

test('a sweep drops expired blocks from memory also while the journal cannot be written', async () => {
  const journal = failingJournal()
  const store = await openStore(journal)
  const written = block(8)
  await store.writeBlocks(0, [written], NOW)
  journal.failure = 'sync'
  await expect(store.append([commit(0, 1, part())])).rejects.toMatchObject(UNAVAILABLE)
  await expect(store.sweep(NOW + UNCOMMITTED_BLOCK_KEPT_MS - 1)).rejects.toMatchObject(UNAVAILABLE)
  expect(await exists(store, 0, written.name)).toBe(true)
  await expect(store.sweep(NOW + UNCOMMITTED_BLOCK_KEPT_MS)).rejects.toMatchObject(UNAVAILABLE)
  expect(await exists(store, 0, written.name)).toBe(false)
})

test.each([1, 2, 6])('of the blocks that %i writes of a frame unlist, the last ones are held', async (writeCount) => {
  const folder = await temporaryFolder()
  // No checkpoint runs, so no block is in LMDB.
  const environment = await Environment.open(folder, new Lmdb(folder), { layerBytesMax: 1e9, journalBytesMax: 1e9 })
  onTestFinished(() => environment.close())
  const held = new HeldBlocks()
  const names = Array.from({ length: 6 }, (_, i) => `large-${i}`)
  const scalars = new Uint8Array(HELD_BYTES_MAX / 4)
  for (const name of names) {
    await environment.write((writes) => putBlock(writes, 0, { name, scalars, sketches: undefined }))
  }
  held.addUncommitted(0, { name: 'uncommitted', scalars, sketches: undefined }, NOW + DAY)
  const unlist = (first: number) =>
    environment.write((writes) => {
      for (const name of names.slice(first, first + names.length / writeCount))
        expireBlockIfUnlisted(writes, held, 0, name, NOW)
    })
  await Promise.all(Array.from({ length: writeCount }, (_, i) => unlist((i * names.length) / writeCount)))
  expect(held.unlistedBytes).toBeGreaterThan(HELD_BYTES_MAX / 2)
  expect(held.unlistedBytes).toBeLessThanOrEqual(HELD_BYTES_MAX)
  const read = () =>
    environment.read((tables) =>
      ['uncommitted', ...names].filter((name) => readBlock(tables, held, 0, name, 'scalars') !== undefined),
    )
  expect(await read()).toEqual(['uncommitted', ...names.slice(3)])
  // None of them is left in the journal's layer, which the next checkpoint writes.
  expect(await environment.read((tables) => [...tables.scalars.keys(ALL_KEYS)].length)).toBe(0)
  held.sweep(NOW + UNLISTED_BLOCK_KEPT_MS)
  expect([held.unlistedBytes, await read()]).toEqual([0, ['uncommitted']])
})

test('an unlisted block that is in LMDB stays there until it expires, and takes no memory', async () => {
  const folder = await temporaryFolder()
  const environment = await Environment.open(folder, new Lmdb(folder))
  const scalars = new Uint8Array(100)
  await environment.write((writes) => putBlock(writes, 0, { name: 'stored', scalars, sketches: scalars }))
  await environment.close()
  const reopened = await Environment.open(folder, new Lmdb(folder))
  onTestFinished(() => reopened.close())
  const held = new HeldBlocks()
  await reopened.write((writes) => expireBlockIfUnlisted(writes, held, 0, 'stored', NOW))
  const isReadable = () => reopened.read((tables) => readBlock(tables, held, 0, 'stored', 'sketches') !== undefined)
  expect([held.unlistedBytes, await isReadable()]).toEqual([0, true])
  await reopened.write((writes) => sweepOneStep(writes, NOW + UNLISTED_BLOCK_KEPT_MS - 1))
  expect(await isReadable()).toBe(true)
  await reopened.write((writes) => sweepOneStep(writes, NOW + UNLISTED_BLOCK_KEPT_MS))
  expect(await isReadable()).toBe(false)
})
