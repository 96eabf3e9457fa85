import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import type { RollupKind } from '../../../src/model/metric.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../../src/model/time.ts'
import { encodeBlock } from '../../../src/rollup/block/encode-block.ts'
import { RollupTable } from '../../../src/rollup/rollup-table.ts'
import type { NamedBlock, Store } from '../../../src/store/store.ts'
import type { Writer } from '../../../src/write/commit/writer.ts'
import { type FoldStepResult, foldInbox } from '../../../src/write/fold/fold.ts'
import { FoldLoop } from '../../../src/write/fold/fold-loop.ts'
import { STEP_ENTRIES_MAX, STEP_ROWS_MAX, STEP_WINDOWS_MAX } from '../../../src/write/fold/fold-step.ts'
import { mergeWindow } from '../../../src/write/fold/merge-window.ts'
import { ask, decoderOf, FOLD_SETTINGS, PROJECT, T0_MS, type TestPoint, totalOf } from '../../support/engine.ts'
import { FaultyStore } from '../../support/faulty-store.ts'
import { openTestStore, openTestWriter } from '../../support/test-writer.ts'

/** Whatever lies in an inbox is folded in steps of bounded work, and nothing in it holds up the rest. */

const RESOLUTIONS = FOLD_SETTINGS.resolutions.length
let store: Store
let writer: Writer

beforeEach(async () => {
  store = await openTestStore(1)
  writer = openTestWriter(new FaultyStore(store))
})

const track = (points: readonly TestPoint[]) => writer.track(PROJECT, decoderOf(points))
const hits = (timeMs: number, value = 1, name = 'hits'): TestPoint => ({ name, type: 'counter', value, timeMs })

async function steps(): Promise<readonly FoldStepResult[]> {
  const taken: FoldStepResult[] = []
  for (;;) {
    const step = await foldInbox(store, 0, FOLD_SETTINGS, T0_MS)
    if (step === undefined) return taken
    taken.push(step)
  }
}

function expectBounded(taken: readonly FoldStepResult[]): void {
  for (const { entries, rows, windows, touchedWindows } of taken) {
    expect(entries).toBeLessThanOrEqual(STEP_ENTRIES_MAX)
    expect(rows).toBeLessThanOrEqual(STEP_ROWS_MAX)
    expect(touchedWindows.length).toBeLessThanOrEqual(windows)
    expect(windows).toBeLessThanOrEqual(STEP_WINDOWS_MAX)
  }
}

/** Puts a block into the inbox as it is, as a gateway of another time may have. */
async function put(block: NamedBlock, points: number, times = 1): Promise<void> {
  await track([hits(T0_MS)])
  const { metricId, generation } = (await store.readMetric(PROJECT, 'hits'))!
  const definition = { project: PROJECT, name: 'hits', type: 'counter' } as const
  const seen = { firstMs: T0_MS, lastMs: T0_MS }
  const metrics = [{ metricId, generation, definition, points, ...seen, cumulative: false }]
  const writerName = 'f'.repeat(32)
  const parts = Array.from({ length: times }, (_, i) => {
    const named = { ...block, name: `${block.name}.${i}` }
    return { block: named, metrics, series: [], members: [], events: [], nowMs: T0_MS }
  })
  const [number] = await store.readWatermarks(writerName, [0])
  await store.append([{ partition: 0, writer: writerName, commitNumber: number! + 1, parts }])
}

async function blockOf(
  fill: (table: RollupTable, id: { hi: number; lo: number }) => void,
  kind: RollupKind = 'counter',
): Promise<NamedBlock> {
  await track([hits(T0_MS)])
  const { partition, metricId } = (await store.readMetric(PROJECT, 'hits'))!
  const [series] = (await store.readSeries(partition, metricId, 0, 1))!
  const table = new RollupTable(kind)
  fill(table, series!.seriesId)
  const { scalars, sketches } = encodeBlock(10_000, [{ metricId, rows: table.toSortedRows() }])
  return { name: `early-${Math.random()}`, scalars, sketches }
}

describe('a step', () => {
  it('takes few of many windows of one request, and query results stay the same', async () => {
    const apart = [HOUR_MS, 6 * HOUR_MS, 20 * DAY_MS]
    const points = apart.flatMap((ms, n) => Array.from({ length: 700 }, (_, i) => hits(T0_MS - i * ms, 1, `hits${n}`)))
    await track(points)
    const taken = await steps()
    expectBounded(taken)
    expect(taken.reduce((sum, { rows }) => sum + rows, 0)).toBe(points.length)
    expect(taken.length).toBeGreaterThan(3)
    expect(await store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
    for (const [n, ms] of apart.entries()) {
      const { groups } = await ask(store, `hits${n}`, { from: T0_MS - 700 * ms, aggregations: ['sum'], interval: '1d' })
      expect(groups[0]!.totals.get('sum')).toBe(700)
    }
  })

  it('takes a part of a block without bounds: many windows', async () => {
    await put(
      await blockOf((table, { hi, lo }) => {
        for (let i = 3_000; i > 0; i--) table.addValue(table.addRow(hi, lo, T0_MS - i * 6 * HOUR_MS), 0, 1)
      }),
      3_000,
    )
    const taken = await steps()
    expectBounded(taken)
    const { groups } = await ask(store, 'hits', { from: T0_MS - 800 * DAY_MS, aggregations: ['sum'], interval: '1d' })
    expect(groups[0]!.totals.get('sum')).toBe(3_002)
  })

  it('takes a part of a block without bounds: many rollups of one window', async () => {
    const series = STEP_ROWS_MAX + 5_000
    await put(
      await blockOf((table) => {
        for (let i = 0; i < series; i++) table.addValue(table.addRow(i, 1, T0_MS), 0, 1)
      }),
      series,
    )
    const taken = await steps()
    expectBounded(taken)
    expect(taken.reduce((sum, { rows }) => sum + rows, 0)).toBe(series + 2)
  })

  it('takes some of many entries', async () => {
    const block = await blockOf((table, { hi, lo }) => table.addValue(table.addRow(hi, lo, T0_MS), 0, 1))
    const entries = STEP_ENTRIES_MAX + 100
    await put(block, 1, entries)
    const taken = await steps()
    expectBounded(taken)
    expect(taken).toHaveLength(2)
    expect(await totalOf(store, 'hits', 'sum')).toBe(entries + 2)
  })

  it('goes on until the inbox is empty, without waiting for it to be old again', async () => {
    await track(Array.from({ length: 2_000 }, (_, i) => hits(T0_MS - i * 6 * HOUR_MS)))
    const settings = { ...FOLD_SETTINGS, inboxBytesMax: 1 << 30, inboxAgeMsMax: 60_000, eventsKeptMs: 90 * DAY_MS }
    let nowMs = T0_MS
    const loop = new FoldLoop(store, settings, { error: () => {} }, () => nowMs)
    onTestFinished(() => loop.stop())
    await loop.start()
    nowMs += 1_000
    await expect.poll(() => loop.totals.steps, { timeout: 20_000 }).toBeGreaterThan(3)
    await expect.poll(() => store.inboxSize(0), { timeout: 20_000 }).toEqual({ entries: 0, bytes: 0 })
  })

  it('leaves the later arrival the last value, though a merge came between the steps of its entry', async () => {
    const level = (timeMs: number, value: number): TestPoint => ({ name: 'level', type: 'gauge', value, timeMs })
    await track([level(T0_MS, 1)])
    await steps()
    // In the second step: the windows before it are as many as one takes.
    await track([...Array.from({ length: 600 }, (_, i) => level(T0_MS - (i + 1) * 6 * HOUR_MS, 0)), level(T0_MS, 2)])
    expect(await foldInbox(store, 0, FOLD_SETTINGS, T0_MS)).toMatchObject({ hasMore: true, entries: 0 })
    const { metricId } = (await store.readMetric(PROJECT, 'level'))!
    const window = { metricId, resolutionMs: DAY_MS, windowMs: Math.floor(T0_MS / (360 * DAY_MS)) * 360 * DAY_MS }
    await mergeWindow(store, 0, window, { isSealing: true, isCoarse: true, nowMs: T0_MS })
    await steps()
    const last = async () => {
      const { groups } = await ask(store, 'level', { from: T0_MS - DAY_MS / 2, aggregations: ['last'], interval: '1d' })
      return groups[0]!.totals.get('last')
    }
    expect(await last()).toBe(2)
    await mergeWindow(store, 0, window, { isSealing: true, isCoarse: true, nowMs: T0_MS })
    expect(await last()).toBe(2)
  })
})

describe('what cannot be read or written', () => {
  const others = () => track([hits(T0_MS + MINUTE_MS, 5), { name: 'level', type: 'gauge', value: 7 }])

  it('is a damaged block: it is omitted, and the other entries are folded', async () => {
    const block = await blockOf((table, { hi, lo }) => table.addValue(table.addRow(hi, lo, T0_MS), 0, 1))
    block.scalars[block.scalars.length - 9]! ^= 1
    await put(block, 1)
    await others()
    const [step] = await steps()
    expect(step!.omitted).toMatchObject({ blocks: 1, rows: 0 })
    expect(await store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
    expect(await totalOf(store, 'hits', 'sum')).toBe(7)
    expect(await totalOf(store, 'level', 'last')).toBe(7)
  })

  it('is not a block of another version: another gateway may fold it', async () => {
    const block = await blockOf((table, { hi, lo }) => table.addValue(table.addRow(hi, lo, T0_MS), 0, 1))
    block.scalars[3] = 9
    await put(block, 1)
    await expect(steps()).rejects.toThrow(/version 9/)
    expect((await store.inboxSize(0)).entries).toBeGreaterThan(0)
  })

  it('is a rollup that cannot be encoded: only this one is omitted, counted and logged', async () => {
    const observed = (weight: number, value: number, host: string) =>
      writer.track(PROJECT, (sink) => {
        const series = sink.resolve('ms', 'distribution', [['host', host]])
        if (!('code' in series)) sink.addWeighted(0, series, T0_MS, value, weight)
      })
    // No decoder lets a broken weight through: here it stands for what nobody has thought of.
    await observed(0.5, 3, 'a')
    await observed(1, 5, 'a')
    for (let i = 0; i < 40; i++) await observed(2, i, `b${i}`)
    await others()
    const logged: object[] = []
    const settings = { ...FOLD_SETTINGS, inboxBytesMax: 1, inboxAgeMsMax: 1, eventsKeptMs: 90 * DAY_MS }
    const loop = new FoldLoop(store, settings, { error: (details) => logged.push(details) }, () => T0_MS)
    onTestFinished(() => loop.stop())
    await loop.start()
    await loop.drain()
    expect(await store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
    expect(loop.totals).toMatchObject({ rowsOmitted: RESOLUTIONS, blocksOmitted: 0, failures: 0 })
    expect(logged).toMatchObject([{ partition: 0, rows: RESOLUTIONS, blocks: 0 }])
    expect(await totalOf(store, 'ms', 'count')).toBe(80)
    expect(await totalOf(store, 'level', 'last')).toBe(7)
  })

  /** Fills the inbox so that a step folds only the first metric, and leaves those that follow in the inbox. */
  const fillStep = async () => {
    const scattered = (windows: number, name: string) =>
      track(Array.from({ length: windows }, (_, i) => hits(T0_MS - i * 6 * HOUR_MS, 1, name)))
    await scattered(10, 'first')
    await scattered(STEP_WINDOWS_MAX, 'wide')
  }

  it('is a rollup that cannot be encoded and that a step would leave in the inbox', async () => {
    const observed = (weight: number, value: number) =>
      writer.track(PROJECT, (sink) => {
        const series = sink.resolve('ms', 'distribution', [])
        if (!('code' in series)) sink.addWeighted(0, series, T0_MS, value, weight)
      })
    await fillStep()
    await observed(0.5, 3)
    await observed(1, 5)
    await writer.track(PROJECT, decoderOf([{ name: 'ms', type: 'distribution', value: 1, timeMs: T0_MS + MINUTE_MS }]))
    await others()
    const taken = await steps()
    expect(taken.reduce((sum, { omitted }) => sum + omitted.rows, 0)).toBe(1)
    expect(await store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
    expect(await totalOf(store, 'ms', 'count')).toBe(1)
    expect(await totalOf(store, 'level', 'last')).toBe(7)
  })

  it('is a metric with rollups of two kinds that a step would leave in the inbox', async () => {
    await fillStep()
    await track([hits(T0_MS)])
    await put(await blockOf((table, { hi, lo }) => table.addValue(table.addRow(hi, lo, T0_MS), 0, 1), 'gauge'), 1)
    await others()
    const taken = await steps()
    expect(taken.reduce((sum, { omitted }) => sum + omitted.rows, 0)).toBeGreaterThan(0)
    expect(await store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
    expect(await totalOf(store, 'first', 'sum')).toBe(1)
    expect(await totalOf(store, 'level', 'last')).toBe(7)
  })
})
