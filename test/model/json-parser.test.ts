import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OBJECT_MEMBERS_MAX, parseJsonInSteps } from '../../src/model/json-parser.ts'
import { runAtOnce } from '../../src/model/steps.ts'

const parse = (text: string): unknown => runAtOnce(parseJsonInSteps(text))

function outcomeOf(read: (text: string) => unknown, text: string): unknown {
  try {
    const value = read(text)
    // Long integers are bigints here; the text of any value is the same then.
    return { text: JSON.stringify(value, (_, member) => (typeof member === 'bigint' ? Number(member) : member)) }
  } catch (error) {
    if (error instanceof SyntaxError) return 'no JSON'
    throw error
  }
}

describe('parseJsonInSteps', () => {
  it.each([
    ['', 'unexpected end at position 0'],
    ['{"a":}', 'unexpected "}" at position 5'],
    ['{"a":1,}', 'unexpected "}" at position 7'],
    ['{"a":1,\n "b" 2}', 'unexpected "2" at position 13'],
    ['[1,]', 'unexpected "]" at position 3'],
    ['[1 2]', 'unexpected "2" at position 3'],
    ['[01]', 'unexpected "0" at position 1'],
    ['nul', 'unexpected "n" at position 0'],
    ['{"a":1', 'unexpected end at position 6'],
    ['["a\nb"]', 'the string at position 1 holds a control character or an unknown escape'],
    ['["a', 'the string at position 1 does not end'],
    ['[1]😀', 'unexpected "😀" at position 3'],
    ['[1}', 'unexpected "}" at position 2'],
    ['['.repeat(300), 'nested deeper than 256 levels at position 256'],
  ])('says where %j stops being JSON', (text, message) => {
    expect(() => parse(text)).toThrow(new SyntaxError(message))
  })

  it('accepts what JSON.parse accepts, with the same values', () => {
    const pieces = fc.constantFrom(
      ...[
        '{',
        '}',
        '[',
        ']',
        ',',
        ':',
        '"',
        '"a"',
        '"\\u00e9\\n"',
        '"\\x"',
        '\\',
        '0',
        '-',
        '1.5',
        '.',
        '1e3',
        'E+',
        'true',
        'null',
        ' ',
        '\t',
        'é',
      ],
    )
    const text = fc.oneof(
      fc.json({ maxDepth: 5 }),
      fc.array(pieces, { maxLength: 12 }).map((list) => list.join('')),
      fc.tuple(fc.json(), fc.nat(40), pieces).map(([json, at, piece]) => json.slice(0, at) + piece + json.slice(at)),
    )
    fc.assert(
      fc.property(text, (given) => {
        expect(outcomeOf(parse, given)).toEqual(outcomeOf(JSON.parse, given))
      }),
      { numRuns: 5_000 },
    )
  })

  it('limits the members of one object, wherever it is', () => {
    const members = (count: number): string => Array.from({ length: count }, (_, i) => `"${i}":0`).join()
    const atLimit = `{${members(OBJECT_MEMBERS_MAX)}}`
    expect(parse(`[${atLimit},${atLimit},[],{"a":{}}]`)).toHaveLength(4)
    const longer = `{${members(OBJECT_MEMBERS_MAX)},"a":0}`
    const message = `an object has more than 65536 members at position ${atLimit.length + 6}`
    expect(() => parse(`[[{}],${longer}]`)).toThrow(new SyntaxError(message))
  })

  it.each([
    ['[1', ',2]'],
    ['[', ']'],
    ['[1,', '2]'],
    ['{', '}'],
    ['{', '"a":1}'],
    ['{"a"', ':1}'],
    ['{"a":', '1}'],
    ['{"a":1', '}'],
    ['', '5'],
    ['"a"', ''],
  ])('pauses in long white space between %s and %s', (before, after) => {
    const steps = parseJsonInSteps(before + ' \n'.repeat(500_000) + after)
    let pauseCount = 0
    let step = steps.next()
    for (; step.done !== true; step = steps.next()) pauseCount++
    expect(pauseCount).toBeGreaterThan(25)
    expect(step.value).toEqual(JSON.parse(before + after))
  })

  it('passes the elements of an array on as they are parsed', () => {
    const elements: unknown[] = []
    function* visitElement(element: unknown) {
      elements.push(element)
      yield
    }
    const steps = parseJsonInSteps('[1,[2,3],{"a":[4]}]', { visitElement })
    steps.next()
    expect(elements).toEqual([1])
    expect(runAtOnce(steps)).toEqual([])
    expect(elements).toEqual([1, [2, 3], { a: [4] }])
  })
})
