import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import { runAtOnce } from '../../src/model/steps.ts'
import { decodeCombinedBatch } from '../../src/wire/flux-combined.ts'
import { findArrayMembers } from '../../src/wire/json-members.ts'
import { DEFAULT_POINT_LIMITS } from '../support/defaults.ts'
import { createRecordingSink } from '../support/fake-gateway.ts'

const NOW = Date.UTC(2024, 0, 15, 10, 30)
const LIMITS = { points: DEFAULT_POINT_LIMITS, eventBytesMax: 1_000 }
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

function decode(text: string) {
  const recorder = createRecordingSink('shop')
  try {
    const { events, decodeMetrics } = runAtOnce(decodeCombinedBatch(bytes(text), NOW, LIMITS, 3))
    const metrics = runAtOnce(decodeMetrics(recorder.sink))
    return {
      events: events.events.map(({ name }) => name),
      metrics,
      points: recorder.points.map(({ name, value }) => `${name}=${value}`),
      errors: [...events.rejected, ...recorder.errors].map(({ index, code }) => `${index} ${code}`),
    }
  } catch (error) {
    if (error instanceof GatewayError) return `${error.code}: ${error.message}`
    throw error
  }
}

const E = '{"name":"e","value":null}'
const M = '{"name":"m","type":"counter","value":-1,"tags":{"n":1}}'
const NONE = { events: [], metrics: 0, points: [], errors: [] }

describe('a combined batch', () => {
  test.each([
    [`{"events":[${E}],"metrics":[${M}]}`, { events: ['e'], metrics: 1, points: ['m=-1'], errors: [] }],
    [
      ` {\n"metrics" : [ ${M} ] , "events" : [${E}, ${E}] } `,
      { ...NONE, events: ['e', 'e'], metrics: 1, points: ['m=-1'] },
    ],
    [`{"events":[],"metrics":[]}`, NONE],
    [`{"events":null,"metrics":null}`, NONE],
    [`{}`, NONE],
    [`{"events":[${E}]}`, { ...NONE, events: ['e'] }],
    [`{"metrics":[${M},${M}],"sdk":{"events":[1]}}`, { ...NONE, metrics: 2, points: ['m=-1', 'm=-1'] }],
    // Of two members with one name JSON knows the last.
    [`{"events":[${E}],"events":[]}`, NONE],
    [
      `{"events":[{}, "]", ${E}],"metrics":[{"name":"}"}]}`,
      { ...NONE, events: ['e'], metrics: 1, errors: ['0 missing_name', '1 invalid_body', '0 invalid_type'] },
    ],
    [`{"\\u0065vents":[${E}]}`, { ...NONE, events: ['e'] }],
  ])('%s', (body, decoded) => {
    expect(decode(body)).toEqual(decoded)
  })

  test.each([
    ['', 'invalid_body: the body is empty'],
    ['[]', 'invalid_body: the body must be {"events": […], "metrics": […]}'],
    ['{"events":{}}', 'invalid_body: events must be an array'],
    ['{"metrics":{"metrics":[]}}', 'invalid_body: metrics must be an array'],
    [`{"events":[${E},${E},${E},${E}]}`, 'batch_too_large: 4 events, at most 3 are allowed in a batch'],
    [`{"metrics":[${M},${M},${M},${M}]}`, 'batch_too_large: 4 metrics, at most 3 are allowed in a batch'],
    ['{"events":[}]', 'invalid_body: the body is not valid JSON: unexpected "}" at position 11'],
    ['{"events":[],\n"metrics":[nul]}', 'invalid_body: the body is not valid JSON: unexpected "n" at position 25'],
    ['{"events":[]', 'invalid_body: the body is not valid JSON: unexpected end at position 12'],
    ['{"events":[],}', 'invalid_body: the body is not valid JSON: unexpected "}" at position 13'],
  ])('%s is refused', (body, message) => {
    expect(decode(body)).toBe(message)
  })

  test('arrays are searched only in a short body', () => {
    const body = (length: number): string => `{"events":[],"metrics":[${M}${' '.repeat(length)}]}`
    const short = body(0)
    const longest = body(512 * 1_024 - short.length)
    for (const text of [short, longest]) expect(findArrayMembers(bytes(text), ['events', 'metrics'])?.size).toBe(2)
    expect(findArrayMembers(bytes(` ${longest}`), ['events', 'metrics'])).toBeUndefined()
    expect(decode(` ${longest}`)).toEqual(decode(short))
  })

  test('arrays are found exactly where a JSON parser finds them', () => {
    const space = fc.constantFrom('', ' ', '\n\t')
    const array = fc.array(fc.jsonValue({ maxDepth: 2 }), { maxLength: 3 }).map((items) => JSON.stringify(items))
    const value = fc.oneof({ weight: 9, arbitrary: array }, { weight: 1, arbitrary: fc.json({ maxDepth: 1 }) })
    const member = fc.tuple(space, fc.constantFrom('events', 'metrics', 'other'), space, value, space)
    fc.assert(
      fc.property(fc.array(member, { maxLength: 3 }), (members) => {
        const text = `{${members.map(([a, name, b, json, c]) => `${a}"${name}"${b}:${json}${c}`).join(',')}}`
        const arrays = findArrayMembers(bytes(text), ['events', 'metrics'])
        if (arrays === undefined) return
        const found = [...arrays].map(([name, part]) => [name, JSON.parse(new TextDecoder().decode(part))])
        expect(found).toEqual(Object.entries(JSON.parse(text)))
      }),
    )
  })
})
