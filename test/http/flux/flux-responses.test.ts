import { expect, test } from 'vitest'
import { writeQueryCsv } from '../../../src/http/flux/flux-csv.ts'
import { writeQueryResult } from '../../../src/http/flux/flux-responses.ts'
import type { Steps } from '../../../src/model/steps.ts'
import { formatInstant, MINUTE_MS } from '../../../src/model/time.ts'
import { parseAggregation } from '../../../src/query/aggregations.ts'
import type { QueryResult, ResultGroup } from '../../../src/query/compute/result.ts'
import { metricRow } from '../../support/fake-graphql-gateway.ts'

const BUCKETS = 5_000
const NAMES = ['min', 'max'] as const

function groupOf(host: string): ResultGroup {
  const column = (offset: number) => Float64Array.from({ length: BUCKETS }, (_, bucket) => bucket / 2 + offset)
  return {
    tags: [['host', host]],
    series: undefined,
    bucketStates: new Uint8Array(BUCKETS).fill(1),
    values: new Map(NAMES.map((name, i) => [name, column(i)])),
    totals: new Map(),
  }
}

function resultOf(groups: readonly ResultGroup[], names: readonly string[]): QueryResult {
  return {
    metric: metricRow('load', 'gauge'),
    fromMs: 0,
    toMs: BUCKETS * MINUTE_MS,
    interval: '1m',
    timezone: 'UTC',
    fill: 'none',
    aggregations: names.map((name) => parseAggregation(name)!),
    startMs: Float64Array.from({ length: BUCKETS }, (_, bucket) => bucket * MINUTE_MS),
    endMs: Float64Array.from({ length: BUCKETS }, (_, bucket) => (bucket + 1) * MINUTE_MS),
    groups,
    comparison: undefined,
    meta: {
      resolutionsMs: [MINUTE_MS],
      rollupsRead: 0,
      blocksRead: 0,
      cacheHits: 0,
      isExact: true,
      bucketsUnavailable: 0,
      cost: 0,
      durationMs: 0,
      nowMs: 0,
    },
  }
}

function run<T>(steps: Steps<T>): { readonly result: T; readonly stepCount: number } {
  for (let stepCount = 1; ; stepCount++) {
    const { done, value } = steps.next()
    if (done === true) return { result: value, stepCount }
  }
}

function rows(fields: (bucket: number) => object): object[] {
  return Array.from({ length: BUCKETS }, (_, bucket) => ({
    timestamp: formatInstant(bucket * MINUTE_MS),
    ...fields(bucket),
  }))
}

test('a long result of one aggregation is written in steps', () => {
  const { result, stepCount } = run(writeQueryResult(resultOf([groupOf('a')], ['max']), 'none'))
  expect(stepCount).toBeGreaterThan(10)
  const series = rows((bucket) => ({ value: bucket / 2 + 1 }))
  expect(result).toBe(JSON.stringify({ data: { name: 'load', aggregation: 'max', interval: '1m', series } }))
})

test('a long result of groups and several aggregations is written in steps', () => {
  const { result, stepCount } = run(writeQueryResult(resultOf([groupOf('a'), groupOf('b')], NAMES), 'tags'))
  expect(stepCount).toBeGreaterThan(20)
  const series = rows((bucket) => ({ min: bucket / 2, max: bucket / 2 + 1 }))
  expect(result).toBe(JSON.stringify({ data: { groups: { a: series, b: series } } }))
})

test('a long result is written as CSV in steps', () => {
  const { result, stepCount } = run(writeQueryCsv(resultOf([groupOf('a')], ['max'])))
  expect(stepCount).toBeGreaterThan(10)
  const lines = result.split('\r\n')
  expect(lines.slice(0, 2)).toEqual(['timestamp,host=a', '1970-01-01T00:00:00Z,1'])
  expect(lines).toHaveLength(BUCKETS + 2)
})
