import { isWeight } from '../model/count.ts'
import { assert } from '../model/errors.ts'
import { isObject } from '../model/is-object.ts'
import type { MetricType } from '../model/metric.ts'
import type { PointLimits, PointSink, Rejection, SeriesRef } from '../model/point.ts'
import {
  checkName,
  checkTags,
  checkValue,
  describeValue,
  finiteNumber,
  numberText,
  readTags,
  reject,
} from '../model/point.ts'
import { checkPointTime, parsePointTime } from '../model/point-time.ts'
import { StepBudget, type Steps } from '../model/steps.ts'
import { limitOrQuantileText } from './limit-text.ts'
import { parseUpperLimit } from './upper-limit.ts'

/**
 * An item of the Better Stack API, or of the Vector agent, which sends to the same route: `{"name", TYPE: {…}, "dt"?,
 * "tags"?}`. TYPE is a key such as `gauge`, and the object under it holds the value. A gauge or a counter is one point.
 * An item of any other type becomes zero or more points.
 */
interface BetterStackItem extends Partial<Readonly<Record<TypeKey, unknown>>> {
  readonly metric?: unknown
  readonly name?: unknown
  readonly dt?: unknown
  readonly timestamp?: unknown
  readonly tags?: unknown
  readonly namespace?: unknown
  readonly kind?: unknown
}

const TYPE_KEYS = [
  'gauge',
  'counter',
  'histogram',
  'summary',
  'set',
  'distribution',
  'aggregated_histogram',
  'aggregated_summary',
] as const
type TypeKey = (typeof TYPE_KEYS)[number]

/** The object under the type key of an item, such as `{"value": 1}`, with the fields of all types. */
interface TypedValue {
  readonly value?: unknown
  readonly values?: unknown
  readonly samples?: unknown
  readonly count?: unknown
  readonly sum?: unknown
  readonly buckets?: unknown
  readonly quantiles?: unknown
}

interface HistogramBucket {
  readonly upper_limit?: unknown
  readonly count?: unknown
}

interface SummaryQuantile {
  readonly quantile?: unknown
  readonly value?: unknown
}

interface DistributionSample {
  readonly value?: unknown
  readonly rate?: unknown
}

/**
 * Units of work ({@link StepBudget}): of reading an element (a bucket, a quantile, a set member or a sample), of
 * finding a series, and of delivering a point.
 */
const ELEMENT_STEP_UNITS = 64
const SERIES_STEP_UNITS = 512
const POINT_STEP_UNITS = 32

export interface BetterStackItemOptions {
  readonly nowMs: number
  readonly limits: PointLimits
  /** Called with a time that cannot be parsed. The item then gets the time of reception. */
  readonly onUnreadableTime: (value: unknown) => void
}

/** The validated fields of an item besides its value. */
interface ItemHead {
  readonly name: string
  readonly timeMs: number
  readonly tags: readonly TagPair[]
  /** Whether the numbers of the item are deltas or running totals. Undefined: the sender did not say. */
  readonly temporality: 'delta' | 'total' | undefined
}

type TagPair = readonly [key: string, value: string]

/** A decoded point of a histogram or a summary. It is delivered after the whole item has been validated. */
interface PendingPoint {
  readonly name: string
  readonly type: MetricType
  readonly tags: readonly TagPair[]
  readonly mode: 'add' | 'total'
  readonly value: number
}

/**
 * Validates an item and delivers its points to the sink. If a part of the item is invalid, rejects the whole item with
 * the first reason. Returns the series of a delivered gauge or counter, otherwise the number of points delivered.
 */
export function* decodeBetterStackItem<S extends SeriesRef>(
  rawItem: unknown,
  index: number,
  sink: PointSink<S>,
  options: BetterStackItemOptions,
): Steps<S | number> {
  const outcome = yield* validateAndDeliver(rawItem, index, sink, options)
  if (typeof outcome === 'number' || !('code' in outcome)) return outcome
  sink.reject(index, outcome)
  return 0
}

function* validateAndDeliver<S extends SeriesRef>(
  rawItem: unknown,
  index: number,
  sink: PointSink<S>,
  options: BetterStackItemOptions,
): Steps<S | number | Rejection> {
  const item = unwrapItem(rawItem)
  if (item === undefined) return reject('invalid_body', `a metric must be an object, not ${describeValue(rawItem)}`)
  const typeKey = typeKeyOf(item)
  if (typeof typeKey !== 'string') return typeKey
  const head = parseItemHead(item, options)
  if ('code' in head) return head
  const value = item[typeKey]
  if (!isObject<TypedValue>(value))
    return reject('invalid_value', `${typeKey} must be an object, not ${describeValue(value)}`)
  switch (typeKey) {
    case 'gauge':
    case 'counter':
      return deliverNumber(typeKey, value, head, index, sink)
    case 'set':
      return yield* deliverMembers(value, head, index, sink)
    case 'distribution':
      return yield* deliverSamples(value, head, index, sink)
    case 'histogram':
    case 'aggregated_histogram':
      return yield* deliverPoints(yield* pointsOfHistogram(value, head), head, index, sink, options.limits)
    case 'summary':
    case 'aggregated_summary':
      return yield* deliverPoints(yield* pointsOfSummary(value, head), head, index, sink, options.limits)
  }
}

/** Returns the item: the object itself, or the object in `{"metric": {…}}` if the outer object has no `name`. */
function unwrapItem(rawItem: unknown): BetterStackItem | undefined {
  if (!isObject<BetterStackItem>(rawItem)) return undefined
  const { name, metric } = rawItem
  return name === undefined && isObject<BetterStackItem>(metric) ? metric : rawItem
}

function typeKeyOf(item: BetterStackItem): TypeKey | Rejection {
  let typeKey: TypeKey | undefined
  for (const key of TYPE_KEYS) {
    if ((item[key] ?? undefined) === undefined) continue
    if (typeKey !== undefined) return reject('invalid_type', `a metric has one type, not both ${typeKey} and ${key}`)
    typeKey = key
  }
  return typeKey ?? reject('invalid_type', `a metric must have one of ${TYPE_KEYS.join(', ')}`)
}

function parseItemHead(
  item: BetterStackItem,
  { nowMs, limits, onUnreadableTime }: BetterStackItemOptions,
): ItemHead | Rejection {
  const { name, namespace, kind } = item
  const badName = checkName(name, limits)
  if (badName !== undefined) return badName
  assert(typeof name === 'string', 'name was checked')
  const rawTime = item.dt ?? item.timestamp
  let timeMs: number | undefined = nowMs
  if (rawTime !== undefined && rawTime !== null) {
    timeMs = parsePointTime(rawTime)
    if (timeMs === undefined) {
      onUnreadableTime(rawTime)
      timeMs = nowMs
    }
  }
  const badInstant = checkPointTime(timeMs, nowMs)
  if (badInstant !== undefined) return badInstant
  const tags = readTags(item.tags, limits, 'join')
  if (!Array.isArray(tags)) return tags
  // A tag `namespace` of the sender takes precedence over the field.
  if (typeof namespace === 'string' && namespace !== '' && !tags.some(([key]) => key === 'namespace')) {
    tags.unshift(['namespace', namespace])
    const badTags = checkTags(tags, limits)
    if (badTags !== undefined) return badTags
  }
  return {
    name,
    timeMs,
    tags,
    temporality: kind === 'incremental' ? 'delta' : kind === 'absolute' ? 'total' : undefined,
  }
}

/** Delivers a gauge or a counter. Counters are running totals, unless the sender declares them as deltas. */
function deliverNumber<S extends SeriesRef>(
  type: 'gauge' | 'counter',
  { value }: TypedValue,
  { name, timeMs, tags, temporality }: ItemHead,
  index: number,
  sink: PointSink<S>,
): S | Rejection {
  // A change of a gauge cannot be stored, because the value that it changes is unknown.
  if (type === 'gauge' && temporality === 'delta')
    return reject('invalid_value', 'a gauge must be its value, not a change of it')
  const number = finiteNumber(value)
  if (number === undefined)
    return reject('invalid_value', `value of a ${type} must be a finite number, not ${describeValue(value)}`)
  const series = sink.resolve(name, type, tags)
  if ('code' in series) return series
  if (type === 'counter' && temporality !== 'delta') sink.addTotal(index, series, timeMs, number)
  else sink.add(index, series, timeMs, number)
  return series
}

/**
 * Parses a number of a histogram, a summary or a distribution. Null, undefined, NaN and infinities are `absent`:
 * senders write null for numbers that are not finite, and an idle source has no quantiles. Only the part of the item
 * that needs the number is then skipped. Returns undefined for a value that is no number: the whole item is then
 * rejected.
 */
function parseOptionalNumber(value: unknown): number | 'absent' | undefined {
  if (value === undefined || value === null) return 'absent'
  return finiteNumber(value) ?? (typeof value === 'number' ? 'absent' : undefined)
}

/**
 * Returns a point for each bucket (its count, with the tag `upper_limit`), and counters for the count and the sum.
 * Buckets with the same limit become one point. A bucket without a count, or with the limit NaN, is skipped. If the
 * count of the histogram exceeds the sum of the bucket counts, the difference is added to the bucket `+Inf`, unless a
 * bucket was skipped, to which it may belong.
 */
function* pointsOfHistogram(value: TypedValue, head: ItemHead): Steps<readonly PendingPoint[] | Rejection> {
  const budget = new StepBudget()
  const { name, tags, temporality } = head
  const mode = temporality === 'total' ? 'total' : 'add'
  const countAndSum = pointsOfCountAndSum('histogram', value, head, mode)
  if ('code' in countAndSum) return countAndSum
  const { buckets } = value
  if (!Array.isArray(buckets)) return reject('invalid_value', `buckets must be an array, not ${describeValue(buckets)}`)
  const countByLimit = new Map<string, number>()
  let countInBuckets = 0
  let hasSkippedBucket = false
  for (const bucket of buckets) {
    if (budget.spend(ELEMENT_STEP_UNITS)) yield
    const { upper_limit, count: rawCount } = isObject<HistogramBucket>(bucket ?? EMPTY_ELEMENT)
      ? (bucket ?? EMPTY_ELEMENT)
      : INVALID_ELEMENT
    const limit = parseUpperLimit(upper_limit)
    const count = parseOptionalNumber(rawCount)
    if (limit === undefined || count === undefined || (count !== 'absent' && count < 0))
      return reject('invalid_value', 'a bucket must have a number upper_limit and a count of 0 or more')
    if (count === 'absent' || Number.isNaN(limit)) {
      hasSkippedBucket = true
      continue
    }
    const limitText = limitOrQuantileText(limit)
    countByLimit.set(limitText, (countByLimit.get(limitText) ?? 0) + count)
    countInBuckets += count
  }
  if (!hasSkippedBucket && countAndSum.count !== undefined) {
    const countAboveBuckets = Math.max(0, countAndSum.count - countInBuckets)
    // The first value of a running total only sets the start from which later values are counted. So the total of
    // `+Inf` is delivered from the beginning, even if it is 0.
    if (countAboveBuckets > 0 || mode === 'total')
      countByLimit.set('+Inf', (countByLimit.get('+Inf') ?? 0) + countAboveBuckets)
  }
  const points: PendingPoint[] = []
  for (const [limit, count] of countByLimit) {
    if (budget.spend(ELEMENT_STEP_UNITS)) yield
    points.push({ name, type: 'histogram', tags: [...tags, ['upper_limit', limit]], mode, value: count })
  }
  for (const point of countAndSum.points) points.push(point)
  return requirePoints('histogram', points)
}

/** Returns a point with the tag `quantile` for each quantile with rank and value, and counters for count and sum. */
function* pointsOfSummary(value: TypedValue, head: ItemHead): Steps<readonly PendingPoint[] | Rejection> {
  const budget = new StepBudget()
  const { name, tags, temporality } = head
  const countAndSum = pointsOfCountAndSum('summary', value, head, temporality === 'total' ? 'total' : 'add')
  if ('code' in countAndSum) return countAndSum
  const { quantiles } = value
  if (!Array.isArray(quantiles))
    return reject('invalid_value', `quantiles must be an array, not ${describeValue(quantiles)}`)
  const points: PendingPoint[] = []
  for (const rawQuantile of quantiles) {
    if (budget.spend(ELEMENT_STEP_UNITS)) yield
    const { quantile: rawRank, value: rawValue } = isObject<SummaryQuantile>(rawQuantile ?? EMPTY_ELEMENT)
      ? (rawQuantile ?? EMPTY_ELEMENT)
      : INVALID_ELEMENT
    const rank = parseOptionalNumber(rawRank)
    const quantileValue = parseOptionalNumber(rawValue)
    if (rank === undefined || quantileValue === undefined || (rank !== 'absent' && !(rank >= 0 && rank <= 1)))
      return reject('invalid_value', 'a quantile must have a quantile of 0 to 1 and a number as its value')
    if (rank === 'absent' || quantileValue === 'absent') continue
    const rankText = limitOrQuantileText(rank)
    points.push({ name, type: 'summary', tags: [...tags, ['quantile', rankText]], mode: 'add', value: quantileValue })
  }
  for (const point of countAndSum.points) points.push(point)
  return requirePoints('summary', points)
}

/** Returns the points of a histogram or a summary, or a rejection if there are none. */
function requirePoints(type: string, points: readonly PendingPoint[]): readonly PendingPoint[] | Rejection {
  return points.length > 0 ? points : reject('invalid_value', `no part of the ${type} is a finite number`)
}

interface CountAndSum {
  readonly count: number | undefined
  readonly points: readonly PendingPoint[]
}

/** Returns the count, and the points of the counters `NAME_count` and `NAME_sum`. An absent number has no point. */
function pointsOfCountAndSum(
  type: string,
  { count: rawCount, sum: rawSum }: TypedValue,
  { name, tags }: ItemHead,
  mode: PendingPoint['mode'],
): CountAndSum | Rejection {
  const count = parseOptionalNumber(rawCount)
  if (count === undefined || (count !== 'absent' && count < 0))
    return reject('invalid_value', `a ${type} must have a count of 0 or more`)
  const sum = parseOptionalNumber(rawSum)
  if (sum === undefined) return reject('invalid_value', `a ${type} must have a number as its sum`)
  const counter = { type: 'counter', tags, mode } as const
  return {
    count: count === 'absent' ? undefined : count,
    points: [
      ...(count === 'absent' ? [] : [{ ...counter, name: `${name}_count`, value: count }]),
      ...(sum === 'absent' ? [] : [{ ...counter, name: `${name}_sum`, value: sum }]),
    ],
  }
}

function* deliverPoints<S extends SeriesRef>(
  points: readonly PendingPoint[] | Rejection,
  { timeMs }: ItemHead,
  index: number,
  sink: PointSink<S>,
  limits: PointLimits,
): Steps<number | Rejection> {
  if ('code' in points) return points
  const budget = new StepBudget()
  const series: S[] = []
  for (const { name, type, tags } of points) {
    if (budget.spend(SERIES_STEP_UNITS)) yield
    const badName = checkName(name, limits)
    if (badName !== undefined) return badName
    const resolved = sink.resolve(name, type, tags)
    if ('code' in resolved) return resolved
    series.push(resolved)
  }
  for (const [i, { mode, value }] of points.entries()) {
    if (budget.spend(POINT_STEP_UNITS)) yield
    if (mode === 'total') sink.addTotal(index, series[i]!, timeMs, value)
    else sink.add(index, series[i]!, timeMs, value)
  }
  return points.length
}

function* deliverMembers<S extends SeriesRef>(
  { values }: TypedValue,
  { name, timeMs, tags }: ItemHead,
  index: number,
  sink: PointSink<S>,
): Steps<number | Rejection> {
  if (!Array.isArray(values)) return reject('invalid_value', `values must be an array, not ${describeValue(values)}`)
  const members: string[] = []
  const budget = new StepBudget()
  for (const rawMember of values) {
    if (budget.spend(ELEMENT_STEP_UNITS)) yield
    // Members are texts; a number is accepted too, and stored as its text.
    const member = numberText(rawMember) ?? rawMember
    const bad = checkValue('set', member)
    if (bad !== undefined) return bad
    assert(typeof member === 'string', 'the member was checked')
    members.push(member)
  }
  if (members.length === 0) return 0
  const series = sink.resolve(name, 'set', tags)
  if ('code' in series) return series
  for (const member of members) {
    if (budget.spend(POINT_STEP_UNITS)) yield
    sink.addMember(index, series, timeMs, member)
  }
  return members.length
}

/** Delivers the samples of a distribution, with their rates as weights. Skips those with rate 0 or without a value. */
function* deliverSamples<S extends SeriesRef>(
  { samples }: TypedValue,
  { name, timeMs, tags }: ItemHead,
  index: number,
  sink: PointSink<S>,
): Steps<number | Rejection> {
  if (!Array.isArray(samples)) return reject('invalid_value', `samples must be an array, not ${describeValue(samples)}`)
  const values: number[] = []
  const weights: number[] = []
  let absentCount = 0
  const budget = new StepBudget()
  for (const sample of samples) {
    if (budget.spend(ELEMENT_STEP_UNITS)) yield
    const { value: rawValue, rate: rawRate } = isObject<DistributionSample>(sample ?? EMPTY_ELEMENT)
      ? (sample ?? EMPTY_ELEMENT)
      : INVALID_ELEMENT
    const value = parseOptionalNumber(rawValue)
    if (value === undefined || !isWeight(rawRate ?? 1))
      return reject('invalid_value', 'a sample must have a finite value and a whole rate from 0 to 2^53')
    const rate = Number(rawRate ?? 1)
    if (value === 'absent') absentCount++
    if (value === 'absent' || rate === 0) continue
    values.push(value)
    weights.push(rate)
  }
  if (values.length === 0)
    return absentCount === 0 ? 0 : reject('invalid_value', 'no value of the distribution is a finite number')
  const series = sink.resolve(name, 'distribution', tags)
  if ('code' in series) return series
  for (let i = 0; i < values.length; i++) {
    if (budget.spend(POINT_STEP_UNITS)) yield
    sink.addWeighted(index, series, timeMs, values[i]!, weights[i]!)
  }
  return values.length
}

/** Replaces a bucket, a quantile or a sample that is null: its numbers are absent. */
const EMPTY_ELEMENT: HistogramBucket & SummaryQuantile & DistributionSample = Object.freeze({})
/** Replaces a bucket, a quantile or a sample that is not an object: its fields are invalid, so the item is rejected. */
const INVALID_ELEMENT: HistogramBucket & SummaryQuantile & DistributionSample = Object.freeze({
  upper_limit: '',
  quantile: '',
  value: '',
})
