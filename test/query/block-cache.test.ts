import { describe, expect, it } from 'vitest'
import { BlockCache } from '../../src/query/block-cache.ts'
import type { Block } from '../../src/rollup/block.ts'

/** A block of which the cache sees its name and its size, which grows as columns are decoded. */
function block(name: string, decodedBytes: number): Block & { decodedBytes: number } {
  return {
    name,
    resolutionMs: 10_000,
    sections: [],
    section: () => undefined,
    decodedBytes,
    needsSketches: false,
    hasSketches: false,
    attachSketches: () => {},
  }
}

function fill(cache: BlockCache, ...blocks: readonly Block[]): void {
  for (const each of blocks) cache.put(each)
  cache.settle(blocks)
}

describe('BlockCache', () => {
  it('answers the blocks it was given, by name', () => {
    const cache = new BlockCache(1_000)
    const a = block('a', 100)
    fill(cache, a)
    expect(cache.get('a')).toBe(a)
    expect(cache.get('b')).toBeUndefined()
    expect(cache.bytes).toBe(100)
  })

  it('lets the least recently used go when it holds too many bytes', () => {
    const cache = new BlockCache(250)
    fill(cache, block('a', 100), block('b', 100))
    cache.get('a')
    fill(cache, block('c', 100))
    expect(['a', 'b', 'c'].map((name) => cache.get(name)?.name)).toEqual(['a', undefined, 'c'])
    expect(cache.bytes).toBe(200)
    expect(cache.size).toBe(2)
  })

  it('counts what a block has grown by since it was put', () => {
    const cache = new BlockCache(250)
    const grows = block('grows', 10)
    fill(cache, block('a', 100), grows)
    grows.decodedBytes = 200
    cache.settle([grows])
    expect(cache.get('a')).toBeUndefined()
    expect(cache.bytes).toBe(200)
    cache.settle([grows, grows])
    expect(cache.bytes).toBe(200)
  })

  it('does not keep a block larger than all of it', () => {
    const cache = new BlockCache(250)
    fill(cache, block('a', 100), block('huge', 251))
    expect(cache.size).toBe(0)
    expect(cache.bytes).toBe(0)
  })

  it('does not count blocks that it let go', () => {
    const cache = new BlockCache(250)
    const gone = block('gone', 200)
    fill(cache, gone, block('b', 200))
    expect(cache.get('gone')).toBeUndefined()
    cache.settle([gone])
    expect(cache.bytes).toBe(200)
  })

  it('counts a block once that two queries fetched at the same time', () => {
    const cache = new BlockCache(1_000)
    fill(cache, block('a', 100))
    fill(cache, block('a', 100))
    expect(cache.bytes).toBe(100)
    cache.clear()
    expect([cache.bytes, cache.size]).toEqual([0, 0])
  })
})
