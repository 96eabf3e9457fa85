import type { Arena } from './arena.ts'

/**
 * Allocates and counts the memory of one decoded block. The columns of small blocks share buffers, because a separate
 * typed array has an overhead of some 400 bytes: two V8 objects, a backing store and the allocator's own data. All of
 * this is counted, so that a cache with a limit in bytes limits the memory of the process.
 */

/** Memory of a view of a buffer, and of an empty buffer. Measured with Node 20 to 24. */
export const VIEW_BYTES = 96
export const BUFFER_BYTES = 320

/** A column of at least this size has its own buffer. */
const OWN_BUFFER_BYTES = 2_048
const CHUNK_BYTES_MIN = 256
const CHUNK_BYTES_MAX = 4_096
/** Bytes per row of the columns that a query usually reads: series, buckets, counts and sums. */
const BYTES_PER_ROW = 40

export class BlockMemory {
  /** Called after each increase, with the number of bytes added. */
  onGrowth: ((bytes: number) => void) | undefined
  readonly #arena: Arena | undefined
  #bytes = 0
  #chunkBytes = CHUNK_BYTES_MIN
  #chunk: ArrayBuffer | undefined
  #used = 0

  /** If an arena is given, the columns are allocated in it and not counted. */
  constructor(arena?: Arena) {
    this.#arena = arena
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Counts memory that was allocated elsewhere. */
  count(bytes: number): void {
    this.#bytes += bytes
    this.onGrowth?.(bytes)
  }

  /** Counts a sketch string that `sections` sections share. */
  holdSketches(bytes: number, sections: number): void {
    this.count(bytes + BUFFER_BYTES + (sections + 1) * VIEW_BYTES)
  }

  /** Sets the size of the shared buffers to fit a block of this many rows. */
  expect(rows: number): void {
    this.#chunkBytes = Math.min(CHUNK_BYTES_MAX, Math.max(CHUNK_BYTES_MIN, rows * BYTES_PER_ROW))
  }

  numbers(length: number): Float64Array<ArrayBuffer> {
    const at = this.#take(length * 8)
    return at < 0 ? new Float64Array(length) : new Float64Array(this.#chunk!, at, length)
  }

  ids(length: number): Uint32Array<ArrayBuffer> {
    const at = this.#take(length * 4)
    return at < 0 ? new Uint32Array(length) : new Uint32Array(this.#chunk!, at, length)
  }

  positions(length: number): Int32Array<ArrayBuffer> {
    const at = this.#take(length * 4)
    return at < 0 ? new Int32Array(length) : new Int32Array(this.#chunk!, at, length)
  }

  octets(length: number): Uint8Array<ArrayBuffer> {
    const at = this.#take(length)
    return at < 0 ? new Uint8Array(length) : new Uint8Array(this.#chunk!, at, length)
  }

  /** Reserves bytes in the current chunk and returns their offset. Returns -1 if the column needs its own buffer. */
  #take(bytes: number): number {
    if (this.#arena !== undefined) {
      const at = this.#arena.take(bytes)
      this.#chunk = this.#arena.buffer
      return at
    }
    if (bytes >= OWN_BUFFER_BYTES) {
      this.count(bytes + BUFFER_BYTES + VIEW_BYTES)
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
    this.count(grown)
    return at
  }
}
