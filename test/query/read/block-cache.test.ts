import { describe, expect, it } from 'vitest'
import { BlockCache } from '../../../src/query/read/block-cache.ts'
import type { Block } from '../../../src/rollup/block/block.ts'
import { BlockMemory } from '../../../src/rollup/block/block-memory.ts'

/** A block of which the cache sees its name and its memory, which grows as columns are decoded. */
function block(name: string, bytes: number): Block & { readonly memory: BlockMemory } {
  const memory = new BlockMemory()
  memory.addBytes(bytes - ENTRY_BYTES)
  return {
    name,
    resolutionMs: 10_000,
    sections: [],
    section: () => undefined,
    memory,
    needsSketches: false,
    areSketchesAttached: false,
    attachSketches: () => {},
  }
}

/** What the cache counts for an entry beside the block. */
const ENTRY_BYTES = 300
const INBOX = { indexPart: 'inbox 0', position: 7 }

function fill(cache: BlockCache, ...blocks: readonly Block[]): void {
  for (const each of blocks) cache.put(each, INBOX)
}

describe('BlockCache', () => {
  it('returns blocks by name', () => {
    const cache = new BlockCache(10_000)
    const a = block('a', 1_000)
    fill(cache, a)
    expect(cache.get('a')).toBe(a)
    expect(cache.get('b')).toBeUndefined()
    expect(cache.bytes).toBe(1_000)
  })

  it('evicts the least recently used block when it has too many bytes', () => {
    const cache = new BlockCache(2_500)
    fill(cache, block('a', 1_000), block('b', 1_000))
    cache.get('a')
    fill(cache, block('c', 1_000))
    expect(['a', 'b', 'c'].map((name) => cache.get(name)?.name)).toEqual(['a', undefined, 'c'])
    expect(cache.bytes).toBe(2_000)
    expect(cache.blockCount).toBe(2)
  })

  it('counts a block when it is put, and what it grows by at once', () => {
    const cache = new BlockCache(2_500)
    const grows = block('grows', 400)
    fill(cache, block('a', 1_000), grows)
    expect(cache.bytes).toBe(1_400)
    grows.memory.addBytes(1_000)
    expect(cache.bytes).toBe(2_400)
    grows.memory.addBytes(1_000)
    expect(cache.get('a')).toBeUndefined()
    expect(cache.bytes).toBe(2_400)
  })

  it('does not keep a block larger than all of it', () => {
    const cache = new BlockCache(2_500)
    fill(cache, block('a', 1_000), block('huge', 2_501))
    expect(cache.blockCount).toBe(0)
    expect(cache.bytes).toBe(0)
  })

  it('does not count what evicted blocks grow by', () => {
    const cache = new BlockCache(2_500)
    const gone = block('gone', 2_000)
    fill(cache, gone, block('b', 2_000))
    expect(cache.get('gone')).toBeUndefined()
    gone.memory.addBytes(1_000)
    expect(cache.bytes).toBe(2_000)
  })

  it('counts a block once that two queries fetched at the same time', () => {
    const cache = new BlockCache(10_000)
    const twice = block('a', 1_000)
    fill(cache, twice, block('a', 1_000))
    expect(cache.bytes).toBe(1_000)
    twice.memory.addBytes(500)
    expect(cache.bytes).toBe(1_000)
  })

  it('evicts the blocks that one part of the index no longer lists', () => {
    const cache = new BlockCache(10_000)
    for (const position of [1, 2, 3]) {
      cache.put(block(`inbox${position}`, 1_000), { indexPart: 'inbox 0', position })
      cache.put(block(`other${position}`, 1_000), { indexPart: 'inbox 1', position })
    }
    cache.removeWhere('inbox 0', (position) => position < 3)
    cache.removeWhere('no such part', () => true)
    expect(cache.get('inbox2')).toBeUndefined()
    expect(cache.get('inbox3')?.name).toBe('inbox3')
    expect(cache.bytes).toBe(4_000)
    cache.removeWhere('inbox 1', (_, name) => name === 'other1')
    cache.remove('other2')
    cache.remove('other2')
    expect([cache.bytes, cache.blockCount]).toEqual([2_000, 2])
  })
})
