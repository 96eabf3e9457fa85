import type { NamedBlock } from '../store.ts'

/**
 * Blocks that no index or inbox entry lists: a fold has written them but not committed yet, or they were listed until
 * recently, and a query with an older snapshot may still read them. They are only in memory, because they are not
 * needed after a restart.
 */
export class HeldBlocks {
  readonly #blocks = new Map<string, { readonly block: NamedBlock; readonly expiresMs: number }>()
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  add(partition: number, block: NamedBlock, expiresMs: number): void {
    this.remove(partition, block.name)
    this.#blocks.set(keyOf(partition, block.name), { block, expiresMs })
    this.#bytes += heldBytes(block)
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

export function heldBytes({ scalars, sketches }: NamedBlock): number {
  return BLOCK_BYTES + scalars.length + (sketches?.length ?? 0)
}

function keyOf(partition: number, name: string): string {
  return `${partition}/${name}`
}
