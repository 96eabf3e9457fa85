import { Message } from './protobuf.ts'

/** A request in the JSON encoding of OTLP, as far as tests need it, and the same request in protobuf. */

export interface OtlpAttribute {
  /** Attributes of real senders have a key. */
  readonly key?: string
  readonly value: OtlpValue
}

export type OtlpValue = Readonly<{
  stringValue?: string
  boolValue?: boolean
  intValue?: string | number
  doubleValue?: number
  arrayValue?: { readonly values: readonly OtlpValue[] }
  kvlistValue?: { readonly values: readonly OtlpAttribute[] }
  bytesValue?: string
}>

export interface OtlpPoint {
  readonly attributes?: readonly OtlpAttribute[]
  readonly startTimeUnixNano?: string
  readonly timeUnixNano?: string
  readonly flags?: number
  readonly asInt?: string | number
  readonly asDouble?: number | string
  readonly count?: string | number
  readonly sum?: number
  readonly min?: number
  readonly max?: number
  readonly bucketCounts?: readonly (string | number)[]
  readonly explicitBounds?: readonly number[]
  readonly scale?: number
  readonly zeroCount?: string | number
  readonly positive?: { readonly offset?: number; readonly bucketCounts?: readonly (string | number)[] }
  readonly negative?: { readonly offset?: number; readonly bucketCounts?: readonly (string | number)[] }
  /** A value of null means absent in JSON, and is encoded as 0 in protobuf. */
  readonly quantileValues?: readonly { readonly quantile: number; readonly value: number | null }[]
}

export interface OtlpData {
  readonly dataPoints: readonly OtlpPoint[]
  readonly aggregationTemporality?: number
  readonly isMonotonic?: boolean
}

export interface OtlpMetricJson {
  readonly name: string
  readonly unit?: string
  readonly description?: string
  readonly gauge?: OtlpData
  readonly sum?: OtlpData
  readonly histogram?: OtlpData
  readonly exponentialHistogram?: OtlpData
  readonly summary?: OtlpData
}

export interface OtlpRequest {
  readonly resourceMetrics: readonly {
    readonly resource?: { readonly attributes: readonly OtlpAttribute[] }
    readonly scopeMetrics: readonly {
      readonly scope?: {
        readonly name?: string
        readonly version?: string
        readonly attributes?: readonly OtlpAttribute[]
      }
      readonly metrics: readonly OtlpMetricJson[]
    }[]
  }[]
}

/** Attributes with texts. */
export const attributes = (texts: Readonly<Record<string, string>>): OtlpAttribute[] =>
  Object.entries(texts).map(([key, stringValue]) => ({ key, value: { stringValue } }))

/** A request of these metrics without a resource. */
export const requestOf = (...metrics: readonly OtlpMetricJson[]): OtlpRequest => ({
  resourceMetrics: [{ scopeMetrics: [{ metrics }] }],
})

export function encodeOtlp(request: OtlpRequest): Buffer {
  const body = new Message()
  for (const { resource, scopeMetrics } of request.resourceMetrics) {
    const resourceMessage = new Message()
    if (resource !== undefined) {
      const attributesMessage = new Message()
      for (const attribute of resource.attributes) attributesMessage.bytes(1, keyValue(attribute))
      resourceMessage.bytes(1, attributesMessage)
    }
    for (const { scope, metrics } of scopeMetrics) {
      const scopeMessage = new Message()
      if (scope !== undefined) {
        const named = new Message().bytes(1, scope.name ?? '').bytes(2, scope.version ?? '')
        for (const attribute of scope.attributes ?? []) named.bytes(3, keyValue(attribute))
        scopeMessage.bytes(1, named)
      }
      for (const metric of metrics) scopeMessage.bytes(2, metricMessage(metric))
      resourceMessage.bytes(2, scopeMessage)
    }
    body.bytes(1, resourceMessage)
  }
  return Buffer.from(body.finish())
}

function metricMessage({ name, unit, description, ...data }: OtlpMetricJson): Message {
  const message = new Message().bytes(1, name)
  if (description !== undefined) message.bytes(2, description)
  if (unit !== undefined) message.bytes(3, unit)
  const fields = { gauge: 5, sum: 7, histogram: 9, exponentialHistogram: 10, summary: 11 } as const
  for (const [kind, given] of Object.entries(data) as [keyof typeof fields, OtlpData | undefined][]) {
    if (given === undefined) continue
    const inner = new Message()
    for (const point of given.dataPoints) inner.bytes(1, POINTS[kind](point))
    if (given.aggregationTemporality !== undefined) inner.varint(2, given.aggregationTemporality)
    if (given.isMonotonic !== undefined) inner.varint(3, given.isMonotonic ? 1 : 0)
    message.bytes(fields[kind], inner)
  }
  return message
}

const POINTS = {
  gauge: numberPoint,
  sum: numberPoint,
  histogram: (point: OtlpPoint): Message => {
    const message = withTimes(point).fixed64(4, BigInt(point.count ?? 0))
    if (point.sum !== undefined) message.double(5, point.sum)
    if (point.bucketCounts !== undefined) message.packedFixed64(6, point.bucketCounts.map(BigInt))
    if (point.explicitBounds !== undefined) message.packedDoubles(7, point.explicitBounds)
    for (const attribute of point.attributes ?? []) message.bytes(9, keyValue(attribute))
    return withExtremes(message.varint(10, point.flags ?? 0), point, 11)
  },
  exponentialHistogram: (point: OtlpPoint): Message => {
    const message = new Message()
    for (const attribute of point.attributes ?? []) message.bytes(1, keyValue(attribute))
    message.raw(withTimes(point).finish()).fixed64(4, BigInt(point.count ?? 0))
    if (point.sum !== undefined) message.double(5, point.sum)
    message.sint(6, point.scale ?? 0).fixed64(7, BigInt(point.zeroCount ?? 0))
    for (const [field, bins] of [
      [8, point.positive],
      [9, point.negative],
    ] as const) {
      if (bins === undefined) continue
      message.bytes(
        field,
        new Message().sint(1, bins.offset ?? 0).packedVarints(2, (bins.bucketCounts ?? []).map(BigInt)),
      )
    }
    return withExtremes(message.varint(10, point.flags ?? 0), point, 12)
  },
  summary: (point: OtlpPoint): Message => {
    const message = withTimes(point)
      .fixed64(4, BigInt(point.count ?? 0))
      .double(5, point.sum ?? 0)
    for (const { quantile, value } of point.quantileValues ?? [])
      message.bytes(6, new Message().double(1, quantile).double(2, value ?? 0))
    for (const attribute of point.attributes ?? []) message.bytes(7, keyValue(attribute))
    return message.varint(8, point.flags ?? 0)
  },
}

function numberPoint(point: OtlpPoint): Message {
  const message = withTimes(point)
  if (point.asDouble !== undefined) message.double(4, Number(point.asDouble))
  if (point.asInt !== undefined) message.fixed64(6, BigInt(point.asInt))
  for (const attribute of point.attributes ?? []) message.bytes(7, keyValue(attribute))
  return message.varint(8, point.flags ?? 0)
}

function withTimes({ startTimeUnixNano, timeUnixNano }: OtlpPoint): Message {
  return new Message().fixed64(2, BigInt(startTimeUnixNano ?? 0)).fixed64(3, BigInt(timeUnixNano ?? 0))
}

function withExtremes(message: Message, { min, max }: OtlpPoint, field: number): Message {
  if (min !== undefined) message.double(field, min)
  if (max !== undefined) message.double(field + 1, max)
  return message
}

function keyValue({ key, value }: OtlpAttribute): Message {
  return (key === undefined ? new Message() : new Message().bytes(1, key)).bytes(2, anyValue(value))
}

function anyValue(value: OtlpValue): Message {
  const message = new Message()
  if (value.stringValue !== undefined) message.bytes(1, value.stringValue)
  if (value.boolValue !== undefined) message.varint(2, value.boolValue ? 1 : 0)
  if (value.intValue !== undefined) message.varint(3, BigInt(value.intValue))
  if (value.doubleValue !== undefined) message.double(4, value.doubleValue)
  if (value.arrayValue !== undefined) {
    const list = new Message()
    for (const element of value.arrayValue.values) list.bytes(1, anyValue(element))
    message.bytes(5, list)
  }
  if (value.kvlistValue !== undefined) {
    const list = new Message()
    for (const entry of value.kvlistValue.values) list.bytes(1, keyValue(entry))
    message.bytes(6, list)
  }
  if (value.bytesValue !== undefined) message.bytes(7, Buffer.from(value.bytesValue, 'base64'))
  return message
}
