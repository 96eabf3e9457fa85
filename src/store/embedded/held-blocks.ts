import type { NamedBlock } from '../store.ts'
import type { WriteSet } from './write-set.ts'

/**
 * Maximum bytes of unlisted blocks. The blocks of folds in progress are not bounded, but there is one fold at a time.
 */
export const HELD_BYTES_MAX = 33_554_432

/**
 * Blocks that no index or inbox entry lists: a fold has written them but not committed yet, or they were listed until
 * recently, and a query with an older snapshot may still read them. They are only in memory, because they are not
 * needed after a restart.
 */
export class HeldBlocks {
  readonly #blocks = new Map<string, { readonly block: NamedBlock; readonly expiresMs: number }>()
  #bytes = 0
  /** Bytes of the blocks that each unfinished write will add. */
  readonly #addedBytes = new WeakMap<WriteSet, number>()

  get bytes(): number {
    return this.#bytes
  }

  add(partition: number, block: NamedBlock, expiresMs: number): void {
    this.remove(partition, block.name)
    this.#blocks.set(keyOf(partition, block.name), { block, expiresMs })
    this.#bytes += heldBytes(block)
  }

  /** Adds an unlisted block once the write is durable. Returns false, and adds nothing, if memory is full. */
  addAfter(writes: WriteSet, partition: number, block: NamedBlock, expiresMs: number): boolean {
    const addedBytes = (this.#addedBytes.get(writes) ?? 0) + heldBytes(block)
    if (this.#bytes + addedBytes > HELD_BYTES_MAX) return false
    this.#addedBytes.set(writes, addedBytes)
    writes.afterwards(() => this.add(partition, block, expiresMs))
    return true
  }

  get(partition: number, name: string, nowMs: number): NamedBlock | undefined {
    const held = this.#blocks.get(keyOf(partition, name))
    return held !== undefined && held.expiresMs > nowMs ? held.block : undefined
  }

  remove(partition: number, name: string): void {
    this.#remove(keyOf(partition, name))
  }

  sweep(nowMs: number): void {
    for (const [key, { expiresMs }] of this.#blocks) if (expiresMs <= nowMs) this.#remove(key)
  }

  #remove(key: string): void {
    const held = this.#blocks.get(key)
    if (held === undefined) return
    this.#blocks.delete(key)
    this.#bytes -= heldBytes(held.block)
  }
}

/** Memory of a block in addition to its strings: objects, buffers and a map entry. */
const BLOCK_BYTES = 400

function heldBytes({ scalars, sketches }: NamedBlock): number {
  return BLOCK_BYTES + scalars.length + (sketches?.length ?? 0)
}

function keyOf(partition: number, name: string): string {
  return `${partition}/${name}`
}
