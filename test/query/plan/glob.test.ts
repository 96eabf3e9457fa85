import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileGlob } from '../../../src/query/plan/glob.ts'

describe('compileGlob', () => {
  it.each([
    ['', ['']],
    ['*', ['', 'a', 'a/b', '💧']],
    ['?', ['a', '*', '💧']],
    ['/users', ['/users']],
    ['/users/*', ['/users/', '/users/1', '/users/1/orders']],
    ['/users/*/orders', ['/users/1/orders', '/users//orders', '/users/a/b/orders']],
    ['*.json', ['.json', 'a.json', '.json.json']],
    ['a?c*', ['abc', 'a*cd']],
    [String.raw`\*`, ['*']],
    [String.raw`a\\b`, ['a\\b']],
    ['a\\', ['a\\']],
    ['[a-z]', ['[a-z]']],
    ['.', ['.']],
    ['ab*ba', ['abba', 'abcba']],
  ])('%s fits %j', (pattern, texts) => {
    for (const text of texts) expect(compileGlob(pattern)(text), text).toBe(true)
  })

  it.each([
    ['', ['a']],
    ['?', ['', 'ab', '💧💧']],
    ['/users', ['/users/', ' /users', '/Users']],
    ['/users/*/orders', ['/users/orders', '/users/1/orders/2']],
    [String.raw`\*`, ['a', '', '**']],
    ['ab*ba', ['aba', 'ab']],
    ['.', ['a']],
  ])('%s does not fit %j', (pattern, texts) => {
    for (const text of texts) expect(compileGlob(pattern)(text), text).toBe(false)
  })

  it('agrees with a regular expression of the same meaning, over word boundaries of its state too', () => {
    const piece = fc.constantFrom('a', 'b', '?', '*', 'a', 'b', '\\*', '\\?', '\\\\', '💧')
    const text = fc
      .array(fc.constantFrom('a', 'b', 'a', '*', '?', '\\', '💧'), { maxLength: 120 })
      .map((parts) => parts.join(''))
    const pieces = fc.array(piece, { maxLength: 100 })
    fc.assert(
      fc.property(pieces, text, fc.boolean(), (parts, randomText, derived) => {
        const source = parts.map((part) =>
          part === '*' ? '[^]*' : part === '?' ? '[^]' : part.startsWith('\\') ? `\\${part[1]}` : part,
        )
        // Few random texts fit, so some are made from the pattern.
        const own = parts.map((part) => (part === '*' ? randomText.slice(0, 3) : part.replace(/^\\/, ''))).join('')
        const subject = derived ? own : randomText
        expect(compileGlob(parts.join(''))(subject)).toBe(new RegExp(`^(?:${source.join('')})$`, 'u').test(subject))
      }),
      { numRuns: 300 },
    )
  })

  it('takes no longer for patterns that make backtracking slow', () => {
    const matches = compileGlob(`${'a*'.repeat(120)}b`)
    expect(matches('a'.repeat(100_000))).toBe(false)
    expect(matches(`${'a'.repeat(100_000)}b`)).toBe(true)
  })
})
