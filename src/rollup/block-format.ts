import type { RollupKind } from '../model/metric.ts'

/**
 * Constants and errors that the encoder and the readers of a block share. `docs/storage-format.md` describes every
 * byte.
 */

/** A kind is encoded as its index in this list. */
export const KINDS: readonly RollupKind[] = ['gauge', 'counter', 'distribution', 'set']
export const KIND_MASK = 3
export const HAS_TOTALS = 4
export const HAS_BINS = 8

/** The row has one value: count is 1, and sum, min, max, first and last equal the value. */
export const SINGLE = 0
/** The row has several equal values: min, max, first and last are equal. */
export const FLAT = 1
export const FULL = 2
export const MIXED = 3

/**
 * The bytes are not a block, or a block that this version cannot read. The query then fails, because its result would
 * be wrong.
 */
export class BlockError extends Error {
  readonly block: string

  constructor(block: string, reason: string, cause?: unknown) {
    super(`block ${block}: ${reason}`, cause === undefined ? undefined : { cause })
    this.name = 'BlockError'
    this.block = block
  }
}

/** The block is intact but has an unknown version. A newer gateway may be able to read it. */
export class BlockVersionError extends BlockError {}

/** Calls `read`. Replaces any error by a BlockError with the name of the block. */
export function guard<T>(name: string, doing: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof BlockError) throw error
    throw new BlockError(name, `${doing}: ${error instanceof Error ? error.message : String(error)}`, error)
  }
}

/**
 * Default maximum size of a block in `encodeBlocks`: small enough for one transfer, large enough that a day of a metric
 * takes few blocks.
 */
export const BLOCK_BYTES_MAX = 1 << 20
/** Maximum number of rows of a block. It bounds the memory of a reader, even for damaged bytes. */
export const BLOCK_ROWS_MAX = 1 << 20
/** Maximum size of a decompressed block. A block that announces a greater size is damaged. */
export const INFLATED_BYTES_MAX = 1 << 26

/**
 * Version of the block format. Version 1 is refused, because it had two encodings of running totals that cannot be
 * distinguished.
 */
export const VERSION = 2
export const SCALARS_MAGIC = [0x47, 0x51, 0x42] as const // GQB
export const SKETCHES_MAGIC = [0x47, 0x51, 0x53] as const // GQS
export const DEFLATED = 1
export const CHECKSUM_BYTES = 4
