import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeEvent } from '../../src/model/event.ts'
import { writeJson } from '../../src/model/json.ts'
import { runAtOnce } from '../../src/model/steps.ts'
import { decodeFluxEvent, decodeFluxEvents } from '../../src/wire/flux-events.ts'
import { DEFAULT_POINT_LIMITS } from '../support/defaults.ts'

const NOW = Date.UTC(2024, 0, 15, 10, 30)
const LIMITS = { points: DEFAULT_POINT_LIMITS, eventBytesMax: 1_000 }

const EMPTY = { user_id: null, session_id: null, environment: null, service: null, host: null, request_id: null }

function read(item: unknown) {
  const event = decodeFluxEvent(item, NOW, LIMITS)
  return 'code' in event ? event.code : decodeEvent({ id: 'i', ...event })
}

describe('an event', () => {
  test('has a name and takes its time from the gateway', () => {
    const event = { id: 'i', name: 'e', timeMs: NOW, value: null, tags: [], properties: null, ...EMPTY }
    expect(read({ name: 'e' })).toEqual(event)
    const nulls = { value: null, timestamp: null, tags: null, properties: null, ...EMPTY }
    expect(read({ name: 'e', ...nulls, color: { is: 'ignored' } })).toEqual(event)
  })

  test('is kept whole', () => {
    const properties = JSON.parse('{"a":[1,{"__proto__":null}],"200":"x","b":{"c":1e300}}')
    const texts = { user_id: 'u', session_id: 's', environment: '', service: 'é', host: 'h', request_id: 'r' }
    const item = { name: 'order.placed', value: -99.5, timestamp: '2024-01-15T11:30:00+01:00', properties, ...texts }
    expect(read({ ...item, tags: { b: 2, a: true, c: null, d: '' } })).toEqual({
      id: 'i',
      name: 'order.placed',
      timeMs: NOW,
      value: -99.5,
      tags: [
        ['a', 'true'],
        ['b', '2'],
      ],
      properties,
      ...texts,
    })
    expect(JSON.stringify((read(item) as { properties: unknown }).properties)).toBe(JSON.stringify(properties))
    expect(read({ name: 'e', tags: JSON.parse('{"__proto__":"x"}') })).toMatchObject({ tags: [['__proto__', 'x']] })
    expect(read({ name: 'e', user_id: 42 })).toMatchObject({ user_id: '42' })
  })

  const deep = (levels: number): unknown => (levels === 0 ? 1 : { a: deep(levels - 1) })
  test.each([
    [[], 'invalid_body'],
    ['e', 'invalid_body'],
    [null, 'invalid_body'],
    [{}, 'missing_name'],
    [{ name: '' }, 'missing_name'],
    [{ name: 7 }, 'missing_name'],
    [{ name: 'x'.repeat(256) }, 'missing_name'],
    [{ name: 'e', value: '1' }, 'invalid_value'],
    [{ name: 'e', value: true }, 'invalid_value'],
    [{ name: 'e', timestamp: 'soon' }, 'invalid_timestamp'],
    [{ name: 'e', timestamp: {} }, 'invalid_timestamp'],
    [{ name: 'e', timestamp: NOW + 25 * 3_600_000 }, 'invalid_timestamp'],
    [{ name: 'e', tags: ['a'] }, 'invalid_tags'],
    [{ name: 'e', tags: { a: {} } }, 'invalid_tags'],
    [{ name: 'e', properties: [] }, 'invalid_value'],
    [{ name: 'e', properties: 'a' }, 'invalid_value'],
    [{ name: 'e', properties: deep(65) }, 'invalid_value'],
    [{ name: 'e', user_id: {} }, 'invalid_value'],
    [{ name: 'e', session_id: true }, 'invalid_value'],
    [{ name: 'e', host: 'x'.repeat(257) }, 'invalid_value'],
    [{ name: 'e', service: '\ud800' }, 'invalid_value'],
    [{ name: 'e', properties: { a: 'x'.repeat(1_000) } }, 'payload_too_large'],
    [{ name: 'e', properties: { a: 'é'.repeat(500) } }, 'payload_too_large'],
  ])('%j is refused as %s', (item, code) => {
    expect(read(item)).toBe(code)
  })

  test('properties nest 64 levels, however much deeper a body is', () => {
    expect(read({ name: 'e', properties: deep(64) })).toMatchObject({ name: 'e' })
    const body = `{"name":"e","properties":{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`
    expect(read(JSON.parse(body))).toBe('invalid_value')
  })

  test('any JSON object comes back as it was', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })), (properties) => {
        const event = decodeFluxEvent({ name: 'e', properties }, NOW, { ...LIMITS, eventBytesMax: 1e6 })
        if ('code' in event) throw new Error(event.message)
        expect(writeJson(decodeEvent({ id: 'i', ...event }).properties)).toBe(JSON.stringify(properties))
        const eventBytes = Buffer.byteLength(event.json)
        const readWithin = (eventBytesMax: number) =>
          decodeFluxEvent({ name: 'e', properties }, NOW, { ...LIMITS, eventBytesMax })
        expect(readWithin(eventBytes)).toEqual(event)
        expect(readWithin(eventBytes - 1)).toMatchObject({ code: 'payload_too_large' })
      }),
    )
  })

  test('properties are not read on when they are too large', () => {
    let reads = 0
    const list = new Proxy(new Array<number>(1_000_000).fill(1), {
      get: (target, key) => {
        reads++
        return Reflect.get(target, key) as unknown
      },
    })
    expect(read({ name: 'e', properties: { a: { list } } })).toBe('payload_too_large')
    expect(reads).toBeLessThan(2 * LIMITS.eventBytesMax)
  })
})

describe('events of a batch', () => {
  test('are judged one by one', () => {
    const { events, rejected } = runAtOnce(decodeFluxEvents([{ name: 'a' }, 7, { name: 'b' }, {}], NOW, LIMITS, 4))
    expect(events.map(({ name }) => name)).toEqual(['a', 'b'])
    expect(rejected.map(({ index, code }) => [index, code])).toEqual([
      [1, 'invalid_body'],
      [3, 'missing_name'],
    ])
  })

  test('are judged in steps', () => {
    const large = { name: 'a', properties: { a: 'x'.repeat(400) } }
    for (const item of [large, { name: 'a' }, { ...large, properties: { a: 'x'.repeat(4_000) } }]) {
      const steps = decodeFluxEvents(new Array(1_000).fill(item), NOW, LIMITS, 1_000)
      let stepCount = 0
      while (steps.next().done !== true) stepCount++
      expect(stepCount).toBeGreaterThan(20)
    }
  })

  test('that are too many are refused together', () => {
    expect(() => runAtOnce(decodeFluxEvents([{}, {}], NOW, LIMITS, 1))).toThrow(
      expect.objectContaining({ code: 'batch_too_large' }),
    )
    expect(() => runAtOnce(decodeFluxEvents({}, NOW, LIMITS, 1))).toThrow(
      expect.objectContaining({ code: 'invalid_body' }),
    )
  })
})
