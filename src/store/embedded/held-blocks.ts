import type { NamedBlock } from '../store.ts'
import type { WriteSet } from './write-set.ts'

/**
 * A block that is no longer listed is held only if all held blocks, this one included, then take at most this much
 * memory. Blocks that a fold writes are always held: there is only one fold at a time, and a fold that fails or is
 * refused drops its blocks.
 */
export const HELD_BYTES_MAX = 33_554_432

/**
 * Holds in memory blocks that no index or inbox entry lists. Either a fold has written the block but has not committed
 * yet; or the last entry that listed the block was removed before the block was in LMDB, and a query with an older
 * snapshot may still read it. Neither kind of block is needed after a restart.
 */
export class HeldBlocks {
  readonly #blocks = new Map<string, { readonly block: NamedBlock; readonly expiresMs: number }>()
  #memoryBytes = 0
  /**
   * By the key of the frame that is not durable yet: memory of the blocks that `addOnceDurable` will add. There is at
   * most one such frame. If it fails, its bytes no longer count.
   */
  readonly #bytesToAdd = new WeakMap<object, number>()

  get memoryBytes(): number {
    return this.#memoryBytes
  }

  add(partition: number, block: NamedBlock, expiresMs: number): void {
    this.remove(partition, block.name)
    this.#blocks.set(keyOf(partition, block.name), { block, expiresMs })
    this.#memoryBytes += memoryBytesOf(block)
  }

  /** Adds a block when the write is durable. Returns false, and does not add the block, if this exceeds the maximum. */
  addOnceDurable(writes: WriteSet, partition: number, block: NamedBlock, expiresMs: number): boolean {
    const bytesToAdd = (this.#bytesToAdd.get(writes.frameKey) ?? 0) + memoryBytesOf(block)
    if (this.#memoryBytes + bytesToAdd > HELD_BYTES_MAX) return false
    this.#bytesToAdd.set(writes.frameKey, bytesToAdd)
    writes.onceDurable(() => this.add(partition, block, expiresMs))
    return true
  }

  /** Returns a block; undefined if it is not held or has expired. */
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
    this.#memoryBytes -= memoryBytesOf(held.block)
  }
}

/** Estimated memory of a held block in addition to its bytes: objects, buffers and a map entry. */
const BLOCK_OVERHEAD_BYTES = 400

function memoryBytesOf({ scalars, sketches }: NamedBlock): number {
  return BLOCK_OVERHEAD_BYTES + scalars.length + (sketches?.length ?? 0)
}

function keyOf(partition: number, name: string): string {
  return `${partition}/${name}`
}
