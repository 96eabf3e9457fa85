import { COUNT_MAX } from '../../model/count.ts'
import { type Rejection, reject } from '../../model/point.ts'

/** Checks of the numbers of histograms, for every protocol. Each returns why a number is invalid, if one is. */

/** A sum, a minimum, a maximum or a value. */
export function checkFinite(value: number): Rejection | undefined {
  return Number.isFinite(value) ? undefined : reject('invalid_value', `the value must be finite, not ${value}`)
}

/** Counts of bins or buckets, or of a whole histogram. */
export function checkCounts(counts: readonly number[]): Rejection | undefined {
  return counts.every(isCount)
    ? undefined
    : reject('invalid_value', 'counts of a histogram must be whole numbers from 0 to 2^53')
}

/** Upper limits of buckets, without that of the last one, which is `+Inf`. */
export function checkBounds(bounds: readonly number[]): Rejection | undefined {
  return bounds.every((bound, i) => Number.isFinite(bound) && (i === 0 || bound > bounds[i - 1]!))
    ? undefined
    : reject('invalid_value', 'bounds of a histogram must be finite and in ascending order')
}

function isCount(count: number): boolean {
  return Number.isInteger(count) && count >= 0 && count <= COUNT_MAX
}
