import type { RollupKind } from '../../model/metric.ts'

/** Constants and errors of the block format. `docs/storage-format.md` describes every byte of a block. */

/** The kind of rollups in a section is encoded as its index in this list. */
export const ROLLUP_KINDS: readonly RollupKind[] = ['gauge', 'counter', 'distribution', 'set']
/** The bits of a section's flags that encode the kind; the other flags follow. */
export const KIND_MASK = 3
export const FLAG_HAS_TOTALS = 4
export const FLAG_HAS_BINS = 8

/**
 * The shape of a row of a gauge or distribution says which of its values are equal. Equal values are stored once. In a
 * row of this shape, count is 1, and sum, min, max, first and last are one value.
 */
export const SHAPE_SINGLE = 0
/** Shape of a row with several equal points: min, max, first and last are one value. */
export const SHAPE_FLAT = 1
/** Shape of a row with different values: each column has its own value. */
export const SHAPE_FULL = 2
/** Marks a section whose rows have different shapes. The shape of each row follows. */
export const SHAPE_MIXED = 3

/**
 * Thrown if bytes are not a block that this version can read. A query then fails: without the block it would be wrong.
 */
export class BlockError extends Error {
  readonly block: string

  constructor(block: string, reason: string, cause?: unknown) {
    super(`block ${block}: ${reason}`, cause === undefined ? undefined : { cause })
    this.name = 'BlockError'
    this.block = block
  }
}

/** Thrown if a block has an unknown version. A newer gateway may be able to read it. */
export class BlockVersionError extends BlockError {}

/** Returns the result of `read`. If it throws, throws a BlockError with the name of the block and `what` was read. */
export function withBlockErrors<T>(name: string, what: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof BlockError) throw error
    throw new BlockError(name, `${what}: ${error instanceof Error ? error.message : String(error)}`, error)
  }
}

/**
 * Default maximum size of the blocks that `encodeBlocks` returns. A block of this size can be sent in one piece, and a
 * day of a metric takes only a few blocks.
 */
export const BLOCK_BYTES_MAX = 1 << 20
/** Maximum number of rows of a block. It limits the memory for decoding a block, even if its bytes are damaged. */
export const BLOCK_ROWS_MAX = 1 << 20
/** Maximum size of a decompressed block. If a block says that it is larger, it is damaged. */
export const INFLATED_BYTES_MAX = 1 << 26

/** Version of the block format. Version 1 is refused: it had two encodings of running totals that look the same. */
export const BLOCK_VERSION = 2
export const SCALARS_MAGIC = [0x47, 0x51, 0x42] as const // GQB
export const SKETCHES_MAGIC = [0x47, 0x51, 0x53] as const // GQS
/** Flag of a string of a block whose body is compressed. */
export const FLAG_DEFLATED = 1
/** Size of the CRC-32 at the end of a string of a block. */
export const CHECKSUM_BYTES = 4
