import fc from 'fast-check'
import { parseValue } from 'graphql'
import { expect, test } from 'vitest'
import { literalToJson } from '../../../src/graphql/types/literal.ts'
import { writeJson } from '../../../src/model/json.ts'

test('a literal becomes the same JSON as a variable would', () => {
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
      // Integers beyond 2^53 are bigints in literals.
      expect(JSON.parse(writeJson(literal))).toEqual(JSON.parse(writeJson(value)))
    }),
  )
})

/** JSON with unquoted keys. */
function asLiteral(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(asLiteral).join(' ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  return `{${Object.entries(value)
    .map(([key, item]) => `${key}: ${asLiteral(item)}`)
    .join(' ')}}`
}
