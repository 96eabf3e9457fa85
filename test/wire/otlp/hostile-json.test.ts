import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { runAtOnce } from '../../../src/model/steps.ts'
import { CumulativeHistograms } from '../../../src/wire/histogram/cumulative-histograms.ts'
import { decodeOtlpJson, jsonNeedsIdempotencyKey } from '../../../src/wire/otlp/otlp-json.ts'
import { decodeOtlpProtobuf } from '../../../src/wire/otlp/otlp-protobuf.ts'
import { DEFAULT_POINT_LIMITS } from '../../support/defaults.ts'
import { createRecordingSink } from '../../support/fake-gateway.ts'
import { attributes, encodeOtlp, type OtlpRequest, type OtlpValue, requestOf } from '../../support/otlp-request.ts'

/** JSON bodies that nobody should send: each is decoded or refused by name, in short steps. */

const options = () => ({
  nowMs: Date.UTC(2024, 0, 15, 12),
  limits: DEFAULT_POINT_LIMITS,
  pointsMax: 10_000,
  configuredTagKeys: new Set<string>(),
  histogramChanges: new CumulativeHistograms(0).beginChanges('shop'),
})

const decode = (body: unknown) => decodeOtlpJson(body, createRecordingSink('shop').sink, options())

function outcomeOf(body: unknown): string {
  try {
    runAtOnce(jsonNeedsIdempotencyKey(body))
    runAtOnce(decode(body))
    return 'decoded'
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    return error.code
  }
}

const times = { startTimeUnixNano: '1700000000000000000', timeUnixNano: '1700000001000000000' }
const point = { ...times, attributes: attributes({ k: 'v' }) }
const { resourceMetrics } = requestOf(
  { name: 'g', unit: 's', gauge: { dataPoints: [{ ...point, asDouble: 1 }] } },
  { name: 's', sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: [{ ...point, asInt: '3' }] } },
  {
    name: 'h',
    histogram: {
      aggregationTemporality: 1,
      dataPoints: [{ ...point, count: '1', sum: 2, bucketCounts: ['1', '0'], explicitBounds: [2] }],
    },
  },
  {
    name: 'e',
    exponentialHistogram: {
      aggregationTemporality: 2,
      dataPoints: [{ ...point, scale: 3, zeroCount: '1', positive: { offset: 4, bucketCounts: ['1', '2'] } }],
    },
  },
  { name: 'q', summary: { dataPoints: [{ ...point, count: '1', quantileValues: [{ quantile: 0.5, value: 1 }] }] } },
)
const valid = { resourceMetrics: [{ ...resourceMetrics[0], resource: { attributes: attributes({ a: 'b' }) } }] }

type Path = readonly (string | number)[]

/** The path of every value within a value. */
function pathsIn(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path]
  const keys = Array.isArray(value) ? [...value.keys()] : Object.keys(value)
  return [path, ...keys.flatMap((key) => pathsIn((value as Record<string, unknown>)[key], [...path, key]))]
}

function hasOwn(value: unknown, key: string | number): boolean {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
}

function replaced(value: unknown, [key, ...rest]: Path, by: unknown): unknown {
  if (key === undefined) return by
  const inner = replaced((value as Record<string, unknown>)[key], rest, by)
  return Array.isArray(value) ? value.with(Number(key), inner) : { ...(value as object), [key]: inner }
}

const paths = pathsIn(valid)
const odd = fc.oneof(
  fc.constantFrom<unknown>(null, true, '', '-1', '1e400', 'NaN', '99999999999999999999', -1, 1.5, 2 ** 70, {}, []),
  fc.constantFrom<unknown>({ length: 3 }, [null], { key: 'k' }, { stringValue: 5 }, { arrayValue: { values: 3 } }),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
  fc.jsonValue({ maxDepth: 3 }),
)

describe('OTLP in JSON', () => {
  it('is decoded when it is whole', () => {
    expect(outcomeOf(valid)).toBe('decoded')
    expect(paths.length).toBeGreaterThan(90)
  })

  it('survives any value in the place of any other', () => {
    const changes = fc.array(fc.tuple(fc.constantFrom(...paths), odd), { minLength: 1, maxLength: 3 })
    const seen = new Set<string>()
    fc.assert(
      fc.property(changes, (given) => {
        let body: unknown = valid
        for (const [path, by] of given) {
          const parent = path
            .slice(0, -1)
            .reduce<unknown>((found, key) => (found as Record<string, unknown>)?.[key], body)
          if (path.length === 0 || hasOwn(parent, path.at(-1)!)) body = replaced(body, path, by)
        }
        const outcome = outcomeOf(body)
        seen.add(outcome)
        expect(['decoded', 'invalid_body']).toContain(outcome)
      }),
      { numRuns: 2_000 },
    )
    expect(seen.size).toBe(2)
  })

  it('survives any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (body) => {
        expect(['decoded', 'invalid_body']).toContain(outcomeOf(body))
      }),
    )
  })

  const list = (length: number): OtlpValue => ({ arrayValue: { values: Array(length).fill({ intValue: 1 }) } })
  const manyLists = Array.from({ length: 1_000 }, (_, i) => ({ key: `k${i}`, value: list(100) }))

  it.each<[string, unknown]>([
    ['large attributes of a resource', { resourceMetrics: [{ resource: { attributes: manyLists } }] }],
    ['large attributes of a scope', { resourceMetrics: [{ scopeMetrics: [{ scope: { attributes: manyLists } }] }] }],
    ['resources', { resourceMetrics: Array(20_000).fill({}) }],
    ['scopes', { resourceMetrics: [{ scopeMetrics: Array(20_000).fill({}) }] }],
    ['metrics', requestOf(...Array(20_000).fill({ name: 'm' }))],
    ['empty gauges', requestOf(...Array(20_000).fill({ name: 'm', gauge: { dataPoints: [] } }))],
  ])('takes many steps for many %s', (_, body) => {
    for (const running of [jsonNeedsIdempotencyKey(body), decode(body)]) {
      let steps = 0
      while (running.next().done !== true) steps++
      expect(steps).toBeGreaterThan(50)
    }
  })

  it('takes many steps for a point of many large attributes', () => {
    const running = decode(requestOf({ name: 'g', gauge: { dataPoints: [{ asInt: 1, attributes: manyLists }] } }))
    let steps = 0
    while (running.next().done !== true) steps++
    expect(steps).toBeGreaterThan(50)
  })
})

describe.each(['protobuf', 'json'] as const)('in %s,', (encoding) => {
  const decoded = (request: OtlpRequest, { sink, points, errors } = createRecordingSink('shop')) => {
    const given = { ...options(), limits: { ...DEFAULT_POINT_LIMITS, tagValueCharsMax: 100_000 } }
    const running =
      encoding === 'json' ? decodeOtlpJson(request, sink, given) : decodeOtlpProtobuf(encodeOtlp(request), sink, given)
    let steps = 0
    while (running.next().done !== true) steps++
    return { steps, tags: points.map(({ tags }) => tags), codes: errors.map(({ code }) => code) }
  }
  const gaugeOf = (value: OtlpValue) =>
    requestOf({ name: 'g', gauge: { dataPoints: [{ asInt: 1, attributes: [{ key: 'k', value }] }] } })

  it('an attribute keeps its first 4,096 values', () => {
    const values = Array.from({ length: 5_000 }, (_, i) => ({ intValue: i % 10 }))
    const text = (length: number) => Array.from({ length }, (_, i) => i % 10).join()
    expect(decoded(gaugeOf({ arrayValue: { values } })).tags).toEqual([[['k', text(4_096)]]])
    // The inner list is a value too.
    const nested = [{ arrayValue: { values } }, { stringValue: 'dropped' }]
    expect(decoded(gaugeOf({ arrayValue: { values: nested } })).tags).toEqual([[['k', text(4_095)]]])
  })

  it.each<[string, OtlpValue]>([
    ['a text', { stringValue: 'x'.repeat(1_048_577) }],
    ['a text of long characters', { stringValue: '€'.repeat(349_526) }],
    ['texts in a list', { arrayValue: { values: Array(5).fill({ stringValue: 'x'.repeat(250_000) }) } }],
    ['a key in a map', { kvlistValue: { values: [{ key: 'x'.repeat(1_048_577), value: { intValue: 1 } }] } }],
  ])('an attribute of more than a mebibyte rejects its point or, in a resource, the body: %s', (_, value) => {
    expect(decoded(gaugeOf(value)).codes).toEqual(['invalid_value'])
    const message = expect.stringContaining('an attribute has more than 1048576 bytes')
    const resource = { attributes: [{ key: 'k', value }] }
    const body = { resourceMetrics: [{ resource, scopeMetrics: [] }] }
    expect(() => decoded(body)).toThrow(expect.objectContaining({ code: 'invalid_body', message }))
  })

  it('a step ends after each point of very many series', () => {
    const bounds = Array.from({ length: 1_023 }, (_, i) => i)
    const large = { ...times, count: 1_024, bucketCounts: Array(1_024).fill(1), explicitBounds: bounds }
    const request = requestOf({ name: 'h', histogram: { aggregationTemporality: 1, dataPoints: Array(9).fill(large) } })
    expect(decoded(request).steps).toBeGreaterThanOrEqual(9)
  })
})
