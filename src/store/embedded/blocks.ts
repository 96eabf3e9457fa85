import type { BlockPart, NamedBlock } from '../store.ts'
import type { Tables, WriteSet } from './environment.ts'
import { NO_VALUE } from './environment.ts'
import { blockKey, expiryKey } from './keys.ts'
import { decodeU32, encodeU32 } from './rows.ts'

/**
 * Blocks and who holds them. A block of the inbox is held by its inbox entry, a block of a timeline by the index entries that
 * list it, which are counted. When the last one lets go, the block is loose: readable for a while, then swept.
 *
 * Blocks that a fold has written but not committed stay in memory: they need not survive the process, and most are committed
 * a moment later, in the transaction that lists them.
 */

/** A query may take 30 s and reads blocks that its snapshot named. */
export const LOOSE_MS = 60_000
export const UNCOMMITTED_MS = 15 * 60_000

export class UncommittedBlocks {
  readonly #blocks = new Map<string, { readonly block: NamedBlock; readonly expiresMs: number }>()

  add(partition: number, block: NamedBlock, nowMs: number): void {
    this.#blocks.set(`${partition}/${block.name}`, { block, expiresMs: nowMs + UNCOMMITTED_MS })
  }

  get(partition: number, name: string, nowMs: number): NamedBlock | undefined {
    const held = this.#blocks.get(`${partition}/${name}`)
    return held !== undefined && held.expiresMs > nowMs ? held.block : undefined
  }

  remove(partition: number, name: string): void {
    this.#blocks.delete(`${partition}/${name}`)
  }

  sweep(nowMs: number): void {
    for (const [key, { expiresMs }] of this.#blocks) if (expiresMs <= nowMs) this.#blocks.delete(key)
  }
}

export function readBlock(
  tables: Tables,
  uncommitted: UncommittedBlocks,
  partition: number,
  name: string,
  part: BlockPart,
): Uint8Array | undefined {
  const block = uncommitted.get(partition, name, Number.NEGATIVE_INFINITY)
  if (block !== undefined) return block[part]
  const bytes = tables[part].getBinary(blockKey(partition, name))
  return bytes && new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

export function putBlock(writes: WriteSet, partition: number, block: NamedBlock): void {
  const key = blockKey(partition, block.name)
  writes.put('scalars', key, block.scalars)
  if (block.sketches !== undefined) writes.put('sketches', key, block.sketches)
}

export function blockExists(writes: WriteSet, partition: number, name: string): boolean {
  return writes.has('scalars', blockKey(partition, name))
}

/** One index entry more that lists the block. */
export function holdBlock(writes: WriteSet, partition: number, name: string): void {
  const key = blockKey(partition, name)
  writes.put('listed', key, encodeU32(decodeU32(writes.get('listed', key)) + 1))
}

/** One index entry less. */
export function letGoOfBlock(writes: WriteSet, partition: number, name: string): void {
  const key = blockKey(partition, name)
  const entries = decodeU32(writes.get('listed', key)) - 1
  if (entries > 0) writes.put('listed', key, encodeU32(entries))
  else writes.remove('listed', key)
}

/** Gives a block that nothing lists any more its last minute. */
export function loosenBlock(writes: WriteSet, partition: number, name: string, nowMs: number): void {
  const key = blockKey(partition, name)
  if (!writes.has('listed', key)) writes.put('expiry', expiryKey(nowMs + LOOSE_MS, 'block', key), NO_VALUE)
}

/** The block's minute is over: it goes, unless it was listed again. */
export function sweepBlock(writes: WriteSet, key: Uint8Array): void {
  if (writes.has('listed', key)) return
  writes.remove('scalars', key)
  writes.remove('sketches', key)
}
