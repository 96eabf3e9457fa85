import { assert, GatewayError } from '../model/errors.ts'
import { isObject } from '../model/is-object.ts'
import type { TrackedType } from '../model/metric.ts'
import { isTrackedType } from '../model/metric.ts'
import type { MetricMetadata, PointLimits, PointSink, Rejection, SeriesRef } from '../model/point.ts'
import { checkName, checkType, checkValue, describeValue, finiteNumber, readTags, reject } from '../model/point.ts'
import { checkPointTime, parsePointTime } from '../model/point-time.ts'
import { firstChars } from '../model/text.ts'

/** A parsed metric item of the Flux dialect. GraphQL inputs have the same fields and are validated here too. */
export interface FluxItem {
  readonly name?: unknown
  readonly type?: unknown
  readonly value?: unknown
  readonly timestamp?: unknown
  readonly tags?: unknown
  readonly unit?: unknown
  readonly description?: unknown
}

/** A delivered point and its series. */
export interface TrackedPoint<S extends SeriesRef = SeriesRef> {
  readonly name: string
  readonly type: TrackedType
  readonly value: number | string
  readonly timeMs: number
  readonly series: S
}

/**
 * Validates an item field by field (name, type, value, timestamp, tags). Delivers its point to the sink and returns the
 * point. If the item is invalid, delivers the first rejection and returns undefined. Counters of this dialect are
 * deltas.
 */
export function decodeFluxItem<S extends SeriesRef>(
  item: unknown,
  index: number,
  sink: PointSink<S>,
  nowMs: number,
  limits: PointLimits,
): TrackedPoint<S> | undefined {
  const outcome = validateAndDeliver(item, index, sink, nowMs, limits)
  if (!('code' in outcome)) return outcome
  sink.reject(index, outcome)
  return undefined
}

/**
 * Delivers the items of `{"metrics":[…]}` or of a bare array, and returns their number. If it throws
 * `invalid_body` or `batch_too_large`, it has delivered nothing.
 */
export function decodeFluxItems(
  body: unknown,
  sink: PointSink,
  nowMs: number,
  limits: PointLimits,
  itemsMax: number,
): number {
  const items: unknown = isObject<{ readonly metrics?: unknown }>(body) ? body.metrics : body
  if (!Array.isArray(items)) {
    throw new GatewayError('invalid_body', 'the body must be {"metrics": […]} or an array of metrics')
  }
  if (items.length > itemsMax) {
    throw new GatewayError('batch_too_large', `${items.length} metrics, at most ${itemsMax} are allowed in a batch`, {
      details: { max: itemsMax },
    })
  }
  for (let index = 0; index < items.length; index++) decodeFluxItem(items[index], index, sink, nowMs, limits)
  return items.length
}

function validateAndDeliver<S extends SeriesRef>(
  item: unknown,
  index: number,
  sink: PointSink<S>,
  nowMs: number,
  limits: PointLimits,
): TrackedPoint<S> | Rejection {
  if (!isObject<FluxItem>(item)) return reject('invalid_body', `a metric must be an object, not ${describeValue(item)}`)
  const { name, type, timestamp } = item
  const badIdentity = checkName(name, limits) ?? checkType(type)
  if (badIdentity !== undefined) return badIdentity
  assert(typeof name === 'string' && isTrackedType(type), 'name and type were checked')
  const badValue = checkValue(type, item.value)
  if (badValue !== undefined) return badValue
  const value = typeof item.value === 'string' ? item.value : finiteNumber(item.value)
  assert(value !== undefined, 'value was checked')
  const timeMs = timestamp === undefined || timestamp === null ? nowMs : parsePointTime(timestamp)
  const badInstant = checkPointTime(timeMs, nowMs)
  if (badInstant !== undefined) return badInstant
  assert(timeMs !== undefined, 'timestamp was checked')
  const tags = readTags(item.tags, limits)
  if (!Array.isArray(tags)) return tags

  const series = sink.resolve(name, type, tags, aboutOf(item))
  if ('code' in series) return series
  if (typeof value === 'number') sink.add(index, series, timeMs, value)
  else sink.addMember(index, series, timeMs, value)
  return { name, type, value, timeMs, series }
}

/**
 * Returns unit and description. Both are optional: values that are not text are ignored, and long texts are truncated.
 */
function aboutOf({ unit, description }: FluxItem): MetricMetadata | undefined {
  if (typeof unit !== 'string' && typeof description !== 'string') return undefined
  return {
    ...(typeof unit === 'string' ? { unit: firstChars(unit, UNIT_CHARS_MAX).toWellFormed() } : {}),
    ...(typeof description === 'string'
      ? { description: firstChars(description, DESCRIPTION_CHARS_MAX).toWellFormed() }
      : {}),
  }
}

const UNIT_CHARS_MAX = 64
const DESCRIPTION_CHARS_MAX = 1_024
