import { UNLISTED_BLOCK_MS } from '../lifetimes.ts'
import type { BlockPart, NamedBlock } from '../store.ts'
import type { HeldBlocks } from './held-blocks.ts'
import { blockKey, expiryKey } from './keys.ts'
import { decodeU32, encodeU32 } from './rows.ts'
import { NO_VALUE, type Tables } from './table.ts'
import type { WriteSet } from './write-set.ts'

/**
 * Stores blocks and counts the entries that list them. A block is listed by one inbox entry or by index entries; the
 * number of index entries is stored. A block that is no longer listed stays readable for `UNLISTED_BLOCK_MS`: in LMDB
 * until `sweep` removes it, or, if it is not in LMDB yet, in memory. So an inbox block that is folded soon is never
 * written to LMDB, unless memory is full.
 */

export function readBlock(
  tables: Tables,
  held: HeldBlocks,
  partition: number,
  name: string,
  part: BlockPart,
): Uint8Array | undefined {
  const block = held.get(partition, name, Number.NEGATIVE_INFINITY)
  if (block !== undefined) return block[part]
  const bytes = tables[part].get(blockKey(partition, name))
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

/** Increases the number of index entries that list the block. */
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

/** Removes a block after `UNLISTED_BLOCK_MS`, unless an index entry still lists it. */
export function unlistBlock(writes: WriteSet, held: HeldBlocks, partition: number, name: string, nowMs: number): void {
  const key = blockKey(partition, name)
  if (writes.has('listed', key) || !writes.has('scalars', key)) return
  const expiresMs = nowMs + UNLISTED_BLOCK_MS
  if (!writes.tables.scalars.isInLmdb(key)) {
    const block = { name, scalars: writes.get('scalars', key)!, sketches: writes.get('sketches', key) }
    if (held.addAfter(writes, partition, block, expiresMs)) {
      sweepBlock(writes, key)
      return
    }
  }
  writes.put('expiry', expiryKey(expiresMs, 'block', key), NO_VALUE)
}

/** Removes a block that has expired, unless it was listed again meanwhile. */
export function sweepBlock(writes: WriteSet, key: Uint8Array): void {
  if (writes.has('listed', key)) return
  writes.remove('scalars', key)
  if (writes.has('sketches', key)) writes.remove('sketches', key)
}
