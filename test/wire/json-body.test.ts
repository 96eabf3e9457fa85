import { describe, expect, it, vi } from 'vitest'
import { Pacer } from '../../src/model/pacer.ts'
import { eachJsonLineItem, parseJsonBody, readJsonBody } from '../../src/wire/json-body.ts'

/** A short key, so that a text with many keys is still short enough for `JSON.parse`. */
const shortKey = (index: number): string => (index < 50_000 ? String.fromCharCode(0x100 + index) : index.toString(36))

describe('parseJsonBody', () => {
  it('keeps a key __proto__ as an ordinary own property', () => {
    const value = parseJsonBody(Buffer.from('{"__proto__":{"polluted":1}}'))
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
    expect(Object.keys(value as object)).toEqual(['__proto__'])
    expect('polluted' in {}).toBe(false)
  })

  it('reads text beyond ASCII', () => {
    expect(parseJsonBody(Buffer.from('{"name":"größe 🌡"}'))).toEqual({ name: 'größe 🌡' })
  })

  it('accepts nesting up to the limit, and brackets in strings', () => {
    const text = `${'['.repeat(256)}"${'['.repeat(300)}\\"["${']'.repeat(256)}`
    expect(JSON.stringify(parseJsonBody(Buffer.from(text)))).toBe(text)
  })

  it.each([
    ['an empty body', Buffer.alloc(0), 'the body is empty'],
    ['invalid UTF-8', Buffer.from([0x22, 0xc3, 0x28, 0x22]), 'the body is not valid UTF-8'],
    ['a surrogate in UTF-8', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'the body is not valid UTF-8'],
    [
      'malformed JSON',
      Buffer.from('{"name":"a",\n"value":}'),
      'the body is not valid JSON: unexpected "}" at position 21',
    ],
    [
      'a large body that nests deeply, before it is parsed',
      Buffer.from('['.repeat(300_000) + ']'.repeat(300_000)),
      'the body is not valid JSON: nested deeper than 256 levels at position 256',
    ],
    [
      'a small body that nests one level too deeply',
      Buffer.from(`${'['.repeat(257)}"]]]"${']'.repeat(257)}`),
      'the body is not valid JSON: nested deeper than 256 levels at position 256',
    ],
    [
      'an object with very many members',
      Buffer.from(`{${Array.from({ length: 65_537 }, (_, i) => `"${shortKey(i)}":1`).join()}}`),
      'the body is not valid JSON: an object has more than 65536 members at position 439825',
    ],
  ])('refuses %s as invalid_body', (_case, bytes, message) => {
    expect(() => parseJsonBody(bytes)).toThrow(expect.objectContaining({ code: 'invalid_body', message }))
  })
})

describe('eachJsonLineItem', () => {
  it('pauses in a long blank line', () => {
    const items: unknown[] = []
    function* visit(item: unknown) {
      items.push(item)
      yield
    }
    const text = `1\n${' '.repeat(1_000_000)}\n2`
    expect([...eachJsonLineItem(Buffer.from(text), visit)].length).toBeGreaterThan(25)
    expect(items).toEqual([1, 2])
  })
})

describe('readJsonBody', () => {
  const numbers = (count: number): string => Array<number>(count).fill(1).join()

  it.each([
    ['a short text with a long integer', '[1234567890123456789]', 0],
    ['a text that JSON.parse reads', `[${numbers(200_000)}]`, 0],
    ['a text with a long integer', `[1234567890123456789,${numbers(200_000)}]`, 100],
    ['a text with a syntax error at its end', `[${numbers(200_000)},]`, 100],
  ])('pauses often enough while it parses %s', async (_, text, pausesMin) => {
    const pause = vi.spyOn(Pacer.prototype, 'pause')
    await readJsonBody(Buffer.from(text)).catch(() => undefined)
    expect(pause.mock.calls.length).toBeGreaterThanOrEqual(pausesMin)
    if (pausesMin === 0) expect(pause).not.toHaveBeenCalled()
    pause.mockRestore()
  })
})
