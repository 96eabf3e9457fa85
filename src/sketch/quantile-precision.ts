/**
 * The bins of DDSketch: "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", Masson,
 * Rim, Lee, VLDB 2019. A positive value v falls into bin ceil(log_gamma(v)), so that one representative per bin is
 * within `RELATIVE_ERROR` of every value in it.
 *
 * One ordered key space covers all doubles: zero is key 0, positive values have positive keys (shifted so that the
 * smallest subnormal is above 0), negative values the mirrored ones; ascending keys are ascending values.
 */

/**
 * Maximum relative error of a quantile. It holds for all normal doubles; subnormal values (below 2.3e-308) may have a
 * larger error.
 */
export const RELATIVE_ERROR = 0.01

const GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
const LN_GAMMA = Math.log(GAMMA)
const BINS_PER_LN = 1 / LN_GAMMA
/**
 * ln(2 / (1 + gamma)). Added to the logarithm of a bin's upper edge, it gives the bin's representative: the point with
 * the same relative distance to both edges.
 */
const LN_CENTER = Math.log(2 / (1 + GAMMA))

/** Key of the bin whose upper edge is 1. */
export const KEY_OF_ONE = 1 - Math.ceil(Math.log(Number.MIN_VALUE) * BINS_PER_LN)
/** All keys are in [-KEY_MAX, KEY_MAX]. */
export const KEY_MAX = KEY_OF_ONE + Math.ceil(Math.log(Number.MAX_VALUE) * BINS_PER_LN)

/** Returns the key of a value's bin. Throws a RangeError for NaN and infinities. */
export function binOf(value: number): number {
  if (value > 0 && value <= Number.MAX_VALUE) return KEY_OF_ONE + Math.ceil(Math.log(value) * BINS_PER_LN)
  if (value < 0 && value >= -Number.MAX_VALUE) return -KEY_OF_ONE - Math.ceil(Math.log(-value) * BINS_PER_LN)
  if (value === 0) return 0
  throw new RangeError(`not a finite number: ${value}`)
}

export function valueOfBin(key: number): number {
  if (key === 0) return 0
  return Math.sign(key) * Math.exp((Math.abs(key) - KEY_OF_ONE) * LN_GAMMA + LN_CENTER)
}
