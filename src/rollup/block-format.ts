import type { RollupKind } from '../model/metric.ts'

/**
 * Constants and errors that the encoder and the readers of a block share. `docs/storage-format.md` describes every
 * byte.
 */

/** The number of a kind is its index. */
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

/** The bytes are no block, or a block that this version cannot read. A query then fails, so that no number is wrong. */
export class BlockError extends Error {
  readonly block: string

  constructor(block: string, reason: string, cause?: unknown) {
    super(`block ${block}: ${reason}`, cause === undefined ? undefined : { cause })
    this.name = 'BlockError'
    this.block = block
  }
}

/** The block is not damaged but of another version. Another gateway may be able to read it. */
export class BlockVersionError extends BlockError {}

/** Turns any error while reading a block into a BlockError with the name of the block. */
export function guard<T>(name: string, doing: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof BlockError) throw error
    throw new BlockError(name, `${doing}: ${error instanceof Error ? error.message : String(error)}`, error)
  }
}

/**
 * Default size of `encodeBlocks`: small enough for one transfer, large enough that a day of a metric is a few blocks.
 */
export const BLOCK_BYTES_MAX = 1 << 20
/** Bounds the memory of a reader, whatever the bytes say. */
export const BLOCK_ROWS_MAX = 1 << 20
/** A compressed block with a greater announced size is damaged. */
export const INFLATED_BYTES_MAX = 1 << 26

/** Version 1 is refused: it had two encodings of running totals that cannot be told apart. */
export const VERSION = 2
export const SCALARS_MAGIC = [0x47, 0x51, 0x42] as const // GQB
export const SKETCHES_MAGIC = [0x47, 0x51, 0x53] as const // GQS
export const DEFLATED = 1
export const CHECKSUM_BYTES = 4
