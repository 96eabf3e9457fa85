import fc from 'fast-check'
import { parse, parseValue } from 'graphql'
import { expect, test } from 'vitest'
import { DEFAULT_GRAPHQL_LIMITS } from '../../src/graphql/context.ts'
import { DocumentCache, parseDocument } from '../../src/graphql/document.ts'
import { literalToJson } from '../../src/graphql/literal.ts'

test('a document within the limits is parsed as graphql-js parses it', () => {
  const source =
    'query ($q: [Float!] = [0.5]) { a: query(metric: "m", quantiles: $q) { ...F } } fragment F on QueryResult { interval }'
  expect(parseDocument(source, { noLocation: true }, DEFAULT_GRAPHQL_LIMITS)).toEqual(
    parse(source, { noLocation: true }),
  )
})

test('the cache forgets what was used longest ago when the texts grow too long together', () => {
  const cache = new DocumentCache<number>()
  const text = (index: number) => `${index}:`.padEnd(10_000, 'x')
  for (let index = 0; index < 26; index++) cache.set(text(index), index)
  expect(cache.get(text(0))).toBe(0)
  cache.set(text(26), 26)
  expect([0, 1, 2, 26].map((index) => cache.get(text(index)))).toEqual([0, undefined, 2, 26])
})

test('setting a text again does not make it count twice', () => {
  const cache = new DocumentCache<number>()
  for (let round = 0; round < 100; round++) cache.set('x'.repeat(10_000), round)
  cache.set('other', 1)
  expect(cache.get('x'.repeat(10_000))).toBe(99)
})

test('documents that carry their data are not kept', () => {
  const cache = new DocumentCache<number>()
  const long = 'x'.repeat(20_000)
  cache.set(long, 1)
  expect(cache.get(long)).toBeUndefined()
})

test('a literal stands for the JSON that it would be as a variable', () => {
  const key = fc.stringMatching(/^[_A-Za-z][_0-9A-Za-z]{0,8}$/)
  const json = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.constant(null),
      fc.boolean(),
      fc.string(),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => (Object.is(value, -0) ? 0 : value)),
      fc.integer(),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(fc.oneof(key, fc.constant('__proto__')), tie('value'), { maxKeys: 4 }),
    ),
  })).value
  fc.assert(
    fc.property(json, (value) => {
      const literal = literalToJson(parseValue(asLiteral(value)))
      expect(JSON.parse(JSON.stringify(literal))).toEqual(JSON.parse(JSON.stringify(value)))
    }),
  )
})

/** JSON with its keys unquoted. */
function asLiteral(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(asLiteral).join(' ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  return `{${Object.entries(value)
    .map(([key, item]) => `${key}: ${asLiteral(item)}`)
    .join(' ')}}`
}
