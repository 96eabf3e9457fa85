import type { Block } from '../../rollup/block.ts'

/** Where the index lists a block. A cache looks through a shelf to find what is listed there no more. */
export interface ShelfPlace {
  /** The inbox of a partition, or a timeline. */
  readonly shelf: string
  /** The arrival number in an inbox, the start of the window in a timeline. */
  readonly position: number
}

interface Held {
  readonly block: Block
  readonly place: ShelfPlace
}

/** An entry and its places in two maps. */
const ENTRY_BYTES = 300

/**
 * Decoded blocks by name, least recently used first out, bounded in bytes. A block counts from the moment it is put, and what
 * it grows by (columns are decoded on first use) counts at once, whatever becomes of the query that reads it. Blocks never
 * change; one leaves as soon as the index is known to list it no more.
 */
export class BlockCache {
  readonly #bytesMax: number
  readonly #blocks = new Map<string, Held>()
  readonly #shelves = new Map<string, Map<string, Held>>()
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
    const held = this.#blocks.get(name)
    if (held === undefined) return undefined
    this.#blocks.delete(name)
    this.#blocks.set(name, held)
    return held.block
  }

  put(block: Block, place: ShelfPlace): void {
    const { name, memory } = block
    // Two queries may have fetched it at the same time.
    this.remove(name)
    const held = { block, place }
    this.#blocks.set(name, held)
    let shelf = this.#shelves.get(place.shelf)
    if (shelf === undefined) this.#shelves.set(place.shelf, (shelf = new Map()))
    shelf.set(name, held)
    memory.onGrowth = (bytes) => this.#grow(bytes)
    this.#grow(memory.bytes + ENTRY_BYTES)
  }

  remove(name: string): void {
    const held = this.#blocks.get(name)
    if (held === undefined) return
    const { block, place } = held
    this.#blocks.delete(name)
    const shelf = this.#shelves.get(place.shelf)!
    shelf.delete(name)
    if (shelf.size === 0) this.#shelves.delete(place.shelf)
    block.memory.onGrowth = undefined
    this.#bytes -= block.memory.bytes + ENTRY_BYTES
  }

  /** Removes the blocks of a shelf that `isGone` says so of. */
  evict(shelf: string, isGone: (position: number, name: string) => boolean): void {
    const blocks = this.#shelves.get(shelf)
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
