import { GatewayError } from '../../model/errors.ts'
import { isObject } from '../../model/is-object.ts'
import type { PointSink, SeriesRef } from '../../model/point.ts'
import { describeValue } from '../../model/point.ts'
import { StepBudget, type Steps } from '../../model/steps.ts'
import { type Bins, EXPONENTIAL_BINS_MAX, type ExponentialHistogram } from '../histogram/exponential-histogram.ts'
import { type OtlpOptions, PointDelivery } from './deliver-points.ts'
import { attributeOf, doubleOf, flagsOf, integerOf, millisecondsOf } from './json-values.ts'
import {
  ATTRIBUTES_MAX,
  DEFAULT_TAG_KEYS,
  FLAG_NO_RECORDED_VALUE,
  HISTOGRAM_BUCKETS_MAX,
  type OtlpKind,
  type OtlpMetric,
  type PointTimes,
  SCOPE_NAME_TAG_KEY,
  SCOPE_VERSION_TAG_KEY,
  SUMMARY_QUANTILES_MAX,
  type TagPair,
  TEMPORALITY_CUMULATIVE,
  TEMPORALITY_DELTA,
} from './otlp-metric.ts'

/**
 * Decodes `ExportMetricsServiceRequest` in the JSON encoding of OTLP: names in camel case, enums as numbers, 64-bit
 * integers as text or numbers. Unknown members are ignored, and a null member counts as absent. A wrong structure
 * throws `invalid_body` with the path of the faulty member.
 */

/** Units of work (`StepBudget`) of one data point, and of finding a metric. */
const POINT_STEP_UNITS = 512

const OTLP_KINDS: readonly OtlpKind[] = ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary']

type JsonObject = Readonly<Record<string, unknown>>

/** Delivers all points of a body. Throws `invalid_body`, and `payload_too_large` for too many points. */
export function* decodeOtlpJson<S extends SeriesRef>(
  body: unknown,
  sink: PointSink<S>,
  options: OtlpOptions,
): Steps<void> {
  const delivery = new PointDelivery(sink, options)
  const tagKeysWanted = new Set([...DEFAULT_TAG_KEYS, ...options.configuredTagKeys])
  const budget = new StepBudget()
  for (const found of eachMetric(body, tagKeysWanted)) {
    if (budget.spend(POINT_STEP_UNITS)) yield
    if (found === undefined) continue
    const { metric, tags, dataPoints, path } = found
    for (const [i, given] of dataPoints.entries()) {
      const at = `${path}.dataPoints[${i}]`
      deliverPoint(delivery, metric, tags, objectAt(given, at), at)
      if (budget.spend(POINT_STEP_UNITS)) yield
    }
  }
}

/** Returns the same as `protobufNeedsIdempotencyKey`, for a JSON body. */
export function* jsonNeedsIdempotencyKey(body: unknown): Steps<boolean> {
  const budget = new StepBudget()
  for (const found of eachMetric(body, new Set())) {
    if (budget.spend(POINT_STEP_UNITS)) yield
    if (found?.metric.temporality === TEMPORALITY_DELTA || found?.metric.kind === 'exponentialHistogram') return true
  }
  return false
}

interface FoundMetric {
  readonly metric: OtlpMetric
  /** Tags from the attributes of the resource and the scope. */
  readonly tags: readonly TagPair[]
  readonly dataPoints: readonly unknown[]
  /** Path of the metric's data in the body, for error messages. */
  readonly path: string
}

/**
 * Yields the metrics of a body. Yields undefined for each resource, scope and metric of an unknown type, so that the
 * caller can pause there.
 */
function* eachMetric(body: unknown, tagKeysWanted: ReadonlySet<string>): Generator<FoundMetric | undefined> {
  for (const [resourceMetrics, resourcePath] of objectsIn(objectAt(body, 'the body'), 'resourceMetrics', '')) {
    yield undefined
    const resource = resourceMetrics['resource'] ?? {}
    const resourceTags = attributesOf(objectAt(resource, `${resourcePath}.resource`), `${resourcePath}.resource`)
    for (const [scopeMetrics, scopePath] of objectsIn(resourceMetrics, 'scopeMetrics', resourcePath)) {
      yield undefined
      const scope = objectAt(scopeMetrics['scope'] ?? {}, `${scopePath}.scope`)
      const scopeNameAndVersion = [SCOPE_NAME_TAG_KEY, SCOPE_VERSION_TAG_KEY].map(
        (key) => [key, scope[key.slice(key.lastIndexOf('.') + 1)]] as const,
      )
      const scopeTags = [
        ...scopeNameAndVersion.flatMap(([key, text]): TagPair[] =>
          typeof text === 'string' && text !== '' ? [[key, text]] : [],
        ),
        ...attributesOf(scope, `${scopePath}.scope`),
      ]
      const tags = [...resourceTags, ...scopeTags].filter(([key]) => tagKeysWanted.has(key))
      for (const [given, path] of objectsIn(scopeMetrics, 'metrics', scopePath)) {
        const kind = OTLP_KINDS.find((candidate) => isObject(given[candidate]))
        if (kind === undefined) {
          yield undefined
          continue
        }
        const data = objectAt(given[kind], path)
        const metric = metricOf(given, data, kind)
        yield {
          metric,
          tags,
          dataPoints: arrayAt(data['dataPoints'], `${path}.${kind}.dataPoints`),
          path: `${path}.${kind}`,
        }
      }
    }
  }
}

function metricOf(given: JsonObject, data: JsonObject, kind: OtlpKind): OtlpMetric {
  const { name = '', unit, description } = given
  return {
    // A name that is not text becomes an empty name. An empty name is invalid, so the points are rejected.
    name: typeof name === 'string' ? name : '',
    about: {
      ...(typeof unit === 'string' && unit !== '' && { unit }),
      ...(typeof description === 'string' && description !== '' && { description }),
    },
    kind,
    temporality: temporalityOf(data['aggregationTemporality']),
    isMonotonic: data['isMonotonic'] === true,
  }
}

/** Returns the number of an aggregation temporality. Some senders write the name of the enum value instead. */
function temporalityOf(given: unknown): number {
  if (given === 'AGGREGATION_TEMPORALITY_DELTA') return TEMPORALITY_DELTA
  if (given === 'AGGREGATION_TEMPORALITY_CUMULATIVE') return TEMPORALITY_CUMULATIVE
  return typeof given === 'number' ? given : 0
}

function deliverPoint<S extends SeriesRef>(
  delivery: PointDelivery<S>,
  metric: OtlpMetric,
  sharedTags: readonly TagPair[],
  point: JsonObject,
  path: string,
): void {
  if ((flagsOf(point['flags']) & FLAG_NO_RECORDED_VALUE) !== 0) return
  const [startMs, startRestNs] = millisecondsOf(point['startTimeUnixNano'])
  const [timeMs, timeRestNs] = millisecondsOf(point['timeUnixNano'])
  const times: PointTimes = { startMs, timeMs, startRestNs, timeRestNs }
  const value = metric.kind === 'gauge' || metric.kind === 'sum' ? numberOf(point) : 0
  if (Number.isNaN(value)) return
  const index = delivery.nextItem()
  const tags = [...sharedTags, ...attributesOf(point, path)]
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
  const optional = (given: unknown) => (given === undefined || given === null ? undefined : doubleOf(given))
  return { sum: optional(sum), min: optional(min), max: optional(max) }
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

function binsOf(given: unknown): Bins {
  const bins = objectAt(given, 'the bins of an exponential histogram')
  return {
    offset: integerOf(bins['offset']),
    counts: numbersAt(bins, 'bucketCounts', EXPONENTIAL_BINS_MAX, integerOf),
  }
}

/** Returns rank and value of each quantile, in turn. */
function quantilesOf(point: JsonObject): number[] {
  const quantiles = arrayAt(point['quantileValues'], 'quantileValues')
  if (quantiles.length > SUMMARY_QUANTILES_MAX) throw tooManyElementsError('quantileValues', SUMMARY_QUANTILES_MAX)
  return quantiles.flatMap((given) => {
    const { quantile = 0, value = 0 } = objectAt(given, 'a quantile')
    return [doubleOf(quantile), doubleOf(value)]
  })
}

function numbersAt(point: JsonObject, name: string, max: number, read: (given: unknown) => number): number[] {
  const values = arrayAt(point[name], name)
  if (values.length > max) throw tooManyElementsError(name, max)
  return values.map(read)
}

function tooManyElementsError(name: string, max: number): GatewayError {
  return new GatewayError('invalid_body', `${name} may have ${max} elements at most`)
}

/** Returns the attributes of a resource, a scope or a point as tags. */
function attributesOf(owner: JsonObject, path: string): TagPair[] {
  const attributes = arrayAt(owner['attributes'], `${path}.attributes`)
  if (attributes.length > ATTRIBUTES_MAX) throw tooManyElementsError(`${path}.attributes`, ATTRIBUTES_MAX)
  return attributes.flatMap((given, i) => {
    const tag = attributeOf(objectAt(given, `${path}.attributes[${i}]`))
    return tag === undefined ? [] : [tag]
  })
}

/** Yields the objects in the array `name` of `owner`, each with its path. An absent array is empty. */
function* objectsIn(owner: JsonObject, name: string, path: string): Generator<readonly [JsonObject, string]> {
  const at = path === '' ? name : `${path}.${name}`
  for (const [i, element] of arrayAt(owner[name], at).entries()) yield [objectAt(element, `${at}[${i}]`), `${at}[${i}]`]
}

function objectAt(given: unknown, path: string): JsonObject {
  if (isObject<JsonObject>(given)) return given
  throw new GatewayError('invalid_body', `${path} must be an object, not ${describeValue(given)}`)
}

function arrayAt(given: unknown, path: string): readonly unknown[] {
  if (given === undefined || given === null) return []
  if (Array.isArray(given)) return given
  throw new GatewayError('invalid_body', `${path} must be an array, not ${describeValue(given)}`)
}
