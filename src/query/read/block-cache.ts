import type { Block } from '../../rollup/block/block.ts'

/**
 * Where the index lists a block, or the first block of a digest. Used to find cached blocks that the index no longer
 * lists.
 */
export interface IndexPosition {
  /** Name of the part of the index: the inbox of a partition, or a timeline. */
  readonly indexPart: string
  /** The arrival number (`InboxEntry.order`) in an inbox, or the start of the window, in UNIX ms, in a timeline. */
  readonly position: number
}

interface CachedBlock {
  readonly block: Block
  readonly indexPosition: IndexPosition
}

/** Estimated memory that one block takes in `#blocks` and `#blocksByIndexPart` together, without the block itself. */
const MAP_ENTRY_BYTES = 300

/**
 * A cache of opened blocks by name, limited in bytes; the least recently used block is evicted first. The columns of a
 * block are decoded on first use, and the growth of a block counts immediately. lru-cache does not support this: it
 * fixes the size of an entry when it is set. Callers also remove blocks that the index no longer lists.
 */
export class BlockCache {
  readonly #bytesMax: number
  readonly #blocks = new Map<string, CachedBlock>()
  readonly #blocksByIndexPart = new Map<string, Map<string, CachedBlock>>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Estimated memory of all cached blocks, in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  get blockCount(): number {
    return this.#blocks.size
  }

  get(name: string): Block | undefined {
    const cached = this.#blocks.get(name)
    if (cached === undefined) return undefined
    this.#blocks.delete(name)
    this.#blocks.set(name, cached)
    return cached.block
  }

  put(block: Block, indexPosition: IndexPosition): void {
    const { name, memory } = block
    // Removes an older entry with this name, so that no memory is counted twice.
    this.remove(name)
    const cached = { block, indexPosition }
    this.#blocks.set(name, cached)
    let blocksOfPart = this.#blocksByIndexPart.get(indexPosition.indexPart)
    if (blocksOfPart === undefined) this.#blocksByIndexPart.set(indexPosition.indexPart, (blocksOfPart = new Map()))
    blocksOfPart.set(name, cached)
    memory.onGrowth = (bytes) => this.#addBytes(bytes)
    this.#addBytes(memory.bytes + MAP_ENTRY_BYTES)
  }

  remove(name: string): void {
    const cached = this.#blocks.get(name)
    if (cached === undefined) return
    const { block, indexPosition } = cached
    this.#blocks.delete(name)
    const blocksOfPart = this.#blocksByIndexPart.get(indexPosition.indexPart)!
    blocksOfPart.delete(name)
    if (blocksOfPart.size === 0) this.#blocksByIndexPart.delete(indexPosition.indexPart)
    block.memory.onGrowth = undefined
    this.#bytes -= block.memory.bytes + MAP_ENTRY_BYTES
  }

  /** Evicts the blocks of one part of the index for which `isGone` returns true. */
  removeWhere(indexPart: string, isGone: (position: number, name: string) => boolean): void {
    const blocks = this.#blocksByIndexPart.get(indexPart)
    if (blocks === undefined) return
    for (const [name, { indexPosition }] of blocks) if (isGone(indexPosition.position, name)) this.remove(name)
  }

  #addBytes(bytes: number): void {
    this.#bytes += bytes
    for (const name of this.#blocks.keys()) {
      if (this.#bytes <= this.#bytesMax) return
      this.remove(name)
    }
  }
}
