import type { RollupKind } from '../model/metric.ts'

/** What the writer and the readers of a block share. `docs/storage-format.md` describes every byte. */

/** A kind's number is its place. */
export const KINDS: readonly RollupKind[] = ['gauge', 'counter', 'distribution', 'set']
export const KIND_MASK = 3
export const HAS_TOTALS = 4
export const HAS_BINS = 8

/** One value: count is 1, and sum, min, max, first and last are that value. */
export const SINGLE = 0
/** Several equal values: min, max, first and last are the same. */
export const FLAT = 1
export const FULL = 2
export const MIXED = 3

/** Bytes that are no block, or not one this version can read. Never answered with numbers. */
export class BlockError extends Error {
  readonly block: string

  constructor(block: string, reason: string, cause?: unknown) {
    super(`block ${block}: ${reason}`, cause === undefined ? undefined : { cause })
    this.name = 'BlockError'
    this.block = block
  }
}

/** Not damaged, but of a gateway of another time: another gateway may read it. */
export class BlockVersionError extends BlockError {}

/** What goes wrong while reading a block is a BlockError that names it. */
export function guard<T>(name: string, doing: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof BlockError) throw error
    throw new BlockError(name, `${doing}: ${error instanceof Error ? error.message : String(error)}`, error)
  }
}

/** Aim of `encodeBlocks`: small enough to move in one piece, large enough that a day of a metric is few of them. */
export const BLOCK_BYTES_MAX = 1 << 20
/** Bounds what a reader allocates, whatever the bytes claim. */
export const BLOCK_ROWS_MAX = 1 << 20
/** A compressed block that claims to be larger is damaged. */
export const INFLATED_BYTES_MAX = 1 << 26

/** 1 is refused: its running totals were written in two ways that the bytes do not tell apart. */
export const VERSION = 2
export const SCALARS_MAGIC = [0x47, 0x51, 0x42] as const // GQB
export const SKETCHES_MAGIC = [0x47, 0x51, 0x53] as const // GQS
export const DEFLATED = 1
export const CHECKSUM_BYTES = 4
