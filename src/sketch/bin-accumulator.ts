import { COUNT_MAX } from '../model/count.ts'
import { BinColumns, binCursor, encodeBins, readFirstBin, readNextBin } from './bins.ts'
import { BIN_KEY_MAX } from './quantile-precision.ts'
import type { ByteWriter } from './varint.ts'

/**
 * Adds up the bins of one quantile sketch. It has an array with a weight for every possible key, and bitmaps of the
 * keys in use, so that bins are found in order without sorting. Code that makes many sketches one after the other uses
 * one accumulator for all of them instead of an object for each. Invariant: after `moveTo` and `encode`, all weights
 * and all bits are 0 again.
 *
 * Adding a bin takes a few nanoseconds. Finding the first bin and skipping unused keys takes about 0.2 µs per sketch.
 *
 * Weights are limited to `COUNT_MAX` only when they are moved out: a sum that has passed it never falls below it again.
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
    const weightBefore = this.#weights[index]!
    if (weightBefore === 0) this.#markUsed(index)
    this.#weights[index] = weightBefore + weight
  }

  /**
   * Adds the bins of an encoded sketch (`bins.ts`) and returns their number. This process must have encoded the sketch,
   * or `decodeBins` accepted it. This method has its own loop, because folds and queries add millions of bins, and
   * decoding them into columns first takes more than twice the time.
   */
  addEncoded(bytes: Uint8Array, start: number): number {
    const weights = this.#weights
    const count = readFirstBin(bytes, start)
    let { weight, offset } = binCursor
    let index = binCursor.keyOrDelta + BIN_KEY_MAX
    for (let i = 0; i < count; ) {
      const weightBefore = weights[index]!
      if (weightBefore === 0) this.#markUsed(index)
      weights[index] = weightBefore + weight
      if (++i === count) break
      const delta = bytes[offset]!
      weight = bytes[offset + 1]!
      if ((delta | weight) < 0x80) {
        index += delta
        offset += 2
      } else {
        readNextBin(bytes, offset)
        index += binCursor.keyOrDelta
        weight = binCursor.weight
        offset = binCursor.offset
      }
    }
    return count
  }

  /**
   * Appends the bins in the encoding of `bins.ts` and empties the accumulator, even if it throws. Throws a RangeError
   * if a weight is not an integer; the writer then has a part of the encoding.
   */
  encode(writer: ByteWriter): void {
    this.moveTo(encodedBins)
    encodeBins(encodedBins, writer)
  }

  /** Removes all bins. Takes time in proportion to the number of possible keys. */
  clear(): void {
    this.#weights.fill(0)
    this.#usedKeys.fill(0)
    this.#usedWords.fill(0)
    this.#binCount = 0
  }

  /**
   * Replaces the contents of the columns by the bins, in ascending order of keys, and empties the accumulator. Throws
   * if there is no memory for the columns; the accumulator is then empty too, and the bins are lost.
   */
  moveTo(columns: BinColumns): void {
    const count = this.#binCount
    try {
      columns.reserve(count)
    } catch (cause) {
      this.clear()
      throw cause
    }
    this.#binCount = 0
    columns.length = count
    const { keys, weights } = columns
    const usedWords = this.#usedWords
    let n = 0
    for (let i = this.#usedWordsStart; n < count; i++) {
      let usedWordBits = usedWords[i]!
      if (usedWordBits === 0) continue
      usedWords[i] = 0
      while (usedWordBits !== 0) {
        const word = (i << 5) + 31 - Math.clz32(usedWordBits & -usedWordBits)
        usedWordBits &= usedWordBits - 1
        let usedKeyBits = this.#usedKeys[word]!
        this.#usedKeys[word] = 0
        while (usedKeyBits !== 0) {
          const index = (word << 5) + 31 - Math.clz32(usedKeyBits & -usedKeyBits)
          usedKeyBits &= usedKeyBits - 1
          const weight = this.#weights[index]!
          this.#weights[index] = 0
          keys[n] = index - BIN_KEY_MAX
          weights[n++] = weight < COUNT_MAX ? weight : COUNT_MAX
        }
      }
    }
  }

  #markUsed(index: number): void {
    const word = index >>> 5
    const wordOfUsedWords = word >>> 5
    if (this.#binCount === 0 || wordOfUsedWords < this.#usedWordsStart) this.#usedWordsStart = wordOfUsedWords
    this.#usedKeys[word]! |= 1 << (index & 31)
    this.#usedWords[wordOfUsedWords]! |= 1 << (word & 31)
    this.#binCount++
  }
}

/** Scratch columns of `encode`. */
const encodedBins = new BinColumns()

/**
 * The accumulator that all code of this thread shares, because it takes more than a megabyte. The bins of a sketch must
 * be moved out before those of the next sketch are added.
 */
export const binAccumulator = new BinAccumulator()
