/**
 * Maps values to the bins of a quantile sketch, as in "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
 * Relative-Error Guarantees", Masson, Rim, Lee, VLDB 2019. A bin holds the values between two powers of gamma, and one
 * value stands for all of them: it differs from each by at most `RELATIVE_ERROR`.
 *
 * Each bin has an integer key, and keys ascend with the values. The bin of zero has key 0. A positive value v has the
 * key ceil(log_gamma(v)) plus a constant that makes it positive. The key of -v is the negated key of v.
 */

/**
 * Maximum relative error of a quantile. It holds for all normal doubles; subnormal values (below 2.23e-308) may have a
 * larger error.
 */
export const RELATIVE_ERROR = 0.01

const GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
const LN_GAMMA = Math.log(GAMMA)
/** Number of bins between a value and e times this value. */
const BINS_PER_LN = 1 / LN_GAMMA
/**
 * The value that stands for a bin is the bin's upper edge times 2 / (1 + gamma): its relative distance to both edges is
 * the same. This is the logarithm of the factor.
 */
const LN_CENTER = Math.log(2 / (1 + GAMMA))

/** Key of the bin whose largest value is 1. */
export const BIN_KEY_OF_ONE = 1 - Math.ceil(Math.log(Number.MIN_VALUE) * BINS_PER_LN)
/** All keys are in [-BIN_KEY_MAX, BIN_KEY_MAX]. */
export const BIN_KEY_MAX = BIN_KEY_OF_ONE + Math.ceil(Math.log(Number.MAX_VALUE) * BINS_PER_LN)

/** Returns the key of a value's bin. Throws a RangeError for NaN and infinities. */
export function binKeyOf(value: number): number {
  if (value > 0 && value <= Number.MAX_VALUE) return BIN_KEY_OF_ONE + Math.ceil(Math.log(value) * BINS_PER_LN)
  if (value < 0 && value >= -Number.MAX_VALUE) return -BIN_KEY_OF_ONE - Math.ceil(Math.log(-value) * BINS_PER_LN)
  if (value === 0) return 0
  throw new RangeError(`not a finite number: ${value}`)
}

/** Returns the value that stands for all values of a bin. */
export function valueOfBin(key: number): number {
  if (key === 0) return 0
  return Math.sign(key) * Math.exp((Math.abs(key) - BIN_KEY_OF_ONE) * LN_GAMMA + LN_CENTER)
}
