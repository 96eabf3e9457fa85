/** Bytes of the blocks that are read and opened at a time. Opening them takes a few milliseconds. */
const BATCH_BYTES_MAX = 1 << 20
/**
 * A block counts with at least this size. A compressed block of a timeline has up to 128 KiB after decompression, so at
 * most 16 of them are opened at a time. The blocks of an inbox are small and not compressed.
 */
export const TIMELINE_BLOCK_BYTES_MIN = BATCH_BYTES_MAX / 16
export const INBOX_BLOCK_BYTES_MIN = BATCH_BYTES_MAX / 64

/** Divides blocks into batches of about `BATCH_BYTES_MAX`. The order stays. A batch has at least one block. */
export function batchesOf<T>(blocks: readonly T[], bytesOf: (block: T) => number): readonly (readonly T[])[] {
  const batches: T[][] = []
  let batchBytes = Number.POSITIVE_INFINITY
  for (const block of blocks) {
    const bytes = bytesOf(block)
    batchBytes += bytes
    if (batchBytes > BATCH_BYTES_MAX) {
      batches.push([])
      batchBytes = bytes
    }
    batches[batches.length - 1]!.push(block)
  }
  return batches
}
