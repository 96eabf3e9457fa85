import { expect, test } from 'vitest'
import { Arena } from '../../src/rollup/arena.ts'
import { openBlock } from '../../src/rollup/block/block.ts'
import { BlockMemory } from '../../src/rollup/block/block-memory.ts'
import { encodeBlock } from '../../src/rollup/block/encode-block.ts'
import { acquireMergedRows, releaseMergedRows } from '../../src/rollup/merged-rows.ts'
import { KINDS, plainRollups, tableOf } from './plain-rollups.ts'

const metricId = { hi: 1, lo: 2 }

test('an arena is used again, filled with zeros', () => {
  const arena = new Arena()
  const at = arena.reserve(20)
  new Uint8Array(arena.buffer, at, 20).fill(255)
  const { buffer } = arena
  arena.reset()
  expect(arena.reserve(20)).toBe(at)
  expect(arena.buffer).toBe(buffer)
  expect([...new Uint8Array(arena.buffer, at, 20)]).toEqual(Array(20).fill(0))
})

test('what is taken from an arena is aligned and does not overlap', () => {
  const arena = new Arena()
  const taken = Array.from({ length: 3_000 }, (_, i) => {
    const bytes = (i * 37) % 5_000
    return { at: arena.reserve(bytes), buffer: arena.buffer, bytes }
  })
  for (const [i, { at, buffer, bytes }] of taken.entries()) {
    expect(at % 8).toBe(0)
    expect(at + bytes).toBeLessThanOrEqual(buffer.byteLength)
    const previous = taken[i - 1]
    if (previous?.buffer === buffer) expect(at).toBeGreaterThanOrEqual(previous.at + previous.bytes)
  }
  expect(arena.reserve(1 << 21)).toBe(-1)
})

test('a column that does not fit into a new arena gets memory of its own', () => {
  const memory = new BlockMemory(new Arena())
  expect(memory.allocateNumbers(200_000)).toHaveLength(200_000)
  expect([...memory.allocateIds(3)]).toEqual([0, 0, 0])
})

test.each(KINDS)('blocks of a %s decoded into one arena equal blocks with memory of their own', (kind) => {
  const arena = new Arena()
  for (let round = 0; round < 3; round++) {
    arena.reset()
    const blocks = Array.from({ length: 40 }, (_, i) => {
      const points = Array.from({ length: 60 }, (_, n) => {
        return { hi: n % 7, lo: i, timeMs: n * 3_000, value: (n * (i + round)) % 11, total: n % 3 === 0 }
      })
      return encodeBlock(10_000, [{ metricId, rows: tableOf(kind, points) }])
    })
    const open = (i: number, into?: Arena) => {
      const block = openBlock(`b${i}`, blocks[i]!.scalars, into)
      if (blocks[i]!.sketches !== undefined) block.attachSketches(blocks[i]!.sketches)
      return block.sections[0]!
    }
    const inArena = blocks.map((_, i) => open(i, arena))
    const read = inArena.map((section) => plainRollups(section))
    expect(read).toEqual(blocks.map((_, i) => plainRollups(open(i))))
    expect(inArena.map((section) => plainRollups(section))).toEqual(read)
  }
})

test('rows that were given back are taken again, empty, and only once', () => {
  const rows = acquireMergedRows('gauge')
  rows.addRow(1, 1, 0)
  releaseMergedRows(rows)
  expect(() => releaseMergedRows(rows)).toThrow(/given back once/)
  const next = acquireMergedRows('gauge')
  expect(next).toBe(rows)
  expect(next.length).toBe(0)
  expect(acquireMergedRows('gauge')).not.toBe(rows)
})
