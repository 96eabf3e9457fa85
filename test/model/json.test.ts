import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseJson, writeJson } from '../../src/model/json.ts'
import { exactIntegerOf } from '../../src/model/json-parser.ts'

describe('JSON whose integers keep their digits', () => {
  it.each<[string, unknown]>([
    ['9007199254740991', 9007199254740991],
    ['9007199254740993', 9007199254740993n],
    ['-653247040368672769', -653247040368672769n],
    ['[1,653247040368672769 ,"653247040368672769"]', [1, 653247040368672769n, '653247040368672769']],
    [
      '{"a":"x: 1234567890123456789","b\\"\\\\":{"c":1234567890123456789}}',
      { a: 'x: 1234567890123456789', 'b"\\': { c: 1234567890123456789n } },
    ],
    ['{"a":12345678901234567890.0,"b":12345678901234567e3}', { a: 1.2345678901234567e19, b: 1.2345678901234567e19 }],
    [
      '[1234567890123456789,true,false,null,-0,1.5e3,[],{}]',
      [1234567890123456789n, true, false, null, -0, 1500, [], {}],
    ],
    [`1${'0'.repeat(400)}`, Number.POSITIVE_INFINITY],
  ])('reads %s', (text, expected) => {
    expect(parseJson(text)).toEqual(expected)
  })

  it('keeps the last of equal keys, and treats __proto__ as an ordinary key', () => {
    const value = parseJson('{"a":1,"__proto__":{"x":1234567890123456789},"a":2}')
    expect(Object.entries(value as object)).toEqual([
      ['a', 2],
      ['__proto__', { x: 1234567890123456789n }],
    ])
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  })

  it('nests as deeply as JSON.parse', () => {
    const deep = `${'[{"a":'.repeat(50_000)}1234567890123456789${'}]'.repeat(50_000)}`
    expect(writeJson(parseJson(deep))).toBe(deep)
  })

  const json = fc.jsonValue()
  it('is read and written as JSON.parse and JSON.stringify do', () => {
    fc.assert(
      fc.property(json, fc.nat(3), (value, spaces) => {
        // A long integer beside it has the text read and written the exact way.
        const text = JSON.stringify([value, 'LONG'], undefined, spaces).replace('"LONG"', '1234567890123456789')
        const written = `[${JSON.stringify(value)},1234567890123456789]`
        expect(writeJson(parseJson(text))).toBe(written)
        expect(writeJson([value, 1234567890123456789n])).toBe(written)
      }),
    )
  })

  it('reads and writes any integer without losing digits', () => {
    fc.assert(
      fc.property(fc.bigInt(-(2n ** 70n), 2n ** 70n), (integer) => {
        expect(writeJson(parseJson(`{"a":${integer}}`))).toBe(`{"a":${integer}}`)
        expect(exactIntegerOf(String(integer)).toString()).toBe(String(integer))
      }),
    )
  })

  it('is refused if it is not JSON', () => {
    for (const text of ['{"a":1234567890123456789', '01234567890123456789', '[1234567890123456789,]', ''])
      expect(() => parseJson(text)).toThrow(SyntaxError)
  })
})
