import { addCounts } from '../model/count.ts'
import type { BinColumns } from './bins.ts'
import { BIN_KEY_MAX, BIN_KEY_OF_ONE } from './quantile-precision.ts'
import type { ByteWriter } from './varint.ts'

/**
 * Adds up the bins of one quantile sketch and encodes them. It has an array with a weight for every possible key, and
 * bitmaps of the keys in use, so that bins are found in order without sorting. Code that makes many sketches one after
 * the other uses one accumulator for all of them instead of an object for each. Invariant: after `encode`, all weights
 * and all bits are 0 again.
 *
 * Adding a bin takes a few nanoseconds. To find the bins of a sketch, encoding it takes at most 0.2 µs, whatever the
 * values are.
 */
export class BinAccumulator {
  /** The weight of key k is at index k + BIN_KEY_MAX. */
  readonly #weights = new Float64Array(2 * BIN_KEY_MAX + 1)
  /**
   * `#usedKeys` has one bit for each weight, set if the weight is not 0. `#usedWords` has one bit for each word of
   * `#usedKeys`, set if the word is not 0.
   */
  readonly #usedKeys = new Uint32Array(((2 * BIN_KEY_MAX) >>> 5) + 1)
  readonly #usedWords = new Uint32Array((this.#usedKeys.length >>> 5) + 1)
  #binCount = 0
  /** Index in `#usedWords`. All words before it are 0. */
  #usedWordsStart = 0

  get binCount(): number {
    return this.#binCount
  }

  add(key: number, weight: number): void {
    const index = key + BIN_KEY_MAX
    const before = this.#weights[index]!
    if (before === 0) this.#markUsed(index)
    this.#weights[index] = addCounts(before, weight)
  }

  addColumns({ keys, weights, length }: BinColumns): void {
    for (let i = 0; i < length; i++) {
      const index = keys[i]! + BIN_KEY_MAX
      const before = this.#weights[index]!
      if (before === 0) this.#markUsed(index)
      this.#weights[index] = addCounts(before, weights[i]!)
    }
  }

  /**
   * Appends the bins in the encoding of `bins.ts` and empties the accumulator, even if it throws. Throws a RangeError
   * if a weight is not an integer.
   */
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
    this.#usedKeys.fill(0)
    this.#usedWords.fill(0)
    this.#binCount = 0
  }

  #encode(writer: ByteWriter): void {
    const weights = this.#weights
    const used = this.#usedKeys
    const usedWords = this.#usedWords
    writer.varint(this.#binCount)
    let left = this.#binCount
    this.#binCount = 0
    let previous = -1
    for (let i = this.#usedWordsStart; left > 0; i++) {
      let words = usedWords[i]!
      if (words === 0) continue
      usedWords[i] = 0
      while (words !== 0) {
        const word = (i << 5) + 31 - Math.clz32(words & -words)
        words &= words - 1
        let bits = used[word]!
        used[word] = 0
        while (bits !== 0) {
          const index = (word << 5) + 31 - Math.clz32(bits & -bits)
          bits &= bits - 1
          if (previous < 0) writer.zigzag(index - BIN_KEY_MAX - BIN_KEY_OF_ONE)
          else writer.varint(index - previous)
          writer.varint(weights[index]!)
          weights[index] = 0
          previous = index
          left--
        }
      }
    }
  }

  #markUsed(index: number): void {
    const word = index >>> 5
    const wordOfWord = word >>> 5
    if (this.#binCount === 0 || wordOfWord < this.#usedWordsStart) this.#usedWordsStart = wordOfWord
    this.#usedKeys[word]! |= 1 << (index & 31)
    this.#usedWords[wordOfWord]! |= 1 << (word & 31)
    this.#binCount++
  }
}

/**
 * The only accumulator of this thread, because it takes more than a megabyte. The bins of a sketch must be encoded
 * before those of the next sketch are added.
 */
export const binAccumulator = new BinAccumulator()
