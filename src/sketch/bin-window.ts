import { addCounts } from '../model/count.ts'
import { KEY_MAX, KEY_OF_ONE } from './bin-keys.ts'
import type { BinColumns } from './bins.ts'
import type { ByteWriter } from './varint.ts'

/**
 * Adds up the bins of one sketch at a time: a weight for every key there is, and two levels of bitmaps that say which
 * keys are in use, so that the bins are found in order without sorting. It replaces an object per sketch where sketches
 * are made one after the other. The empty window has no weight and no bit set; `encode` leaves it empty.
 *
 * A bin costs a few nanoseconds and a sketch at most 0.2 µs more, whatever the magnitudes of its values.
 */
export class BinWindow {
  /** The weight of key k is at k + KEY_MAX. */
  readonly #weights = new Float64Array(2 * KEY_MAX + 1)
  /** One bit for each weight that is not 0, and one bit for each word of these bits that is not 0. */
  readonly #used = new Uint32Array(((2 * KEY_MAX) >>> 5) + 1)
  readonly #usedWords = new Uint32Array((this.#used.length >>> 5) + 1)
  #binCount = 0
  /** No word of `#usedWords` before this one has a bit. */
  #firstGroup = 0

  get binCount(): number {
    return this.#binCount
  }

  add(key: number, weight: number): void {
    const place = key + KEY_MAX
    const before = this.#weights[place]!
    if (before === 0) this.#use(place)
    this.#weights[place] = addCounts(before, weight)
  }

  addColumns({ keys, weights, length }: BinColumns): void {
    for (let i = 0; i < length; i++) {
      const place = keys[i]! + KEY_MAX
      const before = this.#weights[place]!
      if (before === 0) this.#use(place)
      this.#weights[place] = addCounts(before, weights[i]!)
    }
  }

  /** Appends the bins as `bins.ts` describes, and empties the window. A weight that is no integer is a RangeError. */
  encode(writer: ByteWriter): void {
    try {
      this.#encode(writer)
    } catch (cause) {
      this.clear()
      throw cause
    }
  }

  clear(): void {
    this.#weights.fill(0)
    this.#used.fill(0)
    this.#usedWords.fill(0)
    this.#binCount = 0
  }

  #encode(writer: ByteWriter): void {
    const weights = this.#weights
    const used = this.#used
    const usedWords = this.#usedWords
    writer.varint(this.#binCount)
    let left = this.#binCount
    this.#binCount = 0
    let previous = -1
    for (let group = this.#firstGroup; left > 0; group++) {
      let words = usedWords[group]!
      if (words === 0) continue
      usedWords[group] = 0
      while (words !== 0) {
        const word = (group << 5) + 31 - Math.clz32(words & -words)
        words &= words - 1
        let bits = used[word]!
        used[word] = 0
        while (bits !== 0) {
          const place = (word << 5) + 31 - Math.clz32(bits & -bits)
          bits &= bits - 1
          if (previous < 0) writer.zigzag(place - KEY_MAX - KEY_OF_ONE)
          else writer.varint(place - previous)
          writer.varint(weights[place]!)
          weights[place] = 0
          previous = place
          left--
        }
      }
    }
  }

  #use(place: number): void {
    const word = place >>> 5
    const group = word >>> 5
    if (this.#binCount === 0 || group < this.#firstGroup) this.#firstGroup = group
    this.#used[word]! |= 1 << (place & 31)
    this.#usedWords[group]! |= 1 << (word & 31)
    this.#binCount++
  }
}

/**
 * The window of this thread: it is large, and sketches are made one after the other. Whoever adds bins encodes them
 * before it returns.
 */
export const binWindow = new BinWindow()
