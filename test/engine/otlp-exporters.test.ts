import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import { OTLPMetricExporter as JsonExporter } from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPMetricExporter as ProtobufExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  AggregationTemporality,
  AggregationType,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { documented } from '../support/documented.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { ask, PROJECT } from './harness.ts'

/** The exporters of OpenTelemetry as npm has them, with every instrument of the SDK. */

let gateway: TestGateway
beforeAll(async () => {
  gateway = await startGateway()
})
afterAll(() => gateway.close())

const EXPORTERS = { JSON: JsonExporter, protobuf: ProtobufExporter }
const TEMPORALITIES = { delta: AggregationTemporality.DELTA, cumulative: AggregationTemporality.CUMULATIVE }

const cases = (Object.keys(EXPORTERS) as (keyof typeof EXPORTERS)[]).flatMap((encoding) =>
  (Object.keys(TEMPORALITIES) as (keyof typeof TEMPORALITIES)[]).map((name) => [encoding, name] as const),
)

/** Exponential: 10 ms to 10 s, as latencies are. */
const latencies = (from: number) =>
  Array.from({ length: 500 }, (_, i) => 0.01 * 1_000 ** ((((i + from) * 7) % 1_000) / 1_000))

describe.each(cases)('the %s exporter with %s temporality', (encoding, temporality) => {
  it('delivers every instrument', async () => {
    const service = `${encoding}-${temporality}`
    const exporter = new EXPORTERS[encoding]({
      url: `${gateway.url}/v1/metrics`,
      headers: { authorization: `Bearer ${gateway.key}` },
      temporalityPreference: TEMPORALITIES[temporality],
    })
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
    const provider = new MeterProvider({
      resource: resourceFromAttributes({ 'service.name': service, 'service.instance.id': 'a' }),
      readers: [reader],
      views: [
        {
          instrumentName: 'otel.exponential',
          aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM, options: { recordMinMax: true } },
        },
      ],
    })
    const meter = provider.getMeter('test', '1.0')
    const counter = meter.createCounter('otel.counter')
    const upDown = meter.createUpDownCounter('otel.updown')
    const gauge = meter.createGauge('otel.gauge', { unit: 'Cel' })
    const histogram = meter.createHistogram('otel.histogram', { advice: { explicitBucketBoundaries: [0.1, 1, 5] } })
    const exponential = meter.createHistogram('otel.exponential')
    let observed = 0
    meter.createObservableCounter('otel.observed').addCallback((result) => result.observe((observed += 10)))
    meter.createObservableUpDownCounter('otel.observed.updown').addCallback((result) => result.observe(-observed))
    meter.createObservableGauge('otel.observed.gauge').addCallback((result) => result.observe(observed / 4))

    const all: number[] = []
    for (let round = 0; round < 2; round++) {
      counter.add(3, { route: '/a' })
      counter.add(4.5, { route: '/b' })
      upDown.add(round === 0 ? 10 : -4)
      gauge.record(20 + round)
      for (const value of latencies(round * 500)) {
        histogram.record(value)
        exponential.record(value)
        all.push(value)
      }
      // The clock of the SDK has milliseconds, and a total in the millisecond of its start counts nothing.
      if (round === 0) await setTimeout(2)
      await provider.forceFlush()
    }
    await provider.shutdown()
    all.sort((a, b) => a - b)

    const number = async (metric: string, aggregation: string, more: Record<string, string> = {}) => {
      const selected = { 'service.name': service, 'service.instance.id': 'a', ...more }
      const tags = new Map(Object.entries(selected).map(([key, text]) => [key, [text]]))
      const { groups } = await ask(gateway, { metric, last: '1h', aggregations: [aggregation], tags })
      return groups[0]?.totals.get(aggregation)
    }
    expect(await number('otel.counter', 'sum', { route: '/a' })).toBe(6)
    expect(await number('otel.counter', 'sum')).toBe(15)
    // Deltas of an instrument that may go down are a counter, its total is a gauge. The SDK prefers totals for it.
    expect(await number('otel.updown', 'last')).toBe(6)
    expect(await number('otel.gauge', 'last')).toBe(21)
    expect(await number('otel.observed.gauge', 'last')).toBe(observed / 4)
    expect(await number('otel.observed.updown', 'last')).toBe(-observed)
    expect(await number('otel.observed', 'sum')).toBe(observed)

    const sum = all.reduce((total, value) => total + value, 0)
    expect(await number('otel.histogram', 'sum')).toBe(1_000)
    expect(await number('otel.histogram_count', 'sum')).toBe(1_000)
    expect(await number('otel.histogram_sum', 'sum')).toBeCloseTo(sum, 6)
    expect(await number('otel.histogram', 'sum', { upper_limit: '0.1' })).toBe(all.filter((v) => v <= 0.1).length)
    expect(await number('otel.histogram_max', 'max')).toBeCloseTo(all.at(-1)!, 9)

    expect(await number('otel.exponential', 'count')).toBe(1_000)
    expect(await number('otel.exponential', 'sum')).toBeCloseTo(sum, 6)
    expect(await number('otel.exponential', 'min')).toBeCloseTo(all[0]!, 9)
    expect(await number('otel.exponential', 'max')).toBeCloseTo(all.at(-1)!, 9)
    for (const [name, q] of [
      ['p50', 0.5],
      ['p95', 0.95],
      ['p99', 0.99],
    ] as const) {
      const exact = all[Math.round(q * 999)]!
      // Ten octaves in 160 bins: a scale of 4, so bins of 4.4 %. Ours add 1 %.
      const error = Math.abs((await number('otel.exponential', name))! - exact) / exact
      expect([name, error < 0.055]).toEqual([name, true])
    }
    const rows = await gateway.gateway.metrics(PROJECT, { search: 'otel.gauge' })
    expect(rows.map(({ unit }) => unit)).toEqual(['Cel'])
  })
})

describe('the configuration of docs/send.md', () => {
  it('sends a counter', async () => {
    const cwd = join(import.meta.dirname, '../..')
    const code = documented('opentelemetry', gateway)
    await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], { cwd })
    const tags = new Map([
      ['service.name', ['checkout']],
      ['country', ['de']],
    ])
    const { groups } = await ask(gateway, { metric: 'orders', last: '1h', aggregations: ['sum'], tags })
    expect(groups[0]?.totals.get('sum')).toBe(1)
  })
})
