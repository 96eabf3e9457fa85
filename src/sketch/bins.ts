import { KEY_MAX, KEY_OF_ONE } from './quantile-sketch.ts'
import type { ByteReader, ByteWriter } from './varint.ts'

/**
 * Bins of sketches as bytes: the number of bins; the first key relative to the key of 1, zigzag; its weight; then per
 * bin
 * the distance to the key before (1 or more) and the weight, all varints. Neighbouring bins are a few keys apart and
 * most
 * weights are small, so a bin takes two bytes and a bit.
 */

export type BinSource = {
  readonly binCount: number
  forEachBin(visit: (key: number, weight: number) => void): void
}

/** Bins of many sketches one after the other, as columns; who fills it remembers where each sketch begins. */
export class BinColumns {
  keys: Int32Array
  weights: Float64Array
  length = 0

  constructor(capacity = 256) {
    this.keys = new Int32Array(capacity)
    this.weights = new Float64Array(capacity)
  }

  /** Makes room for that many more bins; may replace both arrays. */
  reserve(more: number): void {
    const needed = this.length + more
    if (needed <= this.keys.length) return
    const capacity = Math.max(needed, this.keys.length * 2)
    const keys = new Int32Array(capacity)
    keys.set(this.keys.subarray(0, this.length))
    const weights = new Float64Array(capacity)
    weights.set(this.weights.subarray(0, this.length))
    this.keys = keys
    this.weights = weights
  }

  push(key: number, weight: number): void {
    this.reserve(1)
    this.keys[this.length] = key
    this.weights[this.length++] = weight
  }
}

export function encodeBins(source: BinSource, writer: ByteWriter): void {
  writer.varint(source.binCount)
  let previous: number | undefined
  source.forEachBin((key, weight) => {
    if (previous === undefined) writer.zigzag(key - KEY_OF_ONE)
    else writer.varint(key - previous)
    writer.varint(weight)
    previous = key
  })
}

/** The same bytes from bins [start, end) of columns; keys ascend. */
export function encodeBinColumns(
  keys: Int32Array,
  weights: Float64Array,
  start: number,
  end: number,
  writer: ByteWriter,
): void {
  writer.varint(end - start)
  for (let i = start; i < end; i++) {
    if (i === start) writer.zigzag(keys[i]! - KEY_OF_ONE)
    else writer.varint(keys[i]! - keys[i - 1]!)
    writer.varint(weights[i]!)
  }
}

/**
 * Appends the bins of one sketch. Bytes that are no bins (keys that do not ascend or do not exist, weights of 0, a cut)
 * are a RangeError naming the offset; `into` then keeps its length.
 */
export function decodeBins(reader: ByteReader, into: BinColumns): void {
  const startOffset = reader.offset
  const count = reader.varint()
  if (count === 0) return
  // A bin takes at least two bytes; refused before a wrong count can claim memory.
  if (count * 2 > reader.remaining) {
    throw new RangeError(`${count} bins at offset ${startOffset} pass the end at ${reader.bytes.length}`)
  }
  into.reserve(count)
  const { keys, weights, length } = into
  const bytes = reader.bytes
  let key = reader.zigzag() + KEY_OF_ONE
  const firstKey = key
  let weight = reader.varint()
  keys[length] = key
  weights[length] = weight
  let valid = weight > 0
  let offset = reader.offset
  const end = length + count
  for (let i = length + 1; i < end; i++) {
    let delta = bytes[offset]!
    weight = bytes[offset + 1]!
    if ((delta | weight) < 0x80 && offset + 1 < bytes.length) {
      offset += 2
    } else {
      reader.offset = offset
      delta = reader.varint()
      weight = reader.varint()
      offset = reader.offset
    }
    valid = valid && delta > 0 && weight > 0
    key += delta
    keys[i] = key
    weights[i] = weight
  }
  reader.offset = offset
  if (!valid || firstKey < -KEY_MAX || key > KEY_MAX)
    throw new RangeError(`not the bins of a sketch at offset ${startOffset}`)
  into.length = end
}
