import type { Arena } from '../arena.ts'

/**
 * Allocates the columns of a decoded block and counts the memory of the block. Small columns share a buffer,
 * because a typed array with its own buffer has an overhead of some 400 bytes. The overhead is counted too, so that a
 * cache with a limit in bytes limits the memory of the process.
 */

/** Heap memory of a typed array without its buffer, and of an empty buffer. Measured with Node 20 to 24. */
export const VIEW_OBJECT_BYTES = 96
export const BUFFER_OBJECT_BYTES = 320

/** A column of this size or larger gets its own buffer. */
const OWN_BUFFER_BYTES_MIN = 2_048
/** Bounds of the size of a buffer that small columns share. */
const SHARED_BUFFER_BYTES_MIN = 256
const SHARED_BUFFER_BYTES_MAX = 4_096
/** Bytes per row of the columns that a query usually reads (series, buckets, counts, sums), with one row per series. */
const QUERIED_BYTES_PER_ROW = 40

export class BlockMemory {
  /** Called with the number of added bytes after each increase of `bytes`. */
  onGrowth: ((bytes: number) => void) | undefined
  readonly #arena: Arena | undefined
  #bytes = 0
  #sharedBufferBytes = SHARED_BUFFER_BYTES_MIN
  #sharedBuffer: ArrayBuffer | undefined
  #sharedBufferUsedBytes = 0

  /**
   * If an arena is given, columns are allocated in the arena, and their memory is not counted. Only a column that is
   * larger than a slab of the arena gets its own buffer.
   */
  constructor(arena?: Arena) {
    this.#arena = arena
  }

  /** The memory counted so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** Adds memory that the caller has allocated to the count. */
  addBytes(bytes: number): void {
    this.#bytes += bytes
    this.onGrowth?.(bytes)
  }

  /**
   * Adds the memory of the sketch string and of its views to the count: one view of the whole string, and one for each
   * section with bins.
   */
  addSketchBytes(stringBytes: number, sectionCount: number): void {
    this.addBytes(stringBytes + BUFFER_OBJECT_BYTES + (sectionCount + 1) * VIEW_OBJECT_BYTES)
  }

  /** Sets the size of later shared buffers. A block with few rows gets small ones, so that little memory is unused. */
  sizeSharedBuffersFor(rowCount: number): void {
    this.#sharedBufferBytes = Math.min(
      SHARED_BUFFER_BYTES_MAX,
      Math.max(SHARED_BUFFER_BYTES_MIN, rowCount * QUERIED_BYTES_PER_ROW),
    )
  }

  allocateNumbers(length: number): Float64Array<ArrayBuffer> {
    const offset = this.#reserve(length * 8)
    return offset < 0 ? new Float64Array(length) : new Float64Array(this.#sharedBuffer!, offset, length)
  }

  allocateIds(length: number): Uint32Array<ArrayBuffer> {
    const offset = this.#reserve(length * 4)
    return offset < 0 ? new Uint32Array(length) : new Uint32Array(this.#sharedBuffer!, offset, length)
  }

  allocateOrdinals(length: number): Int32Array<ArrayBuffer> {
    const offset = this.#reserve(length * 4)
    return offset < 0 ? new Int32Array(length) : new Int32Array(this.#sharedBuffer!, offset, length)
  }

  allocateBytes(length: number): Uint8Array<ArrayBuffer> {
    const offset = this.#reserve(length)
    return offset < 0 ? new Uint8Array(length) : new Uint8Array(this.#sharedBuffer!, offset, length)
  }

  /** Reserves bytes in `#sharedBuffer` and returns their offset. Returns -1 if the column needs its own buffer. */
  #reserve(bytes: number): number {
    if (this.#arena !== undefined) {
      const offset = this.#arena.reserve(bytes)
      // A new arena has no buffer until bytes are reserved in it.
      if (offset >= 0) this.#sharedBuffer = this.#arena.buffer
      return offset
    }
    if (bytes >= OWN_BUFFER_BYTES_MIN) {
      this.addBytes(bytes + BUFFER_OBJECT_BYTES + VIEW_OBJECT_BYTES)
      return -1
    }
    let addedBytes = VIEW_OBJECT_BYTES
    if (this.#sharedBuffer === undefined || this.#sharedBufferUsedBytes + bytes > this.#sharedBuffer.byteLength) {
      this.#sharedBuffer = new ArrayBuffer(Math.max(this.#sharedBufferBytes, bytes))
      this.#sharedBufferUsedBytes = 0
      addedBytes += this.#sharedBuffer.byteLength + BUFFER_OBJECT_BYTES
    }
    const offset = this.#sharedBufferUsedBytes
    this.#sharedBufferUsedBytes = (offset + bytes + 7) & ~7
    this.addBytes(addedBytes)
    return offset
  }
}
