/**
 * MurmurHash64A (Austin Appleby's MurmurHash2, 64-bit variant; public domain) with the seed that Redis uses for
 * HyperLogLog. A 64-bit integer is represented by two 32-bit halves, because each operation on bigints allocates
 * memory.
 */

const SEED = 0xadc83b19 | 0
// The multiplier 0xc6a4a7935bd1e995. Its low half is also split into 16-bit parts, to compute the carry of a 32 x 32
// bit product.
const MULTIPLIER_HIGH = 0xc6a4a793 | 0
const MULTIPLIER_LOW = 0x5bd1e995
const MULTIPLIER_LOW_0 = MULTIPLIER_LOW & 0xffff
const MULTIPLIER_LOW_1 = MULTIPLIER_LOW >>> 16

/** Returns the high half of (high, low) times the multiplier. The low half is Math.imul(low, MULTIPLIER_LOW). */
function productHigh(high: number, low: number): number {
  const low0 = low & 0xffff
  const low1 = low >>> 16
  const carry = (Math.imul(low0, MULTIPLIER_LOW_0) >>> 16) + (Math.imul(low1, MULTIPLIER_LOW_0) >>> 0)
  const middle = (Math.imul(low0, MULTIPLIER_LOW_1) >>> 0) + (carry & 0xffff)
  return (
    (Math.imul(low1, MULTIPLIER_LOW_1) +
      (carry >>> 16) +
      (middle >>> 16) +
      Math.imul(low, MULTIPLIER_HIGH) +
      Math.imul(high, MULTIPLIER_LOW)) |
    0
  )
}

/** Hashes the first `length` bytes. Writes the low half to into[0] and the high half to into[1]. */
export function murmurHash64(bytes: Uint8Array, length: number, into: Int32Array): void {
  let high = productHigh(0, length)
  let low = Math.imul(length, MULTIPLIER_LOW) ^ SEED
  const tail = length & 7
  const end = length - tail
  let i = 0
  for (; i < end; i += 8) {
    let kLow = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    let kHigh = bytes[i + 4]! | (bytes[i + 5]! << 8) | (bytes[i + 6]! << 16) | (bytes[i + 7]! << 24)
    kHigh = productHigh(kHigh, kLow)
    kLow = Math.imul(kLow, MULTIPLIER_LOW)
    kLow ^= kHigh >>> 15
    high ^= productHigh(kHigh, kLow)
    low ^= Math.imul(kLow, MULTIPLIER_LOW)
    high = productHigh(high, low)
    low = Math.imul(low, MULTIPLIER_LOW)
  }
  if (tail > 0) {
    for (let t = 0; t < tail; t++) {
      if (t < 4) low ^= bytes[i + t]! << (8 * t)
      else high ^= bytes[i + t]! << (8 * (t - 4))
    }
    high = productHigh(high, low)
    low = Math.imul(low, MULTIPLIER_LOW)
  }
  low ^= high >>> 15
  high = productHigh(high, low)
  low = Math.imul(low, MULTIPLIER_LOW)
  into[0] = low ^ (high >>> 15)
  into[1] = high
}
