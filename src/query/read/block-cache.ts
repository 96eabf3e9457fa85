import type { Block } from '../../rollup/block/block.ts'

/** The place where the index lists a block. With it the cache finds blocks that the index no longer lists. */
export interface IndexPlace {
  /** The part of the index: the inbox of a partition, or a timeline. */
  readonly part: string
  /** The arrival number in an inbox, or the start of the window in a timeline. */
  readonly position: number
}

interface CachedBlock {
  readonly block: Block
  readonly place: IndexPlace
}

/** Memory that a cached block takes in the two maps. */
const ENTRY_BYTES = 300

/**
 * A cache of decoded blocks by name, limited in bytes; the least recently used block is evicted first. Columns are
 * decoded on first use, and the growth of a block counts immediately, which lru-cache does not support: it fixes the
 * size of an entry when it is set. Blocks are immutable. A block is also evicted when the index no longer lists it.
 */
export class BlockCache {
  readonly #bytesMax: number
  readonly #blocks = new Map<string, CachedBlock>()
  readonly #parts = new Map<string, Map<string, CachedBlock>>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#blocks.size
  }

  get(name: string): Block | undefined {
    const cached = this.#blocks.get(name)
    if (cached === undefined) return undefined
    this.#blocks.delete(name)
    this.#blocks.set(name, cached)
    return cached.block
  }

  put(block: Block, place: IndexPlace): void {
    const { name, memory } = block
    // Another query may have fetched and cached the same block meanwhile.
    this.remove(name)
    const cached = { block, place }
    this.#blocks.set(name, cached)
    let part = this.#parts.get(place.part)
    if (part === undefined) this.#parts.set(place.part, (part = new Map()))
    part.set(name, cached)
    memory.onGrowth = (bytes) => this.#grow(bytes)
    this.#grow(memory.bytes + ENTRY_BYTES)
  }

  remove(name: string): void {
    const cached = this.#blocks.get(name)
    if (cached === undefined) return
    const { block, place } = cached
    this.#blocks.delete(name)
    const part = this.#parts.get(place.part)!
    part.delete(name)
    if (part.size === 0) this.#parts.delete(place.part)
    block.memory.onGrowth = undefined
    this.#bytes -= block.memory.bytes + ENTRY_BYTES
  }

  /** Evicts the blocks of one part of the index for which `isGone` returns true. */
  evict(part: string, isGone: (position: number, name: string) => boolean): void {
    const blocks = this.#parts.get(part)
    if (blocks === undefined) return
    for (const [name, { place }] of blocks) if (isGone(place.position, name)) this.remove(name)
  }

  #grow(bytes: number): void {
    this.#bytes += bytes
    for (const name of this.#blocks.keys()) {
      if (this.#bytes <= this.#bytesMax) return
      this.remove(name)
    }
  }
}
