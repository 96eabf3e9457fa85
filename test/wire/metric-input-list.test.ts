import { expect, test } from 'vitest'
import { ItemCache } from '../../src/model/item-cache.ts'
import { writeJson } from '../../src/model/json.ts'
import type { PointSink, SeriesRef } from '../../src/model/point.ts'
import { runAtOnce } from '../../src/model/steps.ts'
import { decodeFluxBatch } from '../../src/wire/flux-batch.ts'
import { MetricInputList } from '../../src/wire/metric-input-list.ts'
import { findMetricInputs } from '../../src/wire/metric-input-scanner.ts'
import { DEFAULT_POINT_LIMITS } from '../support/defaults.ts'
import { createRecordingSink } from '../support/fake-gateway.ts'

const NOW_MS = Date.UTC(2024, 0, 15, 12)
const LIMITS = DEFAULT_POINT_LIMITS

/** The list of a body, as it is found with this item cache. */
function listOf(itemCache: ItemCache<SeriesRef>, bytes: Buffer): MetricInputList {
  const range = findMetricInputs(bytes, itemCache, 10)
  if (range === undefined) throw new Error('no list is found')
  return new MetricInputList(bytes, range, itemCache)
}

function bodyOf(...inputs: readonly string[]): Buffer {
  return Buffer.from(`{"variables":{"m":[${inputs.join(',')}]}}`)
}

/** Delivers bodies to one sink, and counts how often it resolves a series. */
function createDelivery() {
  const { sink, points, errors } = createRecordingSink('shop')
  let resolvedCount = 0
  const countingSink: PointSink = {
    ...sink,
    resolve(...args) {
      resolvedCount++
      return sink.resolve(...args)
    },
  }
  return {
    sink: countingSink,
    points,
    errors,
    deliver(...inputs: readonly string[]) {
      sink.restart()
      resolvedCount = 0
      listOf(sink.itemCache, bodyOf(...inputs)).deliver(countingSink, NOW_MS, LIMITS)
      return { points: [...points], errors: [...errors], resolvedCount }
    },
  }
}

const inputOf = (name: string, value: string | number = 1, more = ''): string =>
  `{"name":"${name}","type":"GAUGE","value":${value},"tags":{"k":"v"}${more}}`

test('inputs have the fields in the order of the schema, types as they are stored, and all digits', () => {
  const input = '{"unit":"ms","tags":{"id":12345678901234567890},"value":null,"type":"SET","name":"a"}'
  expect(writeJson(listOf(new ItemCache(0), bodyOf(input)).coerce())).toBe(
    '[{"name":"a","type":"set","value":null,"tags":{"id":12345678901234567890},"unit":"ms"}]',
  )
})

test('a list delivers the same when its inputs are cached, and when it was coerced before', () => {
  const { sink, points, errors, deliver } = createDelivery()
  const inputs = [
    '{"name":"a","type":"GAUGE","value":1.5,"tags":{"k":"v"},"timestamp":"2024-01-15T10:30:00Z"}',
    '{"name":"a","type":"GAUGE","value":"1.5"}',
    '{"name":"\\u0061","type":"COUNTER","value":2,"unit":"ms"}',
    '{"name":"s","type":"SET","value":"m"}',
  ]
  const first = deliver(...inputs)
  expect(first.points.map(({ index }) => index)).toEqual([0, 2, 3])
  expect(first.points.map(({ type }) => type)).toEqual(['gauge', 'counter', 'set'])
  expect(first.errors.map(({ index }) => index)).toEqual([1])
  for (let round = 0; round < 3; round++) expect(deliver(...inputs)).toMatchObject({ ...first, resolvedCount: 1 })
  const coerced = listOf(sink.itemCache, bodyOf(...inputs))
  coerced.coerce()
  sink.restart()
  coerced.deliver(sink, NOW_MS, LIMITS)
  expect({ points, errors }).toEqual({ points: first.points, errors: first.errors })
})

test('inputs in the order of an earlier list are delivered from the item cache, and not read again', () => {
  const { sink, points, deliver } = createDelivery()
  const inputs = ['a', 'b', 'c'].map((name) => inputOf(name))
  for (let round = 0; round < 3; round++) deliver(...inputs)
  const bytes = bodyOf(...inputs)
  const list = listOf(sink.itemCache, bytes)
  bytes.fill(0)
  sink.restart()
  list.deliver(sink, NOW_MS, LIMITS)
  expect(points.map(({ name }) => name)).toEqual(['a', 'b', 'c'])
  const changed = [inputOf('a', 2), inputOf('b', '-0.12345678901234568'), inputOf('c', 4)]
  expect(deliver(...changed)).toMatchObject({
    points: [
      { name: 'a', value: 2, timeMs: NOW_MS },
      { name: 'b', value: -0.12345678901234568, timeMs: NOW_MS },
      { name: 'c', value: 4, timeMs: NOW_MS },
    ],
    resolvedCount: 0,
  })
  // Another order, a new input, and another beginning.
  for (const others of [inputs.toReversed(), [...inputs, inputOf('d')], [inputOf('e'), ...inputs]]) {
    deliver(...others)
    expect(points.map(({ name }) => name)).toEqual(others.map((input) => JSON.parse(input).name))
  }
})

test('an input of the item cache that is invalid is rejected by index, and the others are delivered once', () => {
  const { deliver } = createDelivery()
  const inputs = ['a', 'b', 'c'].map((name) => inputOf(name, 1, ',"timestamp":1705314600'))
  for (let round = 0; round < 3; round++) deliver(...inputs)
  const [a, b, c] = inputs as [string, string, string]
  for (const invalid of [
    b.replace(':1,', ':1e999,'),
    b.replace(':1,', ':"1",'),
    b.replace('1705314600', '1905314600'),
  ]) {
    const { points, errors } = deliver(a, invalid, c)
    expect(points.map(({ name }) => name)).toEqual(['a', 'c'])
    expect(errors.map(({ index }) => index)).toEqual([1])
  }
})

test('a list that is invalid is not found, also if all its inputs are cached', () => {
  const { sink, deliver } = createDelivery()
  const inputs = ['a', 'b'].map((name) => inputOf(name))
  for (let round = 0; round < 3; round++) deliver(...inputs)
  const body = bodyOf(...inputs).toString()
  const find = (text: string) => findMetricInputs(Buffer.from(text), sink.itemCache, 2)
  expect(find(body)?.cachedInputs).toHaveLength(2)
  for (const invalid of [
    body.replace('[{', '[['),
    body.replace('[{', '[ '),
    body.replace('},{', '}{'),
    body.replace('},{', '},,{'),
    body.replace('},{', '},['),
    body.replace('}]', '},]'),
    body.replace('}]', '}'),
    body.replaceAll(':1,', ':01,'),
    body.replaceAll(':1,', ':,'),
    body.replaceAll('GAUGE', 'gauge'),
  ])
    expect(find(invalid)).toBeUndefined()
  expect(findMetricInputs(Buffer.from(body), sink.itemCache, 1)).toBeUndefined()
})

test('series are resolved again if the item cache was replaced, or if no points can be added to them', () => {
  const { sink, points, deliver } = createDelivery()
  const inputs = ['a', 'b'].map((name) => inputOf(name))
  for (let round = 0; round < 3; round++) deliver(...inputs)
  const list = listOf(sink.itemCache, bodyOf(...inputs))
  for (const changed of [{ itemCache: new ItemCache<SeriesRef>(1_000) }, { canAddTo: () => false }]) {
    sink.restart()
    const names: string[] = []
    const resolve: PointSink['resolve'] = (name, ...more) => {
      names.push(name)
      return sink.resolve(name, ...more)
    }
    list.deliver({ ...sink, ...changed, resolve }, NOW_MS, LIMITS)
    expect(names).toEqual(['a', 'b'])
    expect(points).toHaveLength(2)
  }
})

test('a list that was coerced does not read its bytes again', () => {
  const { sink, points } = createDelivery()
  const bytes = bodyOf(inputOf('a'))
  const list = listOf(sink.itemCache, bytes)
  const inputs = list.coerce()
  bytes.fill(0)
  list.deliver(sink, NOW_MS, LIMITS)
  expect(points).toMatchObject([{ name: 'a', value: 1 }])
  expect(list.coerce()).toBe(inputs)
})

test('neither API accepts the types of the other, also if the item cache has an equal item', () => {
  const { sink, points, errors, deliver } = createDelivery()
  const input = inputOf('a')
  const item = input.replace('GAUGE', 'gauge')
  const deliverByRest = (text: string) => {
    sink.restart()
    runAtOnce(decodeFluxBatch(Buffer.from(`[${text},${text}]`), sink, NOW_MS, LIMITS, 10))
  }
  for (let round = 0; round < 3; round++) {
    expect(deliver(input, input).points).toHaveLength(2)
    deliverByRest(input)
    expect(errors.map(({ code }) => code)).toEqual(['invalid_type', 'invalid_type'])
    deliverByRest(item)
    expect(points).toHaveLength(2)
    expect(() => listOf(sink.itemCache, bodyOf(item, item))).toThrow('no list')
  }
})
