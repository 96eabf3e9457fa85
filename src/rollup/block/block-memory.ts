import type { Arena } from '../arena.ts'

/**
 * Allocates the columns of a decoded block and counts the memory of the block. Small columns share a buffer (chunk),
 * because a typed array with its own buffer has an overhead of some 400 bytes. The overhead is counted too, so that a
 * cache with a limit in bytes limits the memory of the process.
 */

/** Memory of a typed array without its buffer, and of an empty buffer. Measured with Node 20 to 24. */
export const VIEW_BYTES = 96
export const BUFFER_BYTES = 320

/** A column of this size or larger gets its own buffer. */
const OWN_BUFFER_BYTES = 2_048
const CHUNK_BYTES_MIN = 256
const CHUNK_BYTES_MAX = 4_096
/** Bytes per row of the columns that a query usually reads: series, buckets, counts and sums. */
const BYTES_PER_ROW = 40

export class BlockMemory {
  /** Called after memory was counted, with the number of bytes. */
  onGrowth: ((bytes: number) => void) | undefined
  readonly #arena: Arena | undefined
  #bytes = 0
  #chunkBytes = CHUNK_BYTES_MIN
  #chunk: ArrayBuffer | undefined
  #used = 0

  /** If an arena is given, columns are allocated in it, and they are not counted. */
  constructor(arena?: Arena) {
    this.#arena = arena
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Counts memory that the caller has allocated. */
  countBytes(bytes: number): void {
    this.#bytes += bytes
    this.onGrowth?.(bytes)
  }

  /**
   * Counts the memory of the sketch string and of its views: one of the whole string, and one for each of the
   * `sections` sections with bins.
   */
  countSketches(bytes: number, sections: number): void {
    this.countBytes(bytes + BUFFER_BYTES + (sections + 1) * VIEW_BYTES)
  }

  /** Sets the size of later chunks. A block with few rows gets small chunks, so that little memory stays unused. */
  sizeChunksFor(rows: number): void {
    this.#chunkBytes = Math.min(CHUNK_BYTES_MAX, Math.max(CHUNK_BYTES_MIN, rows * BYTES_PER_ROW))
  }

  numbers(length: number): Float64Array<ArrayBuffer> {
    const at = this.#reserve(length * 8)
    return at < 0 ? new Float64Array(length) : new Float64Array(this.#chunk!, at, length)
  }

  ids(length: number): Uint32Array<ArrayBuffer> {
    const at = this.#reserve(length * 4)
    return at < 0 ? new Uint32Array(length) : new Uint32Array(this.#chunk!, at, length)
  }

  positions(length: number): Int32Array<ArrayBuffer> {
    const at = this.#reserve(length * 4)
    return at < 0 ? new Int32Array(length) : new Int32Array(this.#chunk!, at, length)
  }

  octets(length: number): Uint8Array<ArrayBuffer> {
    const at = this.#reserve(length)
    return at < 0 ? new Uint8Array(length) : new Uint8Array(this.#chunk!, at, length)
  }

  /** Reserves bytes in `#chunk` and returns their offset. Returns -1 if the column needs its own buffer. */
  #reserve(bytes: number): number {
    if (this.#arena !== undefined) {
      const at = this.#arena.reserve(bytes)
      this.#chunk = this.#arena.buffer
      return at
    }
    if (bytes >= OWN_BUFFER_BYTES) {
      this.countBytes(bytes + BUFFER_BYTES + VIEW_BYTES)
      return -1
    }
    let grown = VIEW_BYTES
    if (this.#chunk === undefined || this.#used + bytes > this.#chunk.byteLength) {
      this.#chunk = new ArrayBuffer(Math.max(this.#chunkBytes, bytes))
      this.#used = 0
      grown += this.#chunk.byteLength + BUFFER_BYTES
    }
    const at = this.#used
    this.#used = (at + bytes + 7) & ~7
    this.countBytes(grown)
    return at
  }
}
