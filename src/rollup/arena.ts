/**
 * Memory for the columns of blocks that are decoded only to be merged. An arena has a few large buffers (slabs) that
 * are used again and again, so that the garbage collector does not have to free many small buffers. After
 * `releaseArena`, no column in the arena may be read: its memory is used again for other columns.
 */

const SLAB_BYTES = 1 << 20
/** Maximum number of slabs that a released arena keeps. */
const SLABS_KEPT_MAX = 4
/** Maximum number of released arenas that are kept for reuse. */
const ARENAS_KEPT_MAX = 2

const freeArenas: Arena[] = []

export function acquireArena(): Arena {
  return freeArenas.pop() ?? new Arena()
}

export function releaseArena(arena: Arena): void {
  arena.reset()
  if (freeArenas.length < ARENAS_KEPT_MAX) freeArenas.push(arena)
}

export class Arena {
  readonly #slabs: Uint8Array<ArrayBuffer>[] = []
  /** Index of the slab in which bytes are reserved. Its first `#usedBytes` bytes are in use. */
  #slabIndex = 0
  #usedBytes = 0

  /** The memory of the slab in which the last bytes were reserved. `reserve` must have reserved bytes before. */
  get buffer(): ArrayBuffer {
    return this.#slabs[this.#slabIndex]!.buffer
  }

  /**
   * Reserves bytes, filled with zeros, and returns their offset in `buffer`, a multiple of 8. Returns -1 if a slab is
   * too small for them.
   */
  reserve(byteCount: number): number {
    if (byteCount > SLAB_BYTES) return -1
    if (this.#slabs.length > 0 && this.#usedBytes + byteCount > SLAB_BYTES) {
      this.#slabIndex++
      this.#usedBytes = 0
    }
    if (this.#slabIndex === this.#slabs.length) this.#slabs.push(new Uint8Array(SLAB_BYTES))
    const offset = this.#usedBytes
    this.#usedBytes = (offset + byteCount + 7) & ~7
    this.#slabs[this.#slabIndex]!.fill(0, offset, offset + byteCount)
    return offset
  }

  /** Makes all memory of the arena available again. All columns in the arena are invalid afterwards. */
  reset(): void {
    this.#slabIndex = 0
    this.#usedBytes = 0
    if (this.#slabs.length > SLABS_KEPT_MAX) this.#slabs.length = SLABS_KEPT_MAX
  }
}
