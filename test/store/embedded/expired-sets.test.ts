import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { runAtOnce } from '../../../src/model/steps.ts'
import { Environment } from '../../../src/store/embedded/environment.ts'
import { HeldBlocks } from '../../../src/store/embedded/held-blocks.ts'
import { setKey } from '../../../src/store/embedded/keys.ts'
import { Lmdb } from '../../../src/store/embedded/lmdb.ts'
import { MemoryTable } from '../../../src/store/embedded/memory-table.ts'
import { countDistinct, SetChanges, SKETCHES_PER_REMOVAL_MAX } from '../../../src/store/embedded/sets.ts'
import { readExpiredStretches } from '../../../src/store/embedded/stretches.ts'
import { Table } from '../../../src/store/embedded/table.ts'
import { expireWindow, removeExpiredSets } from '../../../src/store/embedded/timelines.ts'
import { windowWidthMs } from '../../../src/store/windows.ts'
import { reopenEnvironment } from '../../support/reopen-environment.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const MINUTE = 60_000
const HOUR = 3_600_000
const PARTITION = 3
const metricId = { hi: 1, lo: 2 }
const window = { metricId, resolutionMs: HOUR, windowMs: 0 }
const seriesOf = (lo: number) => ({ hi: 0, lo })
const SERIES = 2 * SKETCHES_PER_REMOVAL_MAX + 100

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
    expect(outcome).toEqual({ isExpired: true, hasSketchesLeft: true })
    expect(await expired(environment, HOUR)).toHaveLength(1)
    for (let sketches = SERIES - SKETCHES_PER_REMOVAL_MAX; sketches > 0; sketches -= SKETCHES_PER_REMOVAL_MAX) {
      expect(await left(environment)).toBe(sketches)
      await add(environment, 10)
      expect(await environment.write(removeExpiredSets)).toBe(true)
    }
    expect(await environment.write(removeExpiredSets)).toBe(false)
    expect(await left(environment)).toBe(0)
    expect(await expired(environment, HOUR)).toHaveLength(1)
  })

  test('loses the sketches that LMDB has in steps, and no step reads the sketches of all earlier ones', async () => {
    const folder = await temporaryFolder()
    const first = await Environment.open(folder, new Lmdb(folder))
    await add(first, 12 * SKETCHES_PER_REMOVAL_MAX)
    const { environment } = await reopenEnvironment(folder, first, {}, 'reopen')
    onTestFinished(() => environment.close())
    const expiry = { partition: PARTITION, window, nowMs: 1 }
    await environment.write((writes) => expireWindow(writes, new HeldBlocks(), [HOUR], expiry))
    const layerReads = vi.spyOn(MemoryTable.prototype, 'get')
    onTestFinished(() => layerReads.mockRestore())
    const readsByStep: number[] = []
    while (await environment.write(removeExpiredSets)) {
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
    expect(outcome).toEqual({ isExpired: true, hasSketchesLeft: false })
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
    while (await environment.write(removeExpiredSets)) {}
    expect(await expired(environment, MINUTE)).toEqual([])
    expect(await expired(environment, HOUR)).toEqual([])
    await add(environment, 10)
    expect(await left(environment)).toBe(10)
    const key = { metricId, seriesId: seriesOf(0), resolutionMs: HOUR, bucketMs: 0 }
    expect(await environment.read((tables) => runAtOnce(countDistinct(tables, PARTITION, [[key]])))).toEqual([1])
  })
})
