import { UNCOMMITTED_BLOCK_MS, UNLISTED_BLOCK_MS } from '../lifetimes.ts'
import type { BlockPart, NamedBlock } from '../store.ts'
import type { Tables, WriteSet } from './environment.ts'
import { NO_VALUE } from './environment.ts'
import { blockKey, expiryKey } from './keys.ts'
import { decodeU32, encodeU32 } from './rows.ts'

/**
 * Blocks and the entries that list them. A block is listed by one inbox entry or by index entries, whose number is
 * counted. A block that nothing lists any more stays readable for `UNLISTED_BLOCK_MS`, then `sweep` removes it.
 *
 * Blocks that a fold has written but not committed are in memory only: they need not survive the process, and the
 * transaction that lists them usually follows a moment later.
 */

export class UncommittedBlocks {
  readonly #blocks = new Map<string, { readonly block: NamedBlock; readonly expiresMs: number }>()

  add(partition: number, block: NamedBlock, nowMs: number): void {
    this.#blocks.set(`${partition}/${block.name}`, { block, expiresMs: nowMs + UNCOMMITTED_BLOCK_MS })
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

/** Counts one more index entry that lists the block. */
export function addListing(writes: WriteSet, partition: number, name: string): void {
  const key = blockKey(partition, name)
  writes.put('listed', key, encodeU32(decodeU32(writes.get('listed', key)) + 1))
}

export function removeListing(writes: WriteSet, partition: number, name: string): void {
  const key = blockKey(partition, name)
  const entries = decodeU32(writes.get('listed', key)) - 1
  if (entries > 0) writes.put('listed', key, encodeU32(entries))
  else writes.remove('listed', key)
}

/** Lets a block expire, unless an index entry lists it. */
export function expireUnlisted(writes: WriteSet, partition: number, name: string, nowMs: number): void {
  const key = blockKey(partition, name)
  if (!writes.has('listed', key)) writes.put('expiry', expiryKey(nowMs + UNLISTED_BLOCK_MS, 'block', key), NO_VALUE)
}

/** Removes a block whose time is over, unless it was listed again meanwhile. */
export function sweepBlock(writes: WriteSet, key: Uint8Array): void {
  if (writes.has('listed', key)) return
  writes.remove('scalars', key)
  writes.remove('sketches', key)
}
