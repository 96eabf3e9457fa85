import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { readConfig } from '../src/config/config.ts'
import { hashToId } from '../src/model/id.ts'
import type { RollupKind } from '../src/model/metric.ts'
import { startInThisProcess } from '../src/process/start.ts'
import { encodeBlocks } from '../src/rollup/block/encode-block.ts'
import { mergeRows } from '../src/rollup/merge-rows.ts'
import type { RollupRows } from '../src/rollup/rollup-rows.ts'
import { RollupTable } from '../src/rollup/rollup-table.ts'
import { addBinsToSketch } from '../src/rollup/row-bins.ts'
import { QuantileSketch } from '../src/sketch/quantile-sketch.ts'
import { diskBytesOf } from './cpu.ts'
import type { Options } from './options.ts'
import { latency, randomNumbers } from './random.ts'
import type { Report } from './report.ts'
import { API_KEY } from './server-process.ts'
import { onStore, openStore, type StoreKind } from './store.ts'

/** Measures bytes: the size of a stored rollup, and how many bytes the folds write for each byte of the inbox. */
const SERIES = 1_000
const EVERY_MS = 15_000
const HOUR_MS = 3_600_000
const START_MS = Date.UTC(2026, 0, 5)
const METRIC = hashToId(['bench', 'metric'])
const SERIES_IDS = Array.from({ length: SERIES }, (_, series) => hashToId(['series', String(series)]))

export async function measureBytes(report: Report, options: Options, store: StoreKind): Promise<void> {
  // The encoding does not depend on the store.
  if (store === options.stores[0]) measureEncoding(report)
  await measureRewriting(report, options, store)
}

interface Window {
  readonly resolutionMs: number
  readonly hours: number
  readonly budget: number
  readonly name: string
}

/** A window of three resolutions, as a fold writes it. */
const WINDOWS: readonly Window[] = [
  { resolutionMs: 10_000, hours: 1, budget: 10, name: '1 h at 10 s, one value a bucket' },
  { resolutionMs: 60_000, hours: 6, budget: 36, name: '6 h at 1 m, 4 values a bucket' },
  { resolutionMs: HOUR_MS, hours: 24, budget: 36, name: '24 h at 1 h, 240 values a bucket' },
]
export const BIN_BUDGET = 2.5

function measureEncoding(report: Report): void {
  const section = 'bytes of a stored rollup: scalars, 1,000 series'
  const binSection = 'bytes of a bin of a sketch'
  for (const kind of ['gauge', 'counter', 'distribution'] as const) {
    for (const { resolutionMs, hours, budget, name } of WINDOWS) {
      const rows = rowsOf(kind, resolutionMs, hours)
      const open = sizeOf(resolutionMs, rows, false)
      const sealed = sizeOf(resolutionMs, rows, true)
      const note = `${(sealed.scalars / rows.length).toFixed(1)} once the window is closed`
      report.add({ section, name: `${kind}, ${name}`, measured: open.scalars / rows.length, unit: 'B', budget, note })
      if (kind !== 'distribution' || open.sketches === 0) continue
      const bins = binsOf(rows)
      const binNote = `${(sealed.sketches / bins).toFixed(2)} once the window is closed; ${(bins / rows.length).toFixed(1)} bins a rollup`
      report.add({
        section: binSection,
        name: `distribution, ${name}`,
        measured: open.sketches / bins,
        unit: 'B',
        budget: BIN_BUDGET,
        note: binNote,
      })
    }
  }
}

function rowsOf(kind: RollupKind, resolutionMs: number, hours: number): RollupRows {
  const random = randomNumbers(11)
  const table = new RollupTable(kind)
  for (const { hi, lo } of SERIES_IDS) {
    let bucketMs = -1
    let row = 0
    for (let timeMs = START_MS; timeMs < START_MS + hours * HOUR_MS; timeMs += EVERY_MS) {
      const bucket = timeMs - (timeMs % resolutionMs)
      if (bucket !== bucketMs) row = table.addRow(hi, lo, (bucketMs = bucket))
      table.addValue(row, timeMs, drawValue(kind, random))
    }
  }
  table.toSortedRows()
  return mergeRows([table], resolutionMs)
}

function drawValue(kind: RollupKind, random: () => number): number {
  if (kind === 'distribution') return latency(random)
  return kind === 'gauge' ? Math.round(random() * 10_000) / 100 : Math.floor(random() * 100)
}

function sizeOf(resolutionMs: number, rows: RollupRows, deflate: boolean): { scalars: number; sketches: number } {
  let scalars = 0
  let sketches = 0
  for (const block of encodeBlocks(resolutionMs, METRIC, rows, { deflate: deflate && 'small' })) {
    scalars += block.scalars.length
    sketches += block.sketches?.length ?? 0
  }
  return { scalars, sketches }
}

export function binsOf(rows: RollupRows): number {
  let bins = 0
  const sketch = new QuantileSketch()
  for (let row = 0; row < rows.length; row++) {
    // Equal values need no stored bins.
    if (rows.min[row] === rows.max[row]) continue
    sketch.clear()
    addBinsToSketch(rows, row, sketch)
    bins += sketch.binCount
  }
  return bins
}

const REWRITING_BUDGET = 12

/** A whole gateway whose clock advances as fast as it works. Each metric has 1,000 series with a point every 15 s. */
async function measureRewriting(report: Report, options: Options, storeKind: StoreKind): Promise<void> {
  const section = `bytes written to the store${onStore(storeKind)}`
  const hours = options.quick ? 0.5 : 6
  for (const kind of ['gauge', 'counter', 'distribution'] as const) {
    if (!kind.includes(options.filter)) continue
    const folder = mkdtempSync(join(tmpdir(), 'bench-bytes-'))
    let nowMs = START_MS
    const store = await openStore(storeKind, folder)
    const config = readConfig({ ...store.env, PORT: '0', API_KEYS: `${API_KEY}:bench:ingest`, LOG_LEVEL: 'warn' })
    const running = await startInThisProcess(config, pino({ level: config.process.logLevel }), () => nowMs)
    const { gateway, folds } = running
    const random = randomNumbers(13)
    const writers = [process.pid, ...store.pids]
    const onDisk = (): number => writers.reduce((sum, pid) => sum + diskBytesOf(pid), 0)
    const diskBefore = onDisk()
    for (; nowMs < START_MS + hours * HOUR_MS; nowMs += EVERY_MS) {
      await gateway.track('bench', (sink) => {
        for (let series = 0; series < SERIES; series++) {
          const known = sink.resolve(`bench.${kind}`, kind, [['host', `web-${series}`]])
          if ('code' in known) throw new Error(known.message)
          sink.add(series, known, nowMs + (series % 1_000), drawValue(kind, random))
        }
      })
      await folds.drain()
    }
    const { foldedBytes, bytesWritten, merges, seals, failures } = folds.totals
    const diskBytes = onDisk() - diskBefore
    await running.close()
    await store.stop()
    rmSync(folder, { recursive: true, force: true })
    if (failures > 0) throw new Error(`${failures} folds failed`)
    const note = `${hours} h, ${merges} merges, ${seals} windows closed, ${(diskBytes / foldedBytes).toFixed(1)} on the disk${storeKind === 'redis' ? '' : " with the engine's pages"}`
    report.add({
      section,
      name: `${kind}, per byte of inbox`,
      measured: bytesWritten / foldedBytes,
      unit: '',
      budget: REWRITING_BUDGET,
      note,
    })
  }
}
