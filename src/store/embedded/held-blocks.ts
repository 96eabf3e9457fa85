import type { NamedBlock } from '../store.ts'

/**
 * Blocks that nothing lists. They are in memory only, because nothing needs them after a restart: a fold has written but
 * not committed them, or they were listed until a moment ago, and a query whose snapshot names them may still be reading.
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

/** What a block costs beside its strings: objects, buffers, a place in a map. */
const BLOCK_BYTES = 400

export function heldBytes({ scalars, sketches }: NamedBlock): number {
  return BLOCK_BYTES + scalars.length + (sketches?.length ?? 0)
}

function keyOf(partition: number, name: string): string {
  return `${partition}/${name}`
}
