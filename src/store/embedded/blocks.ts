import { UNLISTED_BLOCK_KEPT_MS } from '../bookkeeping-lifetimes.ts'
import type { BlockStringName, NamedBlock } from '../store.ts'
import type { HeldBlocks } from './held-blocks.ts'
import { blockKey, expiryKey } from './keys.ts'
import { decodeU32, encodeU32 } from './rows.ts'
import { keyTextOf, NO_VALUE, type Tables } from './table.ts'
import type { WriteSet } from './write-set.ts'

/**
 * Stores blocks, and counts the index entries that list (refer to) each block. A block is listed by one inbox entry or
 * by index entries. When no entry lists a block any more, the block stays readable for `UNLISTED_BLOCK_KEPT_MS`. A
 * block in LMDB stays there until `sweep` removes it. A block that is not in LMDB yet is moved to `HeldBlocks`, which
 * may drop it earlier; so most inbox blocks, which are folded before the next checkpoint, are never written to LMDB.
 */

export function readBlock(
  tables: Tables,
  heldBlocks: HeldBlocks,
  partition: number,
  name: string,
  stringName: BlockStringName,
): Uint8Array | undefined {
  const block = heldBlocks.get(partition, name, Number.NEGATIVE_INFINITY)
  if (block !== undefined) return block[stringName]
  const bytes = tables[stringName].get(blockKey(partition, name))
  return bytes && new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** Stores a new block. */
export function putBlock(writes: WriteSet, partition: number, block: NamedBlock): void {
  const key = blockKey(partition, block.name)
  writes.putNew('scalars', key, block.scalars)
  if (block.sketches !== undefined) writes.putNew('sketches', key, block.sketches)
}

export function blockExists(writes: WriteSet, partition: number, name: string): boolean {
  return writes.has('scalars', blockKey(partition, name))
}

/** Adds 1 to the number of index entries that list the block. */
export function incrementListings(writes: WriteSet, partition: number, name: string): void {
  const key = blockKey(partition, name)
  writes.put('listed', key, encodeU32(decodeU32(writes.get('listed', key)) + 1))
}

/** Subtracts 1 from the number of index entries that list the block. */
export function decrementListings(writes: WriteSet, partition: number, name: string): void {
  const key = blockKey(partition, name)
  const entries = decodeU32(writes.get('listed', key)) - 1
  if (entries > 0) writes.put('listed', key, encodeU32(entries))
  else writes.remove('listed', key)
}

/** Makes a block expire after `UNLISTED_BLOCK_KEPT_MS`, unless an index entry lists it. Does not look at the inbox. */
export function expireBlockIfUnlisted(
  writes: WriteSet,
  heldBlocks: HeldBlocks,
  partition: number,
  name: string,
  nowMs: number,
): void {
  const key = blockKey(partition, name)
  const expiresMs = nowMs + UNLISTED_BLOCK_KEPT_MS
  const text = keyTextOf(key)
  if (!writes.tables.scalars.isInLmdb(key, text)) {
    // The number of its listings and its sketches are in layers too: they were written with the scalars or later.
    const scalars = writes.getFromLayers('scalars', text)
    if (scalars === undefined || writes.getFromLayers('listed', text) !== undefined) return
    const sketches = writes.getFromLayers('sketches', text)
    writes.onceDurable(() => heldBlocks.addUnlisted(partition, { name, scalars, sketches }, expiresMs))
    writes.remove('scalars', key, text)
    if (sketches !== undefined) writes.remove('sketches', key, text)
    return
  }
  if (writes.has('listed', key) || !writes.has('scalars', key)) return
  writes.put('expiry', expiryKey(expiresMs, 'block', key), NO_VALUE)
}

/** Removes a block, unless an index entry lists it. Does not look at the inbox. */
export function removeBlockIfUnlisted(writes: WriteSet, key: Uint8Array): void {
  if (writes.has('listed', key)) return
  writes.remove('scalars', key)
  if (writes.has('sketches', key)) writes.remove('sketches', key)
}
