import { type Rejection, reject } from '../../model/point.ts'
import { checkCounts } from './check-numbers.ts'

/**
 * Exponential histograms of OTLP and native histograms of Prometheus. With b = 2^(2^-s), bin i of scale s contains the
 * values in (b^i, b^(i+1)]; bins of negative values are mirrored. A histogram is converted to weighted observations for
 * the sketch of a distribution.
 *
 * A bin becomes one weighted observation at its geometric middle. A known minimum or maximum replaces one observation.
 * A known sum moves the others within their bins if all are on one side of zero. The relative error of an observation
 * is at most sqrt(b) - 1 in the middle of its bin, and at most b - 1 elsewhere.
 */
export interface ExponentialHistogram {
  scale: number
  zeroCount: number
  readonly positive: Bins
  readonly negative: Bins
  /** Sum, minimum and maximum of all observations. Undefined: unknown. */
  sum: number | undefined
  min: number | undefined
  max: number | undefined
}

/** Counts of consecutive bins. The first count belongs to bin `offset`. */
export interface Bins {
  offset: number
  counts: number[]
}

/** Maximum number of bins on one side of a histogram. The SDKs of OpenTelemetry send at most 160 by default. */
export const EXPONENTIAL_BINS_MAX = 4_096

/** Accepted scales. The SDKs of OpenTelemetry use at most 20. At -10, one bin contains all doubles above 1. */
const SCALE_MIN = -10
const SCALE_MAX = 20

export function emptyHistogram(): ExponentialHistogram {
  return {
    scale: 0,
    zeroCount: 0,
    positive: { offset: 0, counts: [] },
    negative: { offset: 0, counts: [] },
    sum: undefined,
    min: undefined,
    max: undefined,
  }
}

/** The values and weights of observations, in the same order. */
export interface Observations {
  readonly values: number[]
  readonly weights: number[]
}

export function checkHistogram({ scale, zeroCount, positive, negative }: ExponentialHistogram): Rejection | undefined {
  if (!(scale >= SCALE_MIN && scale <= SCALE_MAX))
    return reject('invalid_value', `scale must be ${SCALE_MIN} to ${SCALE_MAX}, not ${scale}`)
  for (const { counts } of [positive, negative]) {
    if (counts.length > EXPONENTIAL_BINS_MAX)
      return reject('invalid_value', `a histogram may have ${EXPONENTIAL_BINS_MAX} bins at most`)
    const bad = checkCounts(counts)
    if (bad !== undefined) return bad
  }
  return checkCounts([zeroCount])
}

/**
 * Converts the bins to observations in ascending order. A known minimum or maximum normally replaces one observation
 * (`insertExtremes`). If the sum is known and all observations are on one side of zero, the other observations are
 * moved within their bins, so that the total comes as close to the sum as possible in a few passes.
 */
export function observationsOf(histogram: ExponentialHistogram): Observations {
  const { scale, zeroCount, positive, negative, sum, min, max } = histogram
  const bins: Bin[] = []
  for (let i = negative.counts.length - 1; i >= 0; i--) {
    if (negative.counts[i]! > 0) bins.push(mirroredBin(binAt(scale, negative.offset + i, negative.counts[i]!)))
  }
  if (zeroCount > 0) bins.push({ low: 0, high: 0, value: 0, weight: zeroCount })
  for (const [i, count] of positive.counts.entries()) {
    if (count > 0) bins.push(binAt(scale, positive.offset + i, count))
  }
  insertExtremes(bins, min, max)
  const isOneSided = bins.length > 0 && (bins[0]!.low >= 0 || bins.at(-1)!.high <= 0)
  if (sum !== undefined && isOneSided) adjustToSum(bins, sum)
  return { values: bins.map(({ value }) => value), weights: bins.map(({ weight }) => weight) }
}

/** A bin. `value` lies between `low` and `high`, and represents `weight` observations. */
interface Bin {
  low: number
  high: number
  value: number
  weight: number
}

function binAt(scale: number, index: number, weight: number): Bin {
  const width = 2 ** -scale
  // The limits of a bin may lie beyond the greatest or the least positive double.
  const clamp = (exponent: number) => Math.min(Number.MAX_VALUE, Math.max(Number.MIN_VALUE, 2 ** exponent))
  return { low: clamp(index * width), high: clamp((index + 1) * width), value: clamp((index + 0.5) * width), weight }
}

function mirroredBin({ low, high, value, weight }: Bin): Bin {
  return { low: -high, high: -low, value: -value, weight }
}

/**
 * Replaces one observation of the first bin by the minimum, and one of the last bin by the maximum. An unknown extreme,
 * or one outside its bin, is ignored. If the minimum replaces the only observation, the maximum is ignored.
 */
function insertExtremes(bins: Bin[], min: number | undefined, max: number | undefined): void {
  const first = bins[0]
  const last = bins.at(-1)
  if (first === undefined || last === undefined) return
  const validMin = min !== undefined && min >= first.low && min <= first.high ? min : undefined
  const validMax = max !== undefined && max >= last.low && max <= last.high ? max : undefined
  // The remaining observations of both bins lie between the minimum and the maximum.
  if (validMin !== undefined) {
    first.low = validMin
    first.value = Math.max(first.value, validMin)
  }
  if (validMax !== undefined) {
    last.high = validMax
    last.value = Math.min(last.value, validMax)
  }
  if (validMin !== undefined) {
    first.weight--
    bins.unshift({ low: validMin, high: validMin, value: validMin, weight: 1 })
  }
  if (validMax !== undefined && last.weight > 0) {
    last.weight--
    bins.push({ low: validMax, high: validMax, value: validMax, weight: 1 })
  }
  for (let i = bins.length - 1; i >= 0; i--) if (bins[i]!.weight === 0) bins.splice(i, 1)
}

/**
 * Maximum number of passes that move observations to make their total equal to the sum. One pass may not be enough,
 * because an observation at the edge of its bin no longer moves.
 */
const ADJUSTMENT_PASSES_MAX = 8

function adjustToSum(bins: readonly Bin[], sum: number): void {
  for (let pass = 0; pass < ADJUSTMENT_PASSES_MAX; pass++) {
    let fixedSum = 0
    let movableSum = 0
    for (const { low, high, value, weight } of bins) {
      if (value > low && value < high) movableSum += value * weight
      else fixedSum += value * weight
    }
    const factor = (sum - fixedSum) / movableSum
    if (!(factor > 0) || !Number.isFinite(factor) || Math.abs(factor - 1) < Number.EPSILON) return
    for (const bin of bins) {
      if (bin.value > bin.low && bin.value < bin.high)
        bin.value = Math.min(bin.high, Math.max(bin.low, bin.value * factor))
    }
  }
}

/** Returns a copy of bins at a scale that is lower by `scaleSteps`. Each step joins the bins 2i and 2i + 1. */
export function rescaleBins({ offset, counts }: Bins, scaleSteps: number): Bins {
  if (scaleSteps <= 0 || counts.length === 0) return { offset, counts: [...counts] }
  const factor = 2 ** scaleSteps
  const firstJoined = Math.floor(offset / factor)
  const joined: number[] = []
  for (const [i, count] of counts.entries()) {
    const index = Math.floor((offset + i) / factor) - firstJoined
    while (joined.length <= index) joined.push(0)
    joined[index]! += count
  }
  return { offset: firstJoined, counts: joined }
}
