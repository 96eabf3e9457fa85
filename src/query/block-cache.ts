import type { Block } from '../rollup/block.ts'

/**
 * Decoded blocks by name, least recently used first out, bounded in bytes. Blocks never change, so an entry is right for
 * as long as it is here; a dashboard that asks again fetches and decodes only what is new.
 */
export class BlockCache {
  readonly #bytesMax: number
  readonly #blocks = new Map<string, { readonly block: Block; bytes: number }>()
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

  put(block: Block): void {
    // Two queries may have fetched it at the same time.
    this.#bytes -= this.#blocks.get(block.name)?.bytes ?? 0
    this.#blocks.set(block.name, { block, bytes: 0 })
  }

  /** Counts what blocks have grown by since they were put (columns are decoded on first use) and evicts down to the bound. */
  settle(blocks: Iterable<Block>): void {
    for (const block of blocks) {
      const held = this.#blocks.get(block.name)
      if (held === undefined) continue
      const bytes = block.decodedBytes
      this.#bytes += bytes - held.bytes
      held.bytes = bytes
    }
    for (const [name, { bytes }] of this.#blocks) {
      if (this.#bytes <= this.#bytesMax) return
      this.#blocks.delete(name)
      this.#bytes -= bytes
    }
  }

  clear(): void {
    this.#blocks.clear()
    this.#bytes = 0
  }
}
