import { expect, test } from 'vitest'
import { openBlock } from '../../../src/rollup/block/block.ts'
import { SEALED_TIER } from '../../../src/write/fold/runs-to-merge.ts'
import { encodeRun, type TimelineBlock } from '../../../src/write/fold/timeline-blocks.ts'
import { plainRollups, tableOf } from '../../rollup/plain-rollups.ts'

const METRIC_ID = { hi: 1, lo: 2 }
const POINTS = Array.from({ length: 6_000 }, (_, i) => {
  return { hi: 1, lo: i % 20, timeMs: i * 50, value: 50 + (i % 7), total: false }
})
const ROWS = tableOf('distribution', POINTS)

const encode = (tier: number) =>
  encodeRun({ metricId: METRIC_ID, resolutionMs: 10_000, windowMs: 0 }, ROWS, { tier, order: 1 })

test.each([
  [0, false],
  [2, false],
  [3, true],
  [4, true],
  [SEALED_TIER, true],
])('the blocks of a run of tier %d: deflated %s', (tier, isDeflated) => {
  const [{ block, added }, ...others] = encode(tier) as [TimelineBlock]
  expect(others).toEqual([])
  const { scalarBytes, sketchBytes } = encode(0)[0]!.added.entry
  const isSmaller = [added.entry.scalarBytes < scalarBytes / 2, added.entry.sketchBytes < sketchBytes / 2]
  expect(isSmaller).toEqual([isDeflated, isDeflated])

  const opened = openBlock(block.name, block.scalars)
  opened.attachSketches(block.sketches!)
  expect(plainRollups(opened.section(METRIC_ID)!)).toEqual(plainRollups(ROWS))
})

test('a sealed run is compressed more than a run of tier 3', () => {
  const bytesOf = (tier: number): number => {
    const { scalarBytes, sketchBytes } = encode(tier)[0]!.added.entry
    return scalarBytes + sketchBytes
  }
  expect(bytesOf(SEALED_TIER)).toBeLessThan(bytesOf(3))
})
