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
 * row of the shape `SHAPE_SINGLE`, count is 1, and sum, min and max are the same double. In a gauge, first and last are
 * this double too, and their times are equal.
 */
export const SHAPE_SINGLE = 0
/** Shape of another row whose min, max and (in a gauge) first and last are the same double: mostly of equal points. */
export const SHAPE_FLAT = 1
/** Shape of all other rows: each column stores a value for the row. */
export const SHAPE_FULL = 2
/** Marks a section whose rows have different shapes. The shape of each row follows. */
export const SHAPE_MIXED = 3

/**
 * Says that a block is damaged, missing or of an unknown version. A query that needs such a block fails, because its
 * result would be wrong without the data of the block.
 */
export class BlockError extends Error {
  /** Name of the block. */
  readonly block: string

  constructor(blockName: string, reason: string, cause?: unknown) {
    super(`block ${blockName}: ${reason}`, cause === undefined ? undefined : { cause })
    this.name = 'BlockError'
    this.block = blockName
  }
}

/** Thrown if a block has an unknown version. A newer gateway may be able to read it. */
export class BlockVersionError extends BlockError {}

/**
 * Returns the result of `read`. If `read` throws, throws a BlockError with the name of the block and the text of
 * `describe`, which says what was read. A BlockError from `read` is thrown unchanged.
 */
export function withBlockErrors<T>(blockName: string, describe: () => string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw asBlockError(blockName, describe(), error)
  }
}

/** Returns a BlockError for an error that was thrown while `what` was read; a BlockError is returned unchanged. */
export function asBlockError(blockName: string, what: string, error: unknown): BlockError {
  if (error instanceof BlockError) return error
  return new BlockError(blockName, `${what}: ${error instanceof Error ? error.message : String(error)}`, error)
}

/**
 * Default maximum size of each of the two strings of a block that `encodeBlocks` returns, before compression. A single
 * row may exceed it.
 */
export const BLOCK_BYTES_MAX = 1 << 20
/** Maximum number of rows of a block. It limits the memory that damaged bytes can make the decoder allocate. */
export const BLOCK_ROWS_MAX = 1 << 20
/** Maximum size of a string of a block before compression. A compressed string that announces more is damaged. */
export const INFLATED_BYTES_MAX = 1 << 26

/** Version of the block format. Version 1 is refused: it had two encodings of running totals that look the same. */
export const BLOCK_VERSION = 2
export const SCALARS_MAGIC = [0x47, 0x51, 0x42] as const // GQB
export const SKETCHES_MAGIC = [0x47, 0x51, 0x53] as const // GQS
/** Flag of a string of a block whose body is compressed. */
export const FLAG_DEFLATED = 1
/** Size of the CRC-32 at the end of a string of a block. */
export const CHECKSUM_BYTES = 4
