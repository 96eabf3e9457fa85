import { GatewayError } from '../../model/errors.ts'
import { isObject } from '../../model/is-object.ts'
import type { PointSink, SeriesRef } from '../../model/point.ts'
import { describeValue } from '../../model/point.ts'
import { StepBudget, type Steps } from '../../model/steps.ts'
import { type Bins, EXPONENTIAL_BINS_MAX, type ExponentialHistogram } from '../histogram/exponential-histogram.ts'
import { type OtlpOptions, PointDelivery } from './deliver-points.ts'
import { AttributeSize, doubleOf, flagsOf, integerOf, splitUnixNanos, tagOfAttribute } from './json-values.ts'
import {
  ATTRIBUTES_MAX,
  DEFAULT_TAG_KEYS,
  FLAG_NO_RECORDED_VALUE,
  HISTOGRAM_BUCKETS_MAX,
  type OtlpKind,
  type OtlpMetric,
  POINT_BYTES_MAX,
  POINT_TOO_LARGE,
  type PointTimes,
  SCOPE_NAME_TAG_KEY,
  SCOPE_VERSION_TAG_KEY,
  SUMMARY_QUANTILES_MAX,
  type TagPair,
  TEMPORALITY_CUMULATIVE,
  TEMPORALITY_DELTA,
} from './otlp-metric.ts'
import { ATTRIBUTE_BYTES_MAX, ATTRIBUTE_TOO_LARGE_MESSAGE } from './protobuf-values.ts'

/**
 * Decodes `ExportMetricsServiceRequest` in the JSON encoding of OTLP: names in camel case, enums as numbers, 64-bit
 * integers as text or numbers. Unknown members are ignored, and a null member counts as absent. A member that must be
 * an object or an array and is not throws `invalid_body`; the message says which member. Exceptions: the data of a
 * metric (such as `gauge`), and the value of an attribute with all that is in it, then count as absent.
 */

/** Units of work (`StepBudget`): of a resource, a scope, a metric or a data point, and of a number in a list. */
const OBJECT_STEP_UNITS = 512
const ELEMENT_STEP_UNITS = 32

const OTLP_KINDS: readonly OtlpKind[] = ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary']

type JsonObject = Readonly<Record<string, unknown>>

/** Delivers all points of a body. Throws `invalid_body`, or `payload_too_large` for too many points. */
export function* decodeOtlpJson<S extends SeriesRef>(
  body: unknown,
  sink: PointSink<S>,
  options: OtlpOptions,
): Steps<void> {
  const delivery = new PointDelivery(sink, options)
  const tagKeysWanted = new Set([...DEFAULT_TAG_KEYS, ...options.configuredTagKeys])
  const budget = new StepBudget()
  for (const metricWithPoints of eachMetric(body, tagKeysWanted, budget)) {
    if (metricWithPoints === undefined) {
      yield
      continue
    }
    const { metric, tags, dataPoints, path } = metricWithPoints
    for (const [i, dataPoint] of dataPoints.entries()) {
      const pointPath = `${path}.dataPoints[${i}]`
      const point = objectAt(dataPoint, pointPath)
      yield* deliverPoint(delivery, metric, tags, point, pointPath, budget)
      const units = OBJECT_STEP_UNITS + ELEMENT_STEP_UNITS * elementCountOf(point) + delivery.takeStepUnits()
      if (budget.spend(units)) yield
    }
  }
}

/** Returns the same as `protobufNeedsIdempotencyKey`, for a JSON body. */
export function* jsonNeedsIdempotencyKey(body: unknown): Steps<boolean> {
  const budget = new StepBudget()
  for (const metricWithPoints of eachMetric(body, new Set(), budget)) {
    if (metricWithPoints === undefined) yield
    else if (
      metricWithPoints.metric.temporality === TEMPORALITY_DELTA ||
      metricWithPoints.metric.kind === 'exponentialHistogram'
    )
      return true
  }
  return false
}

/** A metric with its data points, which are not decoded yet. */
interface MetricWithPoints {
  readonly metric: OtlpMetric
  /** Tags from the resource and the scope. */
  readonly tags: readonly TagPair[]
  readonly dataPoints: readonly unknown[]
  /** Path in the body of the object that holds the data points, for error messages. */
  readonly path: string
}

/**
 * Yields the metrics of a body that are of a known type. Yields undefined between two steps, so that the caller can
 * pause there.
 */
function* eachMetric(
  body: unknown,
  tagKeysWanted: ReadonlySet<string>,
  budget: StepBudget,
): Generator<MetricWithPoints | undefined> {
  for (const [resourceMetrics, resourcePath] of objectsIn(objectAt(body, 'the body'), 'resourceMetrics', '')) {
    if (budget.spend(OBJECT_STEP_UNITS)) yield undefined
    const resource = objectAt(resourceMetrics['resource'] ?? {}, `${resourcePath}.resource`)
    const resourceTags = yield* sharedTagsOf(resource, `${resourcePath}.resource`, budget)
    for (const [scopeMetrics, scopePath] of objectsIn(resourceMetrics, 'scopeMetrics', resourcePath)) {
      if (budget.spend(OBJECT_STEP_UNITS)) yield undefined
      const scope = objectAt(scopeMetrics['scope'] ?? {}, `${scopePath}.scope`)
      const scopeNameAndVersion = [SCOPE_NAME_TAG_KEY, SCOPE_VERSION_TAG_KEY].map(
        (key) => [key, scope[key.slice(key.lastIndexOf('.') + 1)]] as const,
      )
      const scopeTags = [
        ...scopeNameAndVersion.flatMap(([key, text]): TagPair[] =>
          typeof text === 'string' && text !== '' ? [[key, text]] : [],
        ),
        ...(yield* sharedTagsOf(scope, `${scopePath}.scope`, budget)),
      ]
      const tags = [...resourceTags, ...scopeTags].filter(([key]) => tagKeysWanted.has(key))
      for (const [rawMetric, path] of objectsIn(scopeMetrics, 'metrics', scopePath)) {
        if (budget.spend(OBJECT_STEP_UNITS)) yield undefined
        const kind = OTLP_KINDS.find((candidate) => isObject(rawMetric[candidate]))
        if (kind === undefined) continue
        const metricData = objectAt(rawMetric[kind], path)
        const metric = metricOf(rawMetric, metricData, kind)
        yield {
          metric,
          tags,
          dataPoints: arrayAt(metricData['dataPoints'], `${path}.${kind}.dataPoints`),
          path: `${path}.${kind}`,
        }
      }
    }
  }
}

function metricOf(rawMetric: JsonObject, metricData: JsonObject, kind: OtlpKind): OtlpMetric {
  const { name = '', unit, description } = rawMetric
  return {
    // A name that is not text becomes an empty name. An empty name is invalid, so the points are rejected.
    name: typeof name === 'string' ? name : '',
    about: {
      ...(typeof unit === 'string' && unit !== '' && { unit }),
      ...(typeof description === 'string' && description !== '' && { description }),
    },
    kind,
    temporality: temporalityOf(metricData['aggregationTemporality']),
    isMonotonic: metricData['isMonotonic'] === true,
  }
}

/** Returns the number of an aggregation temporality. Some senders write the name of the enum value instead. */
function temporalityOf(value: unknown): number {
  if (value === 'AGGREGATION_TEMPORALITY_DELTA') return TEMPORALITY_DELTA
  if (value === 'AGGREGATION_TEMPORALITY_CUMULATIVE') return TEMPORALITY_CUMULATIVE
  return typeof value === 'number' ? value : 0
}

function* deliverPoint<S extends SeriesRef>(
  delivery: PointDelivery<S>,
  metric: OtlpMetric,
  sharedTags: readonly TagPair[],
  point: JsonObject,
  path: string,
  budget: StepBudget,
): Steps<void> {
  if ((flagsOf(point['flags']) & FLAG_NO_RECORDED_VALUE) !== 0) return
  const [startMs, startSubMillisecondNs] = splitUnixNanos(point['startTimeUnixNano'])
  const [timeMs, timeSubMillisecondNs] = splitUnixNanos(point['timeUnixNano'])
  const times: PointTimes = { startMs, timeMs, startSubMillisecondNs, timeSubMillisecondNs }
  const value = metric.kind === 'gauge' || metric.kind === 'sum' ? numberOf(point) : 0
  if (Number.isNaN(value)) return
  const index = delivery.nextItem()
  const { tags: pointTags, byteCount } = yield* tagsOfAttributes(point, path, budget)
  if (byteCount > POINT_BYTES_MAX) {
    delivery.reject(index, POINT_TOO_LARGE)
    return
  }
  const tags = [...sharedTags, ...pointTags]
  switch (metric.kind) {
    case 'gauge':
    case 'sum':
      delivery.deliverNumber(metric, tags, times, value, index)
      break
    case 'histogram':
      delivery.deliverHistogram(
        metric,
        tags,
        times,
        {
          count: integerOf(point['count']),
          ...sumAndExtremesOf(point),
          bounds: numbersAt(point, 'explicitBounds', HISTOGRAM_BUCKETS_MAX, doubleOf),
          counts: numbersAt(point, 'bucketCounts', HISTOGRAM_BUCKETS_MAX, integerOf),
        },
        index,
      )
      break
    case 'exponentialHistogram':
      delivery.deliverExponentialHistogram(metric, tags, times, exponentialHistogramOf(point), index)
      break
    case 'summary':
      delivery.deliverSummary(
        metric,
        tags,
        times,
        { count: integerOf(point['count']), sum: doubleOf(point['sum'] ?? 0), quantiles: quantilesOf(point) },
        index,
      )
  }
}

/** Returns the value of a number point. NaN: the point has no value. */
function numberOf({ asInt, asDouble }: JsonObject): number {
  if (asInt !== undefined && asInt !== null) return integerOf(asInt)
  return asDouble === undefined || asDouble === null ? Number.NaN : doubleOf(asDouble)
}

function sumAndExtremesOf({ sum, min, max }: JsonObject): Pick<ExponentialHistogram, 'sum' | 'min' | 'max'> {
  const optionalDouble = (value: unknown) => (value === undefined || value === null ? undefined : doubleOf(value))
  return { sum: optionalDouble(sum), min: optionalDouble(min), max: optionalDouble(max) }
}

function exponentialHistogramOf(point: JsonObject): ExponentialHistogram {
  return {
    scale: integerOf(point['scale']),
    zeroCount: integerOf(point['zeroCount']),
    positive: binsOf(point['positive'] ?? {}),
    negative: binsOf(point['negative'] ?? {}),
    ...sumAndExtremesOf(point),
  }
}

function binsOf(rawBins: unknown): Bins {
  const bins = objectAt(rawBins, 'the bins of an exponential histogram')
  return {
    offset: integerOf(bins['offset']),
    counts: numbersAt(bins, 'bucketCounts', EXPONENTIAL_BINS_MAX, integerOf),
  }
}

/** Returns rank and value of each quantile, in turn. */
function quantilesOf(point: JsonObject): number[] {
  const rawQuantiles = arrayAt(point['quantileValues'], 'quantileValues')
  if (rawQuantiles.length > SUMMARY_QUANTILES_MAX) throw tooManyElementsError('quantileValues', SUMMARY_QUANTILES_MAX)
  return rawQuantiles.flatMap((rawQuantile) => {
    const { quantile, value } = objectAt(rawQuantile, 'a quantile')
    return [doubleOf(quantile ?? 0), doubleOf(value ?? 0)]
  })
}

function numbersAt(point: JsonObject, name: string, countMax: number, read: (element: unknown) => number): number[] {
  const values = arrayAt(point[name], name)
  if (values.length > countMax) throw tooManyElementsError(name, countMax)
  return values.map(read)
}

/** Returns how many numbers the lists of a valid point have, for the step budget. */
function elementCountOf(point: JsonObject): number {
  const lists = [point['bucketCounts'], point['explicitBounds'], point['quantileValues']]
  for (const side of [point['positive'], point['negative']]) if (isObject(side)) lists.push(side['bucketCounts'])
  return lists.reduce<number>((count, list) => count + (Array.isArray(list) ? list.length : 0), 0)
}

function tooManyElementsError(name: string, countMax: number): GatewayError {
  return new GatewayError('invalid_body', `${name} may have ${countMax} elements at most`)
}

/** Returns the attributes of a resource or a scope as tags. Throws `invalid_body` if one of them is too large. */
function* sharedTagsOf(owner: JsonObject, path: string, budget: StepBudget): Steps<TagPair[]> {
  const { tags, largestByteCount } = yield* tagsOfAttributes(owner, path, budget)
  if (largestByteCount > ATTRIBUTE_BYTES_MAX) throw new GatewayError('invalid_body', ATTRIBUTE_TOO_LARGE_MESSAGE)
  return tags
}

/** Returns the attributes of a resource, a scope or a point as tags, and the size of all and of the largest of them. */
function* tagsOfAttributes(
  owner: JsonObject,
  path: string,
  budget: StepBudget,
): Steps<{ readonly tags: TagPair[]; readonly byteCount: number; readonly largestByteCount: number }> {
  const rawAttributes = arrayAt(owner['attributes'], `${path}.attributes`)
  if (rawAttributes.length > ATTRIBUTES_MAX) throw tooManyElementsError(`${path}.attributes`, ATTRIBUTES_MAX)
  const tags: TagPair[] = []
  let byteCount = 0
  let largestByteCount = 0
  for (const [i, rawAttribute] of rawAttributes.entries()) {
    const size = new AttributeSize()
    const tag = tagOfAttribute(objectAt(rawAttribute, `${path}.attributes[${i}]`), size)
    if (tag !== undefined) tags.push(tag)
    byteCount += size.byteCount
    largestByteCount = Math.max(largestByteCount, size.byteCount)
    if (budget.spend(size.stepUnits)) yield
  }
  return { tags, byteCount, largestByteCount }
}

/** Yields the objects in the array `name` of `owner`, each with its path. An absent array is empty. */
function* objectsIn(owner: JsonObject, name: string, path: string): Generator<readonly [JsonObject, string]> {
  const arrayPath = path === '' ? name : `${path}.${name}`
  for (const [i, element] of arrayAt(owner[name], arrayPath).entries())
    yield [objectAt(element, `${arrayPath}[${i}]`), `${arrayPath}[${i}]`]
}

function objectAt(value: unknown, path: string): JsonObject {
  if (isObject<JsonObject>(value)) return value
  throw new GatewayError('invalid_body', `${path} must be an object, not ${describeValue(value)}`)
}

function arrayAt(value: unknown, path: string): readonly unknown[] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value
  throw new GatewayError('invalid_body', `${path} must be an array, not ${describeValue(value)}`)
}
