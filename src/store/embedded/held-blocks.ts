import type { NamedBlock } from '../store.ts'

/**
 * Maximum memory of the held blocks that no entry lists any more. Beyond it, the oldest are dropped: a query that still
 * needs one of them finds it gone and reads the index again. Blocks of a fold or merge that has not committed yet do
 * not count: they are dropped if it fails or is refused.
 */
export const HELD_BYTES_MAX = 16_777_216

interface HeldBlock {
  readonly block: NamedBlock
  readonly expiresMs: number
}

/**
 * Holds in memory blocks that no index or inbox entry lists. Either a fold or a merge has written the block but has not
 * committed yet; or the last entry that listed the block was removed before the block was in LMDB, and a query with an
 * older snapshot may still read it. Neither kind of block is needed after a restart.
 */
export class HeldBlocks {
  readonly #uncommitted = new Map<string, HeldBlock>()
  /** The oldest first. */
  readonly #unlisted = new Map<string, HeldBlock>()
  #unlistedBytes = 0

  /** Memory of the blocks that no entry lists any more. */
  get unlistedBytes(): number {
    return this.#unlistedBytes
  }

  /** Adds a block that a fold or a merge has written. */
  addUncommitted(partition: number, block: NamedBlock, expiresMs: number): void {
    this.#uncommitted.set(keyOf(partition, block.name), { block, expiresMs })
  }

  /** Removes a block that a fold or a merge has written: it has committed, has failed or was refused. */
  removeUncommitted(partition: number, name: string): void {
    this.#uncommitted.delete(keyOf(partition, name))
  }

  /** Adds a block that no entry lists any more, and drops the oldest of these blocks if they take too much memory. */
  addUnlisted(partition: number, block: NamedBlock, expiresMs: number): void {
    const key = keyOf(partition, block.name)
    this.#removeUnlisted(key)
    this.#unlisted.set(key, { block, expiresMs })
    this.#unlistedBytes += memoryBytesOf(block)
    for (const oldestKey of this.#unlisted.keys()) {
      if (this.#unlistedBytes <= HELD_BYTES_MAX) break
      this.#removeUnlisted(oldestKey)
    }
  }

  /** Returns a block; undefined if it is not held or has expired. */
  get(partition: number, name: string, nowMs: number): NamedBlock | undefined {
    const key = keyOf(partition, name)
    const held = this.#uncommitted.get(key) ?? this.#unlisted.get(key)
    return held !== undefined && held.expiresMs > nowMs ? held.block : undefined
  }

  sweep(nowMs: number): void {
    for (const [key, { expiresMs }] of this.#uncommitted) if (expiresMs <= nowMs) this.#uncommitted.delete(key)
    for (const [key, { expiresMs }] of this.#unlisted) if (expiresMs <= nowMs) this.#removeUnlisted(key)
  }

  #removeUnlisted(key: string): void {
    const held = this.#unlisted.get(key)
    if (held === undefined) return
    this.#unlisted.delete(key)
    this.#unlistedBytes -= memoryBytesOf(held.block)
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
