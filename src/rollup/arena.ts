/**
 * Memory for the columns of blocks that are decoded, merged and dropped. An arena reuses a few large buffers (slabs),
 * so that the garbage collector does not have to free many small ones. After `giveArena`, nothing may read columns in
 * the arena: the next user overwrites them.
 */

const SLAB_BYTES = 1 << 20
/** Number of free arenas that are kept, and of slabs that each of them keeps. */
const SLABS_KEPT_MAX = 4
const ARENAS_KEPT_MAX = 2

const free: Arena[] = []

export function takeArena(): Arena {
  return free.pop() ?? new Arena()
}

export function giveArena(arena: Arena): void {
  arena.reset()
  if (free.length < ARENAS_KEPT_MAX) free.push(arena)
}

export class Arena {
  readonly #slabs: Uint8Array<ArrayBuffer>[] = []
  #slab = 0
  #used = 0

  /** The slab of the last `take`. */
  get buffer(): ArrayBuffer {
    return this.#slabs[this.#slab]!.buffer
  }

  /**
   * Reserves this many bytes, aligned and filled with zeros, and returns their offset in `buffer`. Returns -1 if they
   * do not fit into a slab.
   */
  take(bytes: number): number {
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

  /** Frees all memory for reuse. All columns in the arena are invalid afterwards. */
  reset(): void {
    this.#slab = 0
    this.#used = 0
    if (this.#slabs.length > SLABS_KEPT_MAX) this.#slabs.length = SLABS_KEPT_MAX
  }
}
