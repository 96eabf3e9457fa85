/**
 * Memory for the columns of blocks that are decoded only to be merged. An arena has a few large buffers (slabs) that
 * are used again and again, so that the garbage collector does not have to free many small buffers. After
 * `releaseArena`, no column in the arena may be read: its memory is used again for other columns.
 */

const SLAB_BYTES = 1 << 20
/** Maximum number of slabs that a released arena keeps, and of released arenas that are kept for reuse. */
const SLABS_KEPT_MAX = 4
const ARENAS_KEPT_MAX = 2

const free: Arena[] = []

export function acquireArena(): Arena {
  return free.pop() ?? new Arena()
}

export function releaseArena(arena: Arena): void {
  arena.reset()
  if (free.length < ARENAS_KEPT_MAX) free.push(arena)
}

export class Arena {
  readonly #slabs: Uint8Array<ArrayBuffer>[] = []
  #slab = 0
  #used = 0

  /** The slab in which the last bytes were reserved. */
  get buffer(): ArrayBuffer {
    return this.#slabs[this.#slab]!.buffer
  }

  /**
   * Reserves bytes, filled with zeros, and returns their offset in `buffer`, a multiple of 8. Returns -1 if there are
   * more bytes than a slab has.
   */
  reserve(bytes: number): number {
    if (bytes > SLAB_BYTES) return -1
    if (this.#slabs.length > 0 && this.#used + bytes > SLAB_BYTES) {
      this.#slab++
      this.#used = 0
    }
    if (this.#slab === this.#slabs.length) this.#slabs.push(new Uint8Array(SLAB_BYTES))
    const at = this.#used
    this.#used = (at + bytes + 7) & ~7
    this.#slabs[this.#slab]!.fill(0, at, at + bytes)
    return at
  }

  /** Makes all memory of the arena available again. All columns in the arena are invalid afterwards. */
  reset(): void {
    this.#slab = 0
    this.#used = 0
    if (this.#slabs.length > SLABS_KEPT_MAX) this.#slabs.length = SLABS_KEPT_MAX
  }
}
