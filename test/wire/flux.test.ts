import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { reject } from '../../src/model/point.ts'
import { decodeFluxItem, decodeFluxItems } from '../../src/wire/flux.ts'
import { DEFAULT_POINT_LIMITS } from '../support/defaults.ts'
import { createRecordingSink } from '../support/fake-gateway.ts'

const NOW_MS = Date.UTC(2024, 0, 15, 12)
const LIMITS = DEFAULT_POINT_LIMITS

function decodeOne(item: unknown, refuse?: Parameters<typeof createRecordingSink>[1]) {
  const { sink, points, errors } = createRecordingSink('shop', refuse)
  return { tracked: decodeFluxItem(item, 7, sink, NOW_MS, LIMITS), points, errors }
}

function decodeMany(body: unknown, itemsMax = 500) {
  const recorder = createRecordingSink('shop')
  return { ...recorder, decode: () => decodeFluxItems(body, recorder.sink, NOW_MS, LIMITS, itemsMax) }
}

describe('decodeFluxItem', () => {
  it('delivers a point with its tags as text and answers it', () => {
    const { tracked, points, errors } = decodeOne({
      name: 'api.response_time',
      type: 'distribution',
      value: 145.2,
      timestamp: '2024-01-15T12:30:00+02:00',
      tags: { endpoint: '/users', status: 200, cached: false, region: null },
      unknown: 'ignored',
    })
    const timeMs = Date.UTC(2024, 0, 15, 10, 30)
    expect(tracked).toMatchObject({ name: 'api.response_time', type: 'distribution', value: 145.2, timeMs })
    expect(points).toEqual([
      {
        project: 'shop',
        index: 7,
        name: 'api.response_time',
        type: 'distribution',
        tags: [
          ['endpoint', '/users'],
          ['status', '200'],
          ['cached', 'false'],
        ],
        timeMs,
        how: 'add',
        value: 145.2,
      },
    ])
    expect(errors).toEqual([])
  })

  it('adds counters as deltas, negative ones too, and set members as members', () => {
    expect(decodeOne({ name: 'n', type: 'counter', value: -3 }).points[0]).toMatchObject({ how: 'add', value: -3 })
    expect(decodeOne({ name: 'n', type: 'set', value: 'u1' }).points[0]).toMatchObject({
      how: 'addMember',
      value: 'u1',
    })
  })

  it.each([[{}], [{ timestamp: null }]])('takes now as the time of an item with %j', (fields) => {
    expect(decodeOne({ name: 'n', type: 'gauge', value: 1, ...fields }).tracked?.timeMs).toBe(NOW_MS)
  })

  const good = { name: 'n', type: 'gauge', value: 1 }
  it.each([
    ['missing_name', {}],
    ['missing_name', { ...good, name: 5 }],
    ['missing_name', { ...good, name: 'x'.repeat(256) }],
    ['invalid_type', { name: 'n', value: 'x' }],
    ['invalid_type', { ...good, type: 'GAUGE' }],
    ['invalid_type', { ...good, type: 'histogram' }],
    ['invalid_value', { name: 'n', type: 'gauge' }],
    ['invalid_value', { ...good, value: null }],
    ['invalid_value', { ...good, value: '1' }],
    ['invalid_value', { ...good, value: Number.POSITIVE_INFINITY }],
    ['invalid_value', { ...good, type: 'set', value: 1 }],
    ['invalid_timestamp', { ...good, timestamp: 'soon', tags: 5 }],
    ['invalid_timestamp', { ...good, timestamp: NOW_MS + 25 * 3_600_000 }],
    ['invalid_tags', { ...good, tags: 'a:b' }],
    ['invalid_tags', { ...good, tags: { a: {} } }],
    ['invalid_body', null],
    ['invalid_body', 'metric'],
    ['invalid_body', [good]],
  ])('rejects as %s the first thing wrong with %j', (code, item) => {
    const { tracked, points, errors } = decodeOne(item)
    expect(tracked).toBeUndefined()
    expect(points).toEqual([])
    expect(errors).toEqual([{ index: 7, code, message: expect.any(String) }])
  })

  it.each<[string, object]>([
    ['name has more than 255 characters', { ...good, name: 'x'.repeat(1e6) }],
    ['value has more than 1024 characters', { ...good, type: 'set', value: '😀'.repeat(1_025) }],
    ['value of tag "k" has more than 256 characters', { ...good, tags: { k: 'x'.repeat(257) } }],
    [
      'there are more than 32 tags',
      { ...good, tags: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [i, 1])) },
    ],
    ['tags must be an object of strings, not bytes', { ...good, tags: new Uint8Array([0xff, 1]) }],
  ])('rejects an item because %s', (message, item) => {
    expect(decodeOne(item).errors).toMatchObject([{ message }])
  })

  it('reads no more tags than one above the limit', () => {
    let reads = 0
    const tags = new Proxy(Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`k${i}`, 'v'])), {
      get(target, key, receiver) {
        reads++
        return Reflect.get(target, key, receiver)
      },
    })
    expect(decodeOne({ ...good, tags }).errors).toMatchObject([{ code: 'invalid_tags' }])
    expect(reads).toBeLessThanOrEqual(LIMITS.tagsMax + 1)
  })

  it('passes on why the sink refuses a series', () => {
    const { tracked, points, errors } = decodeOne(good, () => reject('type_conflict', 'n is a counter'))
    expect(tracked).toBeUndefined()
    expect(points).toEqual([])
    expect(errors).toEqual([{ index: 7, code: 'type_conflict', message: 'n is a counter' }])
  })

  it('takes __proto__ as name, tag key and tag value like any other', () => {
    const item = JSON.parse('{"name":"__proto__","type":"counter","value":1,"tags":{"__proto__":"__proto__"}}')
    expect(decodeOne(item).points[0]).toMatchObject({ name: '__proto__', tags: [['__proto__', '__proto__']] })
  })

  it('reads no field from a prototype that a body tries to set', () => {
    const item = JSON.parse('{"__proto__":{"name":"n","type":"gauge","value":1}}')
    expect(decodeOne(item).errors).toMatchObject([{ code: 'missing_name' }])
  })

  it('delivers or rejects any JSON exactly once and never throws', () => {
    const field = fc.oneof(fc.jsonValue(), fc.constantFrom('gauge', 'set', 'counter', 'n', 1, NOW_MS))
    const item = fc.oneof(
      fc.jsonValue(),
      fc.record({ name: field, type: field, value: field, timestamp: field, tags: field }, { requiredKeys: [] }),
    )
    fc.assert(
      fc.property(item, (candidate) => {
        const { tracked, points, errors } = decodeOne(candidate)
        expect(points.length + errors.length).toBe(1)
        expect(tracked === undefined).toBe(errors.length === 1)
      }),
    )
  })
})

describe('decodeFluxItems', () => {
  const good = { name: 'n', type: 'gauge', value: 1 }

  it.each([
    ['an envelope', { metrics: [good, good] }],
    ['a bare array', [good, good]],
  ])('delivers the items of %s', (_shape, body) => {
    const { decode, points } = decodeMany(body)
    expect(decode()).toBe(2)
    expect(points.map(({ index }) => index)).toEqual([0, 1])
  })

  it('delivers the good items and rejects the bad ones by index', () => {
    const { decode, points, errors } = decodeMany([good, 5, { ...good, name: '' }, good])
    expect(decode()).toBe(4)
    expect(points.map(({ index }) => index)).toEqual([0, 3])
    expect(errors.map(({ index, code }) => [index, code])).toEqual([
      [1, 'invalid_body'],
      [2, 'missing_name'],
    ])
  })

  it('counts an empty array as no items', () => {
    expect(decodeMany({ metrics: [] }).decode()).toBe(0)
  })

  it.each([[null], [5], ['x'], [{}], [{ metrics: {} }], [{ metrics: null }]])('refuses %j as invalid_body', (body) => {
    expect(decodeMany(body).decode).toThrow(expect.objectContaining({ code: 'invalid_body' }))
  })

  it('delivers nothing of a batch that is too large', () => {
    const { decode, points, errors } = decodeMany(Array(4).fill(good), 3)
    expect(decode).toThrow(expect.objectContaining({ code: 'batch_too_large', details: { max: 3 } }))
    expect([...points, ...errors]).toEqual([])
  })
})
