import { describe, expect, test } from 'vitest'
import type { RollupKind } from '../../../src/model/metric.ts'
import { BlockCache } from '../../../src/query/read/block-cache.ts'
import { type MetricSection, openBlock } from '../../../src/rollup/block/block.ts'
import { encodeBlock } from '../../../src/rollup/block/encode-block.ts'
import { RollupTable } from '../../../src/rollup/rollup-table.ts'
import { measureHeld } from '../../support/held-memory.ts'

/** Rows of as many series; every third one has several values. */
function tableOf(kind: RollupKind, rows: number): RollupTable {
  const table = new RollupTable(kind)
  for (let i = 0; i < rows; i++) {
    const row = table.addRow(i * 7_919, i, 1_700_000_000_000)
    if (kind === 'set') table.addMember(row)
    else
      for (let n = 0; n <= i % 3; n++) table.addValue(row, 1_700_000_000_000 + n, 10 + ((i * 31 + n * 17) % 997) / 10)
  }
  table.toSortedRows()
  return table
}

type Reading = 'nothing' | 'sums' | 'everything'

function readColumns(section: MetricSection, reading: Reading): void {
  if (reading === 'nothing') return
  section.ordinalsIn({ listId: 1, ordinal: () => 0 })
  void [section.bucketMs, section.count, section.sum, section.rowStart]
  if (reading === 'sums') return
  void [section.min, section.max, section.first, section.last, section.firstMs, section.lastMs]
  void section.binStart
}

const FILLED_BYTES = 12e6

describe('a cache of decoded blocks takes no more than 1.3 times what it counts', () => {
  test.each<[RollupKind, number, number, Reading]>([
    ['counter', 1, 1, 'sums'],
    ['counter', 25, 1, 'nothing'],
    ['counter', 25, 3, 'sums'],
    ['counter', 1_000, 1, 'sums'],
    ['gauge', 1, 1, 'everything'],
    ['gauge', 25, 3, 'everything'],
    ['gauge', 300, 1, 'sums'],
    ['gauge', 3_000, 1, 'everything'],
    ['distribution', 2, 1, 'everything'],
    ['distribution', 25, 3, 'sums'],
    ['distribution', 25, 3, 'everything'],
    ['distribution', 2_000, 1, 'everything'],
    ['set', 5, 20, 'sums'],
  ])('%s: %d rollups × %d metrics a block, %s read', (kind, rows, metrics, reading) => {
    const sections = Array.from({ length: metrics }, (_, i) => ({
      metricId: { hi: 0xf000_0000 + i, lo: 0xe000_0000 },
      rows: tableOf(kind, rows),
    }))
    const { scalars, sketches } = encodeBlock(10_000, sections)
    let names = 0
    const fill = (bytesMax: number): BlockCache => {
      const cache = new BlockCache(Number.POSITIVE_INFINITY)
      while (cache.bytes < bytesMax) {
        // As the store returns them: a string and buffers of its own.
        const name = Buffer.from(`w0123456789abcdef0123456789abcdef.${names++}`).toString('latin1')
        const block = openBlock(name, scalars.slice())
        cache.put(block, { indexPart: `inbox ${names % 8}`, position: names })
        if (sketches !== undefined) block.attachSketches(sketches.slice())
        for (const section of block.sections) readColumns(section, reading)
      }
      return cache
    }
    // Compiles what is measured.
    fill(FILLED_BYTES / 10)
    const measure = (): number => {
      const { held, bytes } = measureHeld(() => fill(FILLED_BYTES))
      return bytes / held.bytes
    }
    // The median, because the engine may free memory of an earlier test during a measurement.
    const [, ratio] = [measure(), measure(), measure()].sort((a, b) => a - b)
    expect(ratio).toBeLessThan(1.3)
    // Some 240 bytes of each buffer are counted and not measured: the engine does not report what malloc and its own
    // records take.
    expect(ratio).toBeGreaterThan(1 / 1.6)
  })
})
