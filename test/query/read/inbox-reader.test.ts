import { expect, test } from 'vitest'
import type { Steps } from '../../../src/model/steps.ts'
import { BlockCache } from '../../../src/query/read/block-cache.ts'
import { BlockReader } from '../../../src/query/read/block-reader.ts'
import { encodeDigest, InboxReader } from '../../../src/query/read/inbox-reader.ts'
import type { Block } from '../../../src/rollup/block/block.ts'
import { encodeBlock } from '../../../src/rollup/block/encode-block.ts'
import { RollupTable } from '../../../src/rollup/rollup-table.ts'

/** The merge of a group of inbox blocks takes steps that depend on its size. */

const METRIC_ID = { hi: 1, lo: 2 }
const WIDTH_MS = 10_000

/** 64 blocks that have the same series. */
function blocksOf(seriesCount: number) {
  return Array.from({ length: 64 }, (_, i) => {
    const table = new RollupTable('gauge')
    for (let series = 0; series < seriesCount; series++) table.addValue(table.addRow(0, series, 0), i, i)
    const { scalars } = encodeBlock(WIDTH_MS, [{ metricId: METRIC_ID, rows: table.toSortedRows() }])
    return { name: `block${i}`, scalars, sketches: undefined }
  })
}

const stepsOf = (seriesCount: number): Steps<Block | undefined> =>
  encodeDigest('digest', METRIC_ID, blocksOf(seriesCount), WIDTH_MS)

function run(steps: Steps<Block | undefined>): { readonly digest: Block | undefined; readonly stepCount: number } {
  for (let stepCount = 1; ; stepCount++) {
    const { done, value } = steps.next()
    if (done === true) return { digest: value, stepCount }
  }
}

test('blocks of few rollups are merged in one step', () => {
  const { digest, stepCount } = run(stepsOf(60))
  expect(digest?.section(METRIC_ID)?.count.every((count) => count === 64)).toBe(true)
  expect(stepCount).toBe(1)
})

test('blocks of many rollups are merged in many steps', () => {
  const { digest, stepCount } = run(stepsOf(1_000))
  expect(digest?.section(METRIC_ID)?.count.every((count) => count === 64)).toBe(true)
  expect(digest?.section(METRIC_ID)?.length).toBe(1_000)
  expect(stepCount).toBeGreaterThan(50)
})

test('blocks of very many rollups are not merged', () => {
  expect(run(stepsOf(1_100)).digest).toBeUndefined()
})

test.each([
  ['that cannot be merged are read to merge them, then to query them', 1_100, 1, [64, 64], [64]],
  ['are replaced by their digest', 60, 1 << 20, [64, 1], []],
])('blocks %s; a later query does not merge them again', async (_, seriesCount, cacheBytes, firstReads, laterReads) => {
  const blocks = new Map(blocksOf(seriesCount).map(({ name, scalars }) => [name, scalars]))
  let reads: number[] = []
  const store = {
    readBlocks: async (_partition: number, names: readonly string[]) => {
      if (names.length > 0) reads.push(names.length)
      return names.map((name) => blocks.get(name))
    },
  }
  const entries = [...blocks].map(([block, { length }], order) => ({
    block,
    scalarBytes: length,
    sketchBytes: 0,
    arrivedMs: 0,
    order,
  }))
  // A group is merged when an entry of the next group has arrived.
  const [first] = entries
  const next = { ...first!, order: 64 }
  const cache = new BlockCache(cacheBytes)
  const reader = new InboxReader(store, new BlockReader(store, cache), cache)
  const read = async () => {
    const session = { blocks: new Map(), createPace: () => ({ pause: async () => {} }) }
    const contents = await reader.read(0, METRIC_ID, [...entries, next], WIDTH_MS, false, session)
    expect(contents?.sections.reduce((sum, { count }) => sum + count.reduce((a, b) => a + b), 0)).toBe(65 * seriesCount)
  }
  await read()
  expect(reads).toEqual(firstReads)
  reads = []
  await read()
  expect(reads).toEqual(laterReads)
})
