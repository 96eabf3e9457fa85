import { expect, test, vi } from 'vitest'
import { ItemCache } from '../../src/model/item-cache.ts'
import { findMetricInputs } from '../../src/wire/metric-input-scanner.ts'

const ITEM = '{"name":"a","type":"GAUGE","value":1.5,"timestamp":"2024-01-15T10:30:00Z","tags":{"k":"v"}}'
const INPUTS_MAX = 3

/** The variable and the text of the list that is found in a body. */
function find(body: string) {
  const bytes = Buffer.from(body)
  const range = findMetricInputs(bytes, new ItemCache(0), INPUTS_MAX)
  if (range === undefined) return undefined
  const { variable, start, end, inputCount } = range
  return { variable, text: bytes.subarray(start, end).toString(), inputCount }
}

/** The number of inputs in a list that is the only variable. */
function countInputs(list: string): number | undefined {
  return find(`{"query":"q","variables":{"m":${list}}}`)?.inputCount
}

test.each([
  ['one input', `[${ITEM}]`, 1],
  ['as many inputs as allowed', `[${ITEM},${ITEM},${ITEM}]`, 3],
  ['white space everywhere', `[ ${ITEM.replaceAll(':', ' : ').replaceAll(',', '\n,\t').replaceAll('}', ' }')}\r\n]`, 1],
  ['all fields, in another order', '[{"description":"d","unit":null,"tags":null,"value":1,"type":"SET","name":""}]', 1],
  ['a name and a type alone', '[{"name":"a","type":"DISTRIBUTION"}]', 1],
  ['values and times of other types', '[{"name":"a","type":"COUNTER","value":true,"timestamp":null}]', 1],
  ['tags of each scalar type', '[{"name":"a","type":"GAUGE","tags":{"a":1,"b":true,"c":false,"d":null,"":""}}]', 1],
  ['empty tags', '[{"name":"a","type":"GAUGE","tags":{ }}]', 1],
  ['escapes', String.raw`[{"name":"\"\\\/\b\f\n\r\té\uD800\uabcd","type":"GAUGE"}]`, 1],
  ['other characters', '[{"name":"é€😀\u007f","type":"GAUGE"}]', 1],
  ['numbers', '[{"name":"a","type":"GAUGE","tags":{"a":-0,"b":0.5e-7,"c":1E+400,"d":12345678901234567890}}]', 1],
])('a list is found: %s', (_, list, inputCount) => {
  expect(() => JSON.parse(list)).not.toThrow()
  expect(countInputs(list)).toBe(inputCount)
})

test.each([
  ['an empty list', '[]'],
  ['more inputs than allowed', `[${ITEM},${ITEM},${ITEM},${ITEM}]`],
  ['an object', ITEM],
  ['null for an input', `[${ITEM},null]`],
  ['a nested list', `[[${ITEM}]]`],
  ['an unknown field', '[{"name":"a","type":"GAUGE","colour":"red"}]'],
  ['a field that begins like another', '[{"name":"a","type":"GAUGE","val":1}]'],
  ['a field twice', '[{"name":"a","name":"b","type":"GAUGE"}]'],
  ['an escape in the name of a field', String.raw`[{"n\u0061me":"a","type":"GAUGE"}]`],
  ['no name', '[{"type":"GAUGE"}]'],
  ['no type', '[{"name":"a"}]'],
  ['an empty input', '[{}]'],
  ['a name that is null', '[{"name":null,"type":"GAUGE"}]'],
  ['a name that is a number', '[{"name":5,"type":"GAUGE"}]'],
  ['a type of REST', '[{"name":"a","type":"gauge"}]'],
  ['a type that cannot be tracked', '[{"name":"a","type":"SUMMARY"}]'],
  ['a type with an escape', String.raw`[{"name":"a","type":"GAUG\u0045"}]`],
  ['a type that is longer', '[{"name":"a","type":"SETS"}]'],
  ['a unit that is a number', '[{"name":"a","type":"GAUGE","unit":1}]'],
  ['a description that is a list', '[{"name":"a","type":"GAUGE","description":["d"]}]'],
  ['a value that is an object', '[{"name":"a","type":"GAUGE","value":{}}]'],
  ['a time that is a list', '[{"name":"a","type":"GAUGE","timestamp":[]}]'],
  ['tags that are a list', '[{"name":"a","type":"GAUGE","tags":[]}]'],
  ['tags that are a text', '[{"name":"a","type":"GAUGE","tags":"k"}]'],
  ['nested tags', '[{"name":"a","type":"GAUGE","tags":{"k":{"x":1}}}]'],
])('a valid list is not found: %s', (_, list) => {
  expect(() => JSON.parse(list)).not.toThrow()
  expect(countInputs(list)).toBeUndefined()
})

test.each([
  ['a trailing comma in the list', `[${ITEM},]`],
  ['no comma between inputs', `[${ITEM}${ITEM}]`],
  ['a trailing comma in an input', '[{"name":"a","type":"GAUGE",}]'],
  ['a trailing comma in tags', '[{"name":"a","type":"GAUGE","tags":{"k":"v",}}]'],
  ['tags with the end of a list', '[{"name":"a","type":"GAUGE","tags":{"k":1]}]'],
  ['no comma between tags', '[{"name":"a","type":"GAUGE","tags":{"k":"v" "l":"w"}}]'],
  ['no colon', '[{"name" "a","type":"GAUGE"}]'],
  ['no colon in tags', '[{"name":"a","type":"GAUGE","tags":{"k" "v"}}]'],
  ['a tag without a value', '[{"name":"a","type":"GAUGE","tags":{"k":}}]'],
  ['a tag key without quotes', '[{"name":"a","type":"GAUGE","tags":{k:1}}]'],
  ['a control character', '[{"name":"a\u0001","type":"GAUGE"}]'],
  ['a new line in a tag', '[{"name":"a","type":"GAUGE","tags":{"k":"\n"}}]'],
  ['an unknown escape', String.raw`[{"name":"\x","type":"GAUGE"}]`],
  ['an escape of three digits', String.raw`[{"name":"\u12","type":"GAUGE"}]`],
  ['an escape of other characters', String.raw`[{"name":"\u12g4","type":"GAUGE"}]`],
  ['an escape that ends the text', String.raw`[{"name":"\u00`],
  ['a backslash that ends the text', '[{"name":"\\'],
  ['a leading zero', '[{"name":"a","type":"GAUGE","value":01}]'],
  ['a plus sign', '[{"name":"a","type":"GAUGE","value":+1}]'],
  ['a lone minus', '[{"name":"a","type":"GAUGE","value":-}]'],
  ['a point without digits', '[{"name":"a","type":"GAUGE","value":1.}]'],
  ['a point at the beginning', '[{"name":"a","type":"GAUGE","value":.5}]'],
  ['an exponent without digits', '[{"name":"a","type":"GAUGE","value":1e+}]'],
  ['a word', '[{"name":"a","type":"GAUGE","value":nul}]'],
  ['a longer word', '[{"name":"a","type":"GAUGE","value":nullx}]'],
  ['a name without an end', '[{"name":"a'],
  ['an input without an end', '[{"name":"a","type":"GAUGE"'],
  ['a list without an end', `[${ITEM}`],
])('no JSON is found: %s', (_, list) => {
  expect(() => JSON.parse(list)).toThrow()
  const body = `{"query":"q","variables":{"m":${list}`
  expect(find(body)).toBeUndefined()
  expect(find(`${body}}}`)).toBeUndefined()
})

test.each([
  ['variables first', `{"variables":{"m":[${ITEM}]},"query":"q"}`],
  ['white space', ` {\n"query" : "q" , "variables" : { "m" : [${ITEM}] } } `],
  ['an escape and brackets in the document', `{"query":"{ a(b: \\"]}\\\\\\") }","variables":{"m":[${ITEM}]}}`],
  ['other members of each type', `{"a":null,"b":-1.5,"c":{"d":[{}]},"e":[],"f":true,"variables":{"m":[${ITEM}]}}`],
  ['other variables before', `{"variables":{"a":1,"b":"[","c":[${ITEM},5],"d":{"variables":[]},"m":[${ITEM}],"e":5}}`],
  ['a second list', `{"variables":{"m":[${ITEM}],"n":[${ITEM}]}}`],
])('the list is found in a body with %s', (_, body) => {
  expect(find(body)).toEqual({ variable: 'm', text: `[${ITEM}]`, inputCount: 1 })
})

const members = (count: number): string => Array<string>(count).fill('"a":[]').join()
const tags = (count: number): string => Array<string>(count).fill('"k":1').join()

test.each([
  ['many variables', `{"variables":{${members(99)},"m":[${ITEM}]}}`],
  ['many members', `{${members(99)},"variables":{"m":[${ITEM}]}}`],
  ['many tags', `{"variables":{"m":[{"name":"a","type":"GAUGE","tags":{${tags(100)}}}]}}`],
])('the list is found in a body with %s', (_, body) => {
  expect(find(body)?.variable).toBe('m')
})

test.each([
  ['too many variables before', `{"variables":{${members(100)},"m":[${ITEM}]}}`],
  ['too many members before', `{${members(100)},"variables":{"m":[${ITEM}]}}`],
  ['too many tags', `{"variables":{"m":[{"name":"a","type":"GAUGE","tags":{${tags(101)}}}]}}`],
])('a body is not searched to its end: %s', (_, body) => {
  expect(find(body)).toBeUndefined()
})

test('the only key that is decoded is the name of the variable', () => {
  const decode = vi.spyOn(TextDecoder.prototype, 'decode')
  expect(find(`{"query":"q","variables":{${members(50)},"m":[${ITEM}]}}`)?.variable).toBe('m')
  expect(decode).toHaveBeenCalledTimes(1)
  decode.mockRestore()
})

test.each([
  ['no object', `[${ITEM}]`],
  ['nothing', ''],
  ['no variables', `{"query":"q","m":[${ITEM}]}`],
  ['variables in another object', `{"extensions":{"variables":{"m":[${ITEM}]}}}`],
  ['a list as variables', `{"variables":[${ITEM}]}`],
  ['a list in a variable', `{"variables":{"a":{"m":[${ITEM}]}}}`],
  ['a byte-order mark', `\ufeff{"variables":{"m":[${ITEM}]}}`],
])('no list is found in a body with %s', (_, body) => {
  expect(find(body)).toBeUndefined()
})
