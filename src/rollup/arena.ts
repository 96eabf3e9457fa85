/**
 * Memory for the columns of blocks that are decoded, merged and dropped: large buffers (slabs) that are used again,
 * instead of many small ones for the garbage collector. Whoever takes an arena gives it back when nothing reads its
 * columns any more; the next user overwrites them.
 */

const SLAB_BYTES = 1 << 20
/** Slabs that an arena keeps for its next user, and arenas that are kept. */
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

  /** The slab that holds what was taken last. */
  get buffer(): ArrayBuffer {
    return this.#slabs[this.#slab]!.buffer
  }

  /** Where so many bytes lie in `buffer`, aligned and filled with zeros; -1 if they are too many for a slab. */
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

  /** Voids all columns in the arena. */
  reset(): void {
    this.#slab = 0
    this.#used = 0
    if (this.#slabs.length > SLABS_KEPT_MAX) this.#slabs.length = SLABS_KEPT_MAX
  }
}
