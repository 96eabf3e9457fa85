import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { runAtOnce } from '../../../src/model/steps.ts'
import { Environment } from '../../../src/store/embedded/environment.ts'
import { HeldBlocks } from '../../../src/store/embedded/held-blocks.ts'
import { Inboxes } from '../../../src/store/embedded/inboxes.ts'
import { partitionKey, setKey } from '../../../src/store/embedded/keys.ts'
import { Lmdb } from '../../../src/store/embedded/lmdb.ts'
import { MemoryTable } from '../../../src/store/embedded/memory-table.ts'
import { countDistinct, SetChanges } from '../../../src/store/embedded/sets.ts'
import { readExpiredStretches } from '../../../src/store/embedded/stretches.ts'
import { Table } from '../../../src/store/embedded/table.ts'
import { commitFold, expireWindow, readTimeline, removeExpiredData } from '../../../src/store/embedded/timelines.ts'
import { REMOVALS_PER_WRITE_MAX } from '../../../src/store/embedded/write-set.ts'
import type { FoldCommit } from '../../../src/store/store.ts'
import { windowWidthMs } from '../../../src/store/windows.ts'
import { reopenEnvironment } from '../../support/reopen-environment.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'
import { entryOf } from '../contract/fixtures.ts'

const MINUTE = 60_000
const HOUR = 3_600_000
const PARTITION = 3
const metricId = { hi: 1, lo: 2 }
const window = { metricId, resolutionMs: HOUR, windowMs: 0 }
const seriesOf = (lo: number) => ({ hi: 0, lo })
const SERIES = 2 * REMOVALS_PER_WRITE_MAX + 50

async function open(): Promise<Environment> {
  const folder = await temporaryFolder()
  const environment = await Environment.open(folder, new Lmdb(folder))
  onTestFinished(() => environment.close())
  await add(environment, SERIES)
  return environment
}

function add(environment: Environment, series: number): Promise<void> {
  return environment.write((writes) => {
    const change = new SetChanges(writes, PARTITION, [HOUR])
    for (let lo = 0; lo < series; lo++) change.add({ metricId, seriesId: seriesOf(lo), bucketMs: 0, members: ['x'] })
    change.write()
  })
}

const removeStep = (environment: Environment, heldBlocks = new HeldBlocks()) =>
  environment.write((writes) => removeExpiredData(writes, heldBlocks, [HOUR], 1))

const left = (environment: Environment) =>
  environment.read(({ sets }) => {
    const range = { start: setKey(PARTITION, metricId, HOUR, 0, seriesOf(0)), end: Buffer.alloc(3, 0xff) }
    return [...sets.keys(range)].length
  })

const expired = (environment: Environment, resolutionMs: number) =>
  environment.read((tables) =>
    readExpiredStretches(tables, PARTITION, metricId, resolutionMs, { fromMs: 0, toMs: windowWidthMs(HOUR) }),
  )

describe('a window with more set sketches than one verb removes', () => {
  test('expires at once, and its sketches go in bounded steps, in which no member is added to them', async () => {
    const environment = await open()
    const expiry = { partition: PARTITION, window, nowMs: 1 }
    const outcome = await environment.write((writes) => expireWindow(writes, new HeldBlocks(), [HOUR], expiry))
    expect(outcome).toEqual({ isExpired: true, hasDataLeft: true })
    expect(await expired(environment, HOUR)).toHaveLength(1)
    for (let sketches = SERIES - REMOVALS_PER_WRITE_MAX; sketches > 0; sketches -= REMOVALS_PER_WRITE_MAX) {
      expect(await left(environment)).toBe(sketches)
      await add(environment, 10)
      expect(await removeStep(environment)).toBe(true)
    }
    expect(await removeStep(environment)).toBe(false)
    expect(await left(environment)).toBe(0)
    expect(await expired(environment, HOUR)).toHaveLength(1)
  })

  test('loses the sketches that LMDB has in steps, and no step reads the sketches of all earlier ones', async () => {
    const folder = await temporaryFolder()
    const first = await Environment.open(folder, new Lmdb(folder))
    await add(first, 12 * REMOVALS_PER_WRITE_MAX)
    const { environment } = await reopenEnvironment(folder, first, {}, 'reopen')
    onTestFinished(() => environment.close())
    const expiry = { partition: PARTITION, window, nowMs: 1 }
    await environment.write((writes) => expireWindow(writes, new HeldBlocks(), [HOUR], expiry))
    const layerReads = vi.spyOn(MemoryTable.prototype, 'get')
    onTestFinished(() => layerReads.mockRestore())
    const readsByStep: number[] = []
    while (await removeStep(environment)) {
      readsByStep.push(layerReads.mock.calls.length)
      layerReads.mockClear()
    }
    expect(readsByStep).toHaveLength(11)
    expect(Math.max(...readsByStep)).toBeLessThanOrEqual(2 * readsByStep[1]!)
    expect(await left(environment)).toBe(0)
  })

  test('has no sketches if its resolution is not one of sets, and they are not looked for', async () => {
    const environment = await open()
    const keyReads = vi.spyOn(Table.prototype, 'keys')
    onTestFinished(() => keyReads.mockRestore())
    const finer = { ...window, resolutionMs: MINUTE }
    const expiry = { partition: PARTITION, window: finer, nowMs: 1 }
    const outcome = await environment.write((writes) => expireWindow(writes, new HeldBlocks(), [HOUR], expiry))
    expect(outcome).toEqual({ isExpired: true, hasDataLeft: false })
    expect(keyReads.mock.contexts.map((table) => (table as Table).name)).not.toContain('sets')
  })

  test('at the coarsest resolution is free for new members after its last sketch', async () => {
    const environment = await open()
    const finer = { ...window, resolutionMs: MINUTE }
    await environment.write((writes) =>
      expireWindow(writes, new HeldBlocks(), [HOUR], { partition: PARTITION, window: finer, nowMs: 1 }),
    )
    const expiry = { partition: PARTITION, window, dropExpiredAtResolutions: [MINUTE], nowMs: 1 }
    await environment.write((writes) => expireWindow(writes, new HeldBlocks(), [HOUR], expiry))
    expect(await expired(environment, MINUTE)).toHaveLength(1)
    while (await removeStep(environment)) {}
    expect(await expired(environment, MINUTE)).toEqual([])
    expect(await expired(environment, HOUR)).toEqual([])
    await add(environment, 10)
    expect(await left(environment)).toBe(10)
    const key = { metricId, seriesId: seriesOf(0), resolutionMs: HOUR, bucketMs: 0 }
    expect(await environment.read((tables) => runAtOnce(countDistinct(tables, PARTITION, [[key]])))).toEqual([1])
  })
})

describe('a window with more index entries than one write removes', () => {
  const ENTRIES = 2 * REMOVALS_PER_WRITE_MAX + 50
  const timeline = { metricId, resolutionMs: MINUTE }
  const finer = { ...timeline, windowMs: 0 }
  const entries = Array.from({ length: ENTRIES }, (_, order) => entryOf(`block-${order}`, 0, { order }))

  async function openWithEntries() {
    const folder = await temporaryFolder()
    const environment = await Environment.open(folder, new Lmdb(folder))
    onTestFinished(() => environment.close())
    const heldBlocks = new HeldBlocks()
    for (const { block } of entries)
      heldBlocks.addUncommitted(PARTITION, { name: block, scalars: new Uint8Array(1), sketches: undefined }, 10)
    const fold = (changes: Partial<FoldCommit>) => {
      const unchanged = { partition: PARTITION, inbox: [], removed: [], added: [], touched: [], nowMs: 0 }
      return environment.write((writes) => commitFold(writes, heldBlocks, new Inboxes(), { ...unchanged, ...changes }))
    }
    const added = entries.map((entry) => ({ timeline, entry }))
    expect(await fold({ added, touched: [{ ...finer, expiresMs: 1 }] })).toBe(true)
    return { environment, heldBlocks, fold }
  }

  const rowCount = (environment: Environment, table: 'index' | 'listed' | 'windows' | 'due') =>
    environment.read((tables) => [...tables[table].keys({ start: partitionKey(0), end: Buffer.alloc(3, 0xff) })].length)

  const visible = (environment: Environment) =>
    environment.read((tables) => {
      const stretch = { fromMs: 0, toMs: windowWidthMs(MINUTE) }
      return readTimeline(tables, PARTITION, metricId, MINUTE, stretch, false, undefined)
    })

  test('expires at once for readers and folds, and its entries go in bounded steps', async () => {
    const { environment, heldBlocks, fold } = await openWithEntries()
    expect((await visible(environment)).entries).toHaveLength(ENTRIES)
    const expiry = { partition: PARTITION, window: finer, nowMs: 1 }
    const outcome = await environment.write((writes) => expireWindow(writes, heldBlocks, [HOUR], expiry))
    expect(outcome).toEqual({ isExpired: true, hasDataLeft: true })
    expect([await rowCount(environment, 'windows'), await rowCount(environment, 'due')]).toEqual([0, 0])
    for (let count = ENTRIES - REMOVALS_PER_WRITE_MAX; count > 0; count -= REMOVALS_PER_WRITE_MAX) {
      expect(await rowCount(environment, 'index')).toBe(count)
      expect(await visible(environment)).toMatchObject({ entries: [], expired: [{ fromMs: 0 }] })
      expect(await fold({ removed: [{ timeline, entry: entries.at(-1)! }] })).toBe(false)
      expect(await removeStep(environment, heldBlocks)).toBe(true)
    }
    expect(await removeStep(environment, heldBlocks)).toBe(false)
    expect([await rowCount(environment, 'index'), await rowCount(environment, 'listed')]).toEqual([0, 0])
    expect(await visible(environment)).toMatchObject({ entries: [], expired: [{ fromMs: 0 }] })
  })

  test('at the coarsest resolution counts as expired until they are gone, and then a fold may add entries', async () => {
    const { environment, heldBlocks, fold } = await openWithEntries()
    const finest = { ...finer, resolutionMs: 10_000 }
    await environment.write((writes) =>
      expireWindow(writes, heldBlocks, [], { partition: PARTITION, window: finest, nowMs: 1 }),
    )
    expect(await expired(environment, 10_000)).toHaveLength(1)
    const expiry = { partition: PARTITION, window: finer, dropExpiredAtResolutions: [10_000], nowMs: 1 }
    const outcome = await environment.write((writes) => expireWindow(writes, heldBlocks, [], expiry))
    expect(outcome).toEqual({ isExpired: true, hasDataLeft: true })
    for (let count = ENTRIES - REMOVALS_PER_WRITE_MAX; count > 0; count -= REMOVALS_PER_WRITE_MAX) {
      expect(await rowCount(environment, 'index')).toBe(count)
      expect(await visible(environment)).toMatchObject({ entries: [], expired: [{ fromMs: 0 }] })
      expect(await expired(environment, 10_000)).toHaveLength(1)
      expect(await removeStep(environment, heldBlocks)).toBe(true)
    }
    expect(await rowCount(environment, 'index')).toBe(0)
    expect(await visible(environment)).toMatchObject({ entries: [], expired: [] })
    expect(await expired(environment, 10_000)).toEqual([])
    heldBlocks.addUncommitted(PARTITION, { name: 'late', scalars: new Uint8Array(1), sketches: undefined }, 10)
    const late = { timeline, entry: entryOf('late', 0) }
    expect(await fold({ added: [late], touched: [{ ...finer, expiresMs: 2 }] })).toBe(true)
    expect(await removeStep(environment, heldBlocks)).toBe(false)
    expect((await visible(environment)).entries).toEqual([late.entry])
  })
})
