import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { ItemCache } from '../../src/model/item-cache.ts'
import type { PointSink, SeriesRef } from '../../src/model/point.ts'
import { runAtOnce } from '../../src/model/steps.ts'
import { decodeFluxItems } from '../../src/wire/flux.ts'
import { decodeFluxBatch, scanFluxBatch } from '../../src/wire/flux-batch.ts'
import { ItemScanner } from '../../src/wire/item-scanner.ts'
import { parseJsonBody } from '../../src/wire/json-body.ts'
import { DEFAULT_POINT_LIMITS } from '../support/defaults.ts'
import { createRecordingSink } from '../support/fake-gateway.ts'

const NOW_MS = Date.UTC(2024, 0, 15, 12)
const LIMITS = DEFAULT_POINT_LIMITS
const ITEMS_MAX = 20

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** What a body comes to: points, rejections, count, or the error it is refused with. */
function outcomeOf(decode: (recorder: ReturnType<typeof createRecordingSink>) => number) {
  const recorder = createRecordingSink('shop')
  try {
    const items = decode(recorder)
    return { items, points: recorder.points, errors: recorder.errors }
  } catch (error) {
    return { refused: error instanceof Error ? error.message : String(error) }
  }
}

function longWay(bytes: Uint8Array) {
  return outcomeOf(({ sink }) => decodeFluxItems(parseJsonBody(bytes), sink, NOW_MS, LIMITS, ITEMS_MAX))
}

/** Twice through the scanner with one memory; the second time its items are known. */
function scannedTwice(bytes: Uint8Array) {
  return outcomeOf((recorder) => {
    try {
      runAtOnce(decodeFluxBatch(bytes, recorder.sink, NOW_MS, LIMITS, ITEMS_MAX))
    } catch {
      // The second time says it again.
    }
    recorder.sink.restart()
    return runAtOnce(decodeFluxBatch(bytes, recorder.sink, NOW_MS, LIMITS, ITEMS_MAX))
  })
}

/** The items of a batch with these times, between two that are plain. */
function times(...texts: readonly string[]): string {
  return `[${[ITEM, ...texts.map((text) => ITEM.replace('2024-01-15T10:30:00Z', text)), ITEM].join(',')}]`
}

const ITEM = '{"name":"a","type":"gauge","value":1.5,"timestamp":"2024-01-15T10:30:00Z","tags":{"k":"v"}}'

/** The item with this unit. */
function withUnit(unit: string): string {
  return ITEM.replace(/}$/, `,"unit":${unit}}`)
}

describe('scanFluxBatch', () => {
  it.each([
    ['a wrapped batch', `{"metrics":[${ITEM},${ITEM}]}`],
    ['a bare array', `[${ITEM}]`],
    ['white space everywhere', `\n[ ${ITEM.replaceAll(':', ' : ').replaceAll(',', ' ,\t')} ]\r\n`],
    ['no items', '[]'],
    ['keys in another order', '[{"value":-0,"tags":{},"type":"counter","name":"a"}]'],
    ['a set', '[{"name":"a","type":"set","value":"user_1"}]'],
    ['UNIX times', '[{"name":"a","type":"gauge","value":1,"timestamp":1672490759.5}]'],
    ['milliseconds', '[{"name":"a","type":"gauge","value":1,"timestamp":"2024-01-15T10:30:00.123Z"}]'],
  ])('understands %s', (_, text) => {
    const { sink } = createRecordingSink('shop')
    expect(runAtOnce(scanFluxBatch(bytesOf(text), sink, NOW_MS, LIMITS, ITEMS_MAX))).toBeTypeOf('number')
    expect(scannedTwice(bytesOf(text))).toEqual(longWay(bytesOf(text)))
  })

  it.each([
    ['a trailing comma in the list', `[${ITEM},]`],
    ['a trailing comma in an item', `[${ITEM.replace(/}$/, ',}')}]`],
    ['a trailing comma in tags', '[{"name":"a","type":"gauge","value":1,"tags":{"k":"v",}}]'],
    ['something behind the list', `[${ITEM}] x`],
    ['a list that does not end', `[${ITEM}`],
    ['an item that does not end', `[${ITEM.slice(0, -1)}`],
    ['a leading zero', '[{"name":"a","type":"gauge","value":01}]'],
    ['a lone minus', '[{"name":"a","type":"gauge","value":-}]'],
    ['a point without digits', '[{"name":"a","type":"gauge","value":1.}]'],
    ['a control character in a name', '[{"name":"a\u0001","type":"gauge","value":1}]'],
    ['a number for an item', `[${ITEM},5]`],
    ['null tags', '[{"name":"a","type":"gauge","value":1,"tags":null}]'],
    ['nested tags', '[{"name":"a","type":"gauge","value":1,"tags":{"k":{"x":1}}}]'],
    ['a repeated key', '[{"name":"a","name":"b","type":"gauge","value":1}]'],
    ['escapes', '[{"name":"a\\u0062","type":"gauge","value":1,"tags":{"k\\"":"v"}}]'],
    ['an exponent', '[{"name":"a","type":"gauge","value":1e3},{"name":"a","type":"gauge","value":1E999}]'],
    ['many digits', '[{"name":"a","type":"gauge","value":0.1234567890123456789}]'],
    ['a time too far ahead', '[{"name":"a","type":"gauge","value":1,"timestamp":"2024-01-17T00:00:00Z"}]'],
    ['UNIX seconds where a date should be', times('1705276800T10:30:00Z', '1705276800T10:30:00.000Z')],
    ['white space where a date should be', times(' 024-01-15T10:30:00Z', '2024-01-1 T10:30:00Z')],
    ['white space around a time', times(' 2024-01-15T10:30:00Z', '2024-01-15T10:30:00 ', '1705276800 ', '2024-01-15 ')],
    ['zero times', times('0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z', '0001-01-01 00:00:00 +0000 UTC')],
    [
      'times of Go and of Java',
      times('2024-01-15 10:30:00.5 +0100 CET m=+0.1', '2024-01-15T10:30+01:00[Europe/Berlin]'),
    ],
    ['a fraction of many digits', times(`2024-01-15T10:30:00.${'1'.repeat(40)}Z`)],
    ['no date', '[{"name":"a","type":"gauge","value":1,"timestamp":"2024-13-15T10:30:00Z"}]'],
    ['a string for a gauge', '[{"name":"a","type":"gauge","value":"1"}]'],
    ['a number for a set', '[{"name":"a","type":"set","value":1}]'],
    [
      'more items than allowed',
      `[${Array(ITEMS_MAX + 1)
        .fill(ITEM)
        .join(',')}]`,
    ],
    ['a list twice', `{"metrics":[${ITEM}],"metrics":[]}`],
    ['__proto__', '[{"name":"__proto__","type":"gauge","value":1,"tags":{"__proto__":"x"}}]'],
  ])('makes of %s what the long way does', (_, text) => {
    expect(scannedTwice(bytesOf(text))).toEqual(longWay(bytesOf(text)))
  })

  it.each([
    ['a name', ITEM.replace('"a"', '"a?"')],
    ['a unit', withUnit('"?"')],
  ])('takes invalid UTF-8 in %s for no JSON', (_, item) => {
    const bytes = bytesOf(`[${ITEM},${withUnit('"µs"')},${item}]`)
    bytes[bytes.indexOf(0x3f)] = 0xff
    expect(scannedTwice(bytes)).toEqual(longWay(bytes))
  })

  it.each([
    ['a unit and a description', withUnit('"µs","description":"how long, [it] {took}"')],
    ['escapes in tags', ITEM.replace('"v"', String.raw`"\/v\"}\\","\u006b":"\""`)],
    ['a number of 17 digits', ITEM.replace('1.5', '-0.12345678901234567')],
    ['a number with an exponent', ITEM.replace('1.5', '1.5e-07')],
    ['an integer beyond 2^53', ITEM.replace('1.5', '12345678901234567890')],
  ])('does not parse a cached item with %s', (_, item) => {
    const bytes = bytesOf(`[${item},${item}]`)
    const recorder = createRecordingSink('shop')
    let resolvedCount = 0
    const sink: PointSink = {
      ...recorder.sink,
      resolve(...args) {
        resolvedCount++
        return recorder.sink.resolve(...args)
      },
    }
    for (let round = 0; round < 3; round++) {
      sink.restart()
      expect(runAtOnce(decodeFluxBatch(bytes, sink, NOW_MS, LIMITS, ITEMS_MAX))).toBe(2)
      expect(resolvedCount).toBe(1)
      expect({ items: 2, points: recorder.points, errors: recorder.errors }).toEqual(longWay(bytes))
    }
  })

  it.each([
    ['a control character in a unit', withUnit('"\u0001"')],
    ['a line break in a description', withUnit('"ms","description":"\n"')],
    ['an unknown escape in a unit', withUnit('"\\x"')],
    ['an escape in a unit', withUnit('"\\u006d\\""')],
    ['a unit that is a number', withUnit('1')],
    ['a unit that is null', withUnit('null')],
    ['a unit twice', withUnit('"ms","unit":"ms"')],
    ['an unknown escape in tags', ITEM.replace('"v"', '"\\x"')],
    ['a backslash outside of a string', ITEM.replace('"v"', '\\"v"')],
    ['a lone surrogate in tags', ITEM.replace('"v"', '"\\ud800"')],
    ['an exponent without digits', ITEM.replace('1.5', '1.5e')],
    ['two exponents', ITEM.replace('1.5', '1e5e5')],
    ['a leading zero of a long number', ITEM.replace('1.5', '01234567890123456789')],
    ['two minus signs', ITEM.replace('1.5', '--1')],
    ['a plus sign', ITEM.replace('1.5', '+1')],
    ['a number beyond all doubles', ITEM.replace('1.5', '1e999')],
    ['a number of 400 digits', ITEM.replace('1.5', '1'.repeat(400))],
    ['a time of many digits', ITEM.replace('"2024-01-15T10:30:00Z"', '1672490759123999999')],
  ])('makes of %s what the long way does, also if an equal item is cached', (_, item) => {
    const bytes = bytesOf(`[${ITEM},${withUnit('"ms"')},${item},${ITEM}]`)
    expect(scannedTwice(bytes)).toEqual(longWay(bytes))
  })

  it('tells series apart that differ in one byte of a tag', () => {
    const text = `[${ITEM},${ITEM.replace('"v"', '"w"')},${ITEM}]`
    expect(scannedTwice(bytesOf(text))).toEqual(longWay(bytesOf(text)))
  })

  it('makes of any body what the long way does', () => {
    const text = fc.oneof(fc.constantFrom('a', 'b', 'é', '\\u00e9', '\\"', '', 'x y'), fc.string({ maxLength: 4 }))
    const number = fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
      fc.integer({ min: -1000, max: 1000 }).map((n) => String(n / 10)),
      fc.constantFrom(
        '-0',
        '0.10',
        '1e5',
        '00',
        '1.',
        '.5',
        '-',
        '123456789012345678',
        '-123456789012345679',
        '9007199254740993',
        '12345678901234567.5',
        '1e400',
        'null',
        'true',
        '"7"',
        '1e',
        '1e5e5',
        '--1',
        '0.12345678901234567',
        '1'.repeat(40),
      ),
    )
    const time = fc.oneof(
      fc
        .date({ min: new Date(0), max: new Date(NOW_MS), noInvalidDate: true })
        .map((date) => `"${date.toISOString()}"`),
      fc.constantFrom(
        '"2024-01-15T10:30:00Z"',
        '"1705276800T10:30:00Z"',
        '"0001-01-01T00:00:00Z"',
        '1672490759',
        '1672490759123456789',
        '-62135596800',
        '1672490759.123456789012',
        '1e9',
        '"1672490759"',
        'null',
        '"no"',
        '"2024-02-30T00:00:00Z"',
        '-5',
      ),
      // Texts in the shape of an instant, with a character or two put elsewhere.
      fc
        .tuple(
          fc.constantFrom(
            '2024-01-15T10:30:00Z',
            '2024-01-15T10:30:00.000Z',
            '2024-01-15 10:30:00 +0100 CET',
            '1705276800',
            '2024-01-15',
          ),
          fc.array(fc.tuple(fc.nat(30), fc.constantFrom(...'0159TZ -:.+[]U ')), { maxLength: 2 }),
        )
        .map(([instant, changes]) => {
          const characters = [...instant]
          for (const [at, character] of changes) characters[at % characters.length] = character
          return `"${characters.join('')}"`
        }),
    )
    const type = fc.constantFrom('"gauge"', '"counter"', '"distribution"', '"set"', '"summary"', 'null')
    const tags = fc
      .array(
        fc.tuple(
          fc.constantFrom('k', 'l', '__proto__'),
          fc.oneof(
            text.map((t) => `"${t}"`),
            number,
          ),
        ),
        { maxLength: 3 },
      )
      .map((pairs) => `{${pairs.map(([key, value]) => `"${key}":${value}`).join(',')}}`)
    const field = fc.oneof(
      { weight: 4, arbitrary: fc.tuple(fc.constant('name'), fc.constantFrom('"a"', '"b"', '"é"', '""', '5')) },
      { weight: 4, arbitrary: fc.tuple(fc.constant('type'), type) },
      {
        weight: 4,
        arbitrary: fc.tuple(
          fc.constant('value'),
          fc.oneof(
            number,
            text.map((t) => `"${t}"`),
          ),
        ),
      },
      { weight: 2, arbitrary: fc.tuple(fc.constant('timestamp'), time) },
      { weight: 2, arbitrary: fc.tuple(fc.constant('tags'), tags) },
      {
        weight: 2,
        arbitrary: fc.tuple(
          fc.constantFrom('unit', 'description'),
          fc.oneof(
            number,
            text.map((t) => `"${t}"`),
          ),
        ),
      },
      { weight: 1, arbitrary: fc.tuple(fc.constantFrom('nam', 'taxi', 'uni'), number) },
    )
    const plain = fc
      .record({ type, value: number, time, tags })
      .map(
        (item) => `{"name":"a","type":${item.type},"value":${item.value},"timestamp":${item.time},"tags":${item.tags}}`,
      )
    const odd = fc
      .array(field, { maxLength: 6 })
      .map((fields) => `{${fields.map(([key, value]) => `"${key}":${value}`).join(', ')}}`)
    const body = fc
      .tuple(fc.array(fc.oneof(plain, odd), { maxLength: 5 }), fc.boolean())
      .map(([items, wrapped]) => (wrapped ? `{"metrics":[${items.join(',')}]}` : `[${items.join(' , ')}]`))
    const cut = fc.tuple(body, fc.nat(400)).map(([whole, length]) => whole.slice(0, length))
    fc.assert(
      fc.property(fc.oneof({ weight: 5, arbitrary: body }, { weight: 1, arbitrary: cut }), (whole) => {
        const bytes = bytesOf(whole)
        expect(scannedTwice(bytes)).toEqual(longWay(bytes))
      }),
      { numRuns: 12_000 },
    )
  })
})

describe('a body that would take long to scan', () => {
  const space = ' '.repeat(600_000)

  it.each([
    ['white space at its beginning', `${space}[${ITEM}]`],
    ['white space before an item', `[${ITEM},${space}${ITEM}]`],
    ['white space in an item', `[${ITEM.replace(':', `:${space}`)}]`],
    ['white space at its end', `{"metrics":[${ITEM}]${space}}`],
    ['a long name', `[${ITEM.replace('"a"', `"${'x'.repeat(600_000)}"`)}]`],
    ['a long tag', `[${ITEM.replace('"v"', `"${'x'.repeat(600_000)}"`)}]`],
    ['a long text in an unknown field', `[${ITEM.replace('{', `{"x":"${'x'.repeat(600_000)}",`)}]`],
    ['many objects in an unknown field', `[${ITEM.replace('{', `{"x":[${Array(200_000).fill('{}').join()}],`)}]`],
  ])('is parsed instead, with the same result: %s', (_, text) => {
    const { sink } = createRecordingSink('shop')
    expect(runAtOnce(scanFluxBatch(bytesOf(text), sink, NOW_MS, LIMITS, ITEMS_MAX))).toBeUndefined()
    expect(scannedTwice(bytesOf(text))).toEqual(longWay(bytesOf(text)))
  })

  it('has a number of very many digits, which are not all read', () => {
    let reads = 0
    const bytes = new Proxy(bytesOf(`[{"value":${'1'.repeat(100_000)}}]`), {
      get(target, key) {
        reads++
        return Reflect.get(target, key, target)
      },
    })
    const scanner = new ItemScanner(bytes, 'flux', 'array')
    expect(scanner.readItemsStart() && scanner.moveToNextItem(true)).toBe(true)
    expect(scanner.readItem(NOW_MS)).toBe(false)
    expect(reads).toBeLessThan(1_000)
  })

  it('pauses, also if it is mostly white space between items', () => {
    const { sink } = createRecordingSink('shop')
    const text = `[${Array(20)
      .fill(ITEM)
      .join(`,${' '.repeat(50_000)}`)}]`
    expect([...scanFluxBatch(bytesOf(text), sink, NOW_MS, LIMITS, ITEMS_MAX)].length).toBeGreaterThanOrEqual(19)
  })
})

describe('a long string', () => {
  it.each([
    ['a value', `[{"name":"a","type":"set","value":"${'x'.repeat(100_000)}"}]`],
    ['a time', `[{"name":"a","type":"gauge","value":1,"timestamp":"${'x'.repeat(100_000)}"}]`],
  ])('as %s is not read character by character', (_, text) => {
    const fromCharCode = vi.spyOn(String, 'fromCharCode')
    const { errors } = scannedTwice(bytesOf(text))
    expect(fromCharCode.mock.calls.length).toBeLessThan(1_000)
    fromCharCode.mockRestore()
    expect(errors).toHaveLength(1)
  })

  it('of as many characters as allowed is a set member', () => {
    const text = `[{"name":"a","type":"set","value":"${'x'.repeat(1_024)}"}]`
    expect(scannedTwice(bytesOf(text))).toMatchObject({ points: [{ value: 'x'.repeat(1_024) }] })
  })
})

describe('the memory of items', () => {
  it('is not spent on items of extreme length, which decode all the same', () => {
    const padded = `[{"name":"a","type":"gauge",${' '.repeat(300_000)}"value":1}]`
    expect(scannedTwice(bytesOf(padded))).toEqual(longWay(bytesOf(padded)))
    expect(scannedTwice(bytesOf(padded))).toMatchObject({ items: 1 })
  })

  it('counts what it keeps and starts anew beyond its bound', () => {
    const { sink } = createRecordingSink('shop')
    const memory = new ItemCache<SeriesRef>(20_000)
    const bounded = { ...sink, memory }
    for (let batch = 0; batch < 50; batch++) {
      const items = Array.from(
        { length: 10 },
        (_, i) => `{"name":"m${batch}.${i}",${' '.repeat(1_000)}"type":"gauge","value":1}`,
      )
      const bytes = bytesOf(`[${items.join(',')}]`)
      for (let round = 0; round < 3; round++)
        expect(runAtOnce(decodeFluxBatch(bytes, bounded, NOW_MS, LIMITS, 500))).toBe(10)
      // An item keeps its name, type and layout: some 1,600 bytes.
      expect(memory.size).toBeLessThanOrEqual(40)
    }
  })
})
