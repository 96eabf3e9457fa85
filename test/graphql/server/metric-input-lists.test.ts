import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { buildSchema, coerceInputValue, type GraphQLInputType, isInputType, printType } from 'graphql'
import { expect, test, vi } from 'vitest'
import { schema } from '../../../src/graphql/schema.ts'
import { paramsOfBody } from '../../../src/graphql/server/request-params.ts'
import { ItemCache } from '../../../src/model/item-cache.ts'
import { Pacer } from '../../../src/model/pacer.ts'
import { MetricInputList } from '../../../src/wire/metric-input-list.ts'
import { NOW_MS } from '../../support/fake-graphql-gateway.ts'
import { type Harness, startGraphQL } from '../harness.ts'

/**
 * A list of metric inputs in a variable is not parsed if it is plain. A differential test: the same body with an escape
 * in the name of the variable, for which the whole body is parsed.
 */

/** A comment that makes a document long enough. Without it, the list is parsed with the body. */
const PADDING = `# ${'x'.repeat(4_096)}\n`
const LIST_ITEMS_MAX = 1_000
const ITEM = '{"name":"latency","type":"DISTRIBUTION","value":1}'
const RESULT = '{ accepted rejected errors { index code message } }'

const TRACK = `mutation ($m: [MetricInput!]!, $key: ID) { trackMetrics(metrics: $m, idempotencyKey: $key) ${RESULT} }`
const DOCUMENTS = [
  `mutation ($m: [MetricInput!]!) { trackMetrics(metrics: $m) ${RESULT} }`,
  TRACK,
  `mutation ($m: [MetricInput!]! = [{name: "d", type: GAUGE, value: 1}]) { trackMetrics(metrics: $m) ${RESULT} }`,
  `mutation ($m: [MetricInput!]!) { a: trackMetrics(metrics: $m) ${RESULT} b: trackMetrics(metrics: $m) ${RESULT} }`,
  `mutation ($m: [MetricInput!]!, $key: ID) {
    a: trackMetrics(metrics: $m) ${RESULT}
    b: trackMetrics(metrics: $m, idempotencyKey: $key) ${RESULT}
    c: trackBatch(metrics: $m, idempotencyKey: $key) { metrics ${RESULT} }
    d: trackMetrics(metrics: $m) ${RESULT}
  }`,
  `mutation ($m: [MetricInput!], $events: [EventInput!], $key: ID) {
    trackBatch(metrics: $m, events: $events, idempotencyKey: $key) { metrics ${RESULT} events ${RESULT} }
  }`,
  // Types of variables that do not accept the list as it is.
  'mutation ($m: MetricInput!) { trackMetric(input: $m) { name } }',
  `mutation ($m: [EventInput!]) { trackBatch(events: $m) { events ${RESULT} } }`,
  'mutation ($m: Tags) { trackMetric(input: {name: "a", type: GAUGE, value: 1, tags: $m}) { name tags } }',
  'mutation ($m: Tags) { trackMetric(input: {name: "a", type: GAUGE, value: 1, tags: {k: $m}}) { name tags } }',
  'mutation ($m: MetricValue) { trackMetric(input: {name: "a", type: SET, value: $m}) { name value } }',
  'mutation ($m: String!) { deleteMetric(name: $m) }',
  `mutation ($m: [MetricInput]) { trackMetrics(metrics: $m) ${RESULT} }`,
  `mutation ($m: [[MetricInput!]!]) { trackMetrics(metrics: $m) ${RESULT} }`,
  'query ($m: TagSelector) { query(metric: "latency", tags: $m) { interval } }',
  'query ($m: [TagFilter!]) { query(metric: "latency", where: $m) { interval } }',
  'subscription ($m: TagSelector) { live(metric: "latency", tags: $m) { kind } }',
  // Documents that do not use the variable.
  `mutation { trackMetrics(metrics: [{name: "d", type: GAUGE, value: 1}]) ${RESULT} }`,
  `mutation ($x: [MetricInput!]!) { trackMetrics(metrics: $x) ${RESULT} }`,
  '{ viewer { project } }',
  'mutation { trackMetrics(',
]

const text = fc.oneof(
  fc.constantFrom('a', 'é', '\\u00e9', '\\"', '\\/', '\\ud800', '', 'x y', 'latency', 'requests', '5', 'x'.repeat(300)),
  fc.string({ maxLength: 4 }).map((value) => JSON.stringify(value).slice(1, -1)),
)
const quoted = text.map((value) => `"${value}"`)
const number = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.integer({ min: -1_000, max: 1_000 }).map((n) => String(n / 10)),
  fc.constantFrom('-0', '0.10', '1e5', '1E-7', '123456789012345678', '-12345678901234567890', '1e400', '9'.repeat(400)),
)
const time = fc.oneof(
  fc.date({ min: new Date(0), max: new Date(NOW_MS), noInvalidDate: true }).map((date) => `"${date.toISOString()}"`),
  fc.constantFrom(
    '"2024-01-15T10:30:00Z"',
    '"2024-01-17T00:00:00Z"',
    '"no"',
    '1672490759',
    '1672490759123456789',
    '-5',
  ),
)
const odd = fc.constantFrom('null', 'true', 'false', '[]', '{}', '[{"a":[1]}]', '""', '"7"', '7', '{"__proto__":1}')
/** No JSON, or JSON that only some parsers accept. */
const broken = fc.constantFrom(
  '',
  '01',
  '1.',
  '-',
  '+1',
  '"a',
  '"\\x"',
  '"\u0001"',
  '{"a":1,}',
  '[1,]',
  'nul',
  "'a'",
  '\ufeff1',
)
const rarely = (common: fc.Arbitrary<string>) =>
  fc.oneof({ weight: 60, arbitrary: common }, { weight: 2, arbitrary: odd }, { weight: 1, arbitrary: broken })

const tags = fc
  .array(fc.tuple(fc.oneof(text, fc.constantFrom('k', '__proto__')), rarely(fc.oneof(quoted, number))), {
    maxLength: 3,
  })
  .map((pairs) => `{${pairs.map(([key, value]) => `"${key}":${value}`).join(',')}}`)
const type = fc.constantFrom('"GAUGE"', '"DISTRIBUTION"', '"COUNTER"', '"SET"')
const oddType = fc.constantFrom('"SUMMARY"', '"HISTOGRAM"', '"gauge"', '"GAUG\\u0045"', '"RATE"')
/** Fields with their values. Unknown and misspelt ones are rare, so that most lists are not refused. */
const fields: Readonly<Record<string, fc.Arbitrary<string>>> = {
  name: rarely(
    fc.oneof({ weight: 4, arbitrary: fc.constantFrom('"latency"', '"a"') }, { weight: 1, arbitrary: quoted }),
  ),
  type: rarely(fc.oneof({ weight: 40, arbitrary: type }, { weight: 1, arbitrary: oddType })),
  value: rarely(fc.oneof({ weight: 4, arbitrary: number }, { weight: 1, arbitrary: quoted })),
  timestamp: rarely(time),
  tags: rarely(tags),
  unit: rarely(quoted),
  description: rarely(quoted),
}
const member = (key: string) => fields[key]!.map((value) => `"${key}":${value}`)
const oddMember = fc
  .tuple(
    fc.constantFrom('colour', '__proto__', 'n\\u0061me', 'Name', '', ...Object.keys(fields)),
    fc.oneof(quoted, odd),
  )
  .map(([key, value]) => `"${key}":${value}`)
const optionalKeys = fc.subarray(Object.keys(fields).slice(2))
const input = optionalKeys.chain((keys) =>
  fc
    .tuple(
      fc.tuple(...['name', 'type', ...keys].map(member)),
      fc.oneof({ weight: 60, arbitrary: fc.constant<string[]>([]) }, { weight: 1, arbitrary: fc.tuple(oddMember) }),
      fc.constantFrom(',', ', ', '\n,'),
    )
    .chain(([members, more, comma]) =>
      fc
        .shuffledSubarray([...members, ...more], { minLength: members.length })
        .map((shuffled) => `{${shuffled.join(comma)}}`),
    ),
)
/** Most inputs repeat, as those of clients do, so that they are cached. */
const list = fc
  .array(fc.oneof({ weight: 20, arbitrary: input }, { weight: 20, arbitrary: fc.constant(ITEM) }), { maxLength: 5 })
  .map((inputs) => `[${inputs.join(' ,')}]`)
const oddList = fc.constantFrom('[null]', '[5]', '[[]]', 'null', '5', ITEM, `[${ITEM},]`, `[${ITEM}`, `[${ITEM}]]`, '')

interface Body {
  readonly document: string
  readonly list: string
  /** Members of the variables, before and after the list. */
  readonly before: string
  readonly after: string
  /** Members of the body, after the variables. */
  readonly end: string
  readonly sendsHash: boolean
}

const bodies: fc.Arbitrary<Body> = fc.record({
  document: fc.oneof(fc.constantFrom(...DOCUMENTS), fc.constantFrom(...DOCUMENTS.slice(0, 6))),
  list: fc.oneof({ weight: 20, arbitrary: list }, { weight: 1, arbitrary: oddList }),
  before: fc.constantFrom('', '', '"key":"k",', '"key":"k",', '"events":[{"name":"e"}],', '"m":5,', '"__proto__":[1],'),
  after: fc.constantFrom(
    '',
    '',
    '',
    ',"key":"k"',
    `,"x":[${ITEM}]`,
    ',"m":[]',
    ',"key":null',
    ',"other":[{"a":1}]',
    ',',
    '\ufeff',
  ),
  end: fc.constantFrom('', '', '', '', ',"operationName":"A"', ',"variables":{}', ',"variables":null', ',', '}'),
  sendsHash: fc.boolean(),
})

/** The text of a body. `name` is the variable's name, as JSON without its quotes. */
function textOf({ document, list, before, after, end, sendsHash }: Body, name: string): string {
  const query = PADDING + document
  const sha256Hash = createHash('sha256').update(query).digest('hex')
  const extensions = sendsHash ? `"extensions":{"persistedQuery":{"version":1,"sha256Hash":"${sha256Hash}"}},` : ''
  return `{${extensions}"query":${JSON.stringify(query)},"variables":{${before}"${name}":${list}${after}}${end}}`
}

async function post({ app }: Harness, payload: string | Buffer) {
  const response = await app.inject({
    method: 'POST',
    url: '/graphql',
    headers: { authorization: 'Bearer both', 'content-type': 'application/json' },
    payload,
  })
  return { status: response.statusCode, body: response.body }
}

function storedBy({ gateway, logged }: Harness) {
  return { points: gateway.points, requests: gateway.requests, tracked: gateway.tracked, logged }
}

async function variableOf(payload: string | Buffer): Promise<unknown> {
  return (await paramsOfBody(Buffer.from(payload), new ItemCache(0), LIST_ITEMS_MAX)).variables?.['m']
}

const isList = async (payload: string | Buffer): Promise<boolean> => {
  try {
    return (await variableOf(payload)) instanceof MetricInputList
  } catch {
    return false
  }
}

test('a list that is not parsed has the same results as a parsed one', async () => {
  const scanned = startGraphQL()
  const parsed = startGraphQL()
  let listCount = 0
  let storedCount = 0
  await fc.assert(
    fc.asyncProperty(fc.array(bodies, { minLength: 1, maxLength: 3 }), async (requests) => {
      for (const { points, requests: sent, tracked } of [scanned.gateway, parsed.gateway])
        for (const stored of [points, sent, tracked]) stored.length = 0
      // The second time, plain items are in the item cache.
      for (const request of [...requests, ...requests]) {
        const body = textOf(request, 'm')
        const bodyWithEscape = textOf(request, '\\u006d')
        if (await isList(body)) listCount++
        expect(await isList(bodyWithEscape)).toBe(false)
        // The position of a syntax error differs by the length of the escape.
        const withoutPosition = ({ status, body: text }: { status: number; body: string }) => ({
          status,
          body: text.replace(/position \d+/, 'position'),
        })
        expect(withoutPosition(await post(scanned, body))).toEqual(withoutPosition(await post(parsed, bodyWithEscape)))
        expect(storedBy(scanned)).toEqual(storedBy(parsed))
      }
      storedCount += scanned.gateway.points.length
      expect(scanned.logged).toEqual([])
    }),
    { numRuns: 1_000 },
  )
  // The property says little if hardly any list is scanned or stored.
  expect(listCount).toBeGreaterThan(500)
  expect(storedCount).toBeGreaterThan(500)
})

test('a list whose inputs are all cached, but one has an invalid value, is stored once', async () => {
  const harness = startGraphQL()
  const track = (...values: readonly unknown[]) => {
    const inputs = values.map((value, i) => ({ name: `m${i}`, type: 'GAUGE', value }))
    const query = PADDING + DOCUMENTS[0]
    return post(harness, JSON.stringify({ query, variables: { m: inputs } }))
  }
  await track(1, 2)
  await track(1, 2)
  harness.gateway.points.length = 0
  const { body } = await track(3, 'no number')
  expect(JSON.parse(body)).toMatchObject({
    data: { trackMetrics: { accepted: 1, rejected: 1, errors: [{ index: 1 }] } },
  })
  expect(harness.gateway.points.map(({ name, value }) => [name, value])).toEqual([['m0', 3]])
})

test('graphql-js coerces each list that is not parsed, to the same values', async () => {
  const type = schema.getType('MetricInput')
  if (!isInputType(type)) throw new Error('no such type')
  await fc.assert(
    fc.asyncProperty(list, async (inputs) => {
      const variable = await variableOf(
        textOf({ document: TRACK, list: inputs, before: '', after: '', end: '', sendsHash: false }, 'm'),
      ).catch(() => undefined)
      if (!(variable instanceof MetricInputList)) return
      const plain = variable.parse()
      expect(variable).toHaveLength(plain.length)
      const coerced = plain.map((value) => coerceInputValue(value, type satisfies GraphQLInputType))
      expect(variable.coerce()).toEqual(coerced)
    }),
    { numRuns: 2_000 },
  )
})

test('the type of metric inputs is the one that the scanner checks', () => {
  const expected = buildSchema(`
    scalar MetricValue scalar DateTime scalar Tags
    enum MetricType { GAUGE COUNTER DISTRIBUTION SET HISTOGRAM SUMMARY }
    input MetricInput {
      name: String! type: MetricType! value: MetricValue timestamp: DateTime tags: Tags unit: String description: String
    }
    type Query { a: Int }`)
  const printed = (name: string, from = schema) =>
    printType(from.getType(name)!).replaceAll(/ *"""[\s\S]*?"""\n|\n+(?=\n)/g, '')
  for (const name of ['MetricInput', 'MetricType']) expect(printed(name)).toBe(printed(name, expected))
})

const padded = (list: string): string =>
  textOf({ document: TRACK, list, before: '', after: '', end: '', sendsHash: false }, 'm')

test('only a body of moderate length is searched for a list', async () => {
  expect(await variableOf(padded(`[${ITEM}]`))).toBeInstanceOf(MetricInputList)
  expect(await variableOf(`{"query":"q","variables":{"m":[${ITEM}]}}`)).toEqual([JSON.parse(ITEM)])
  expect(await variableOf(padded(`[${' '.repeat(512 * 1_024)}${ITEM}]`))).toEqual([JSON.parse(ITEM)])
})

test('the rest of a body pauses while it is parsed, if it has a long integer', async () => {
  const pause = vi.spyOn(Pacer.prototype, 'pause')
  const rest = `,"x":[1234567890123456789,${Array(100_000).fill(1).join()}]`
  const body = textOf({ document: TRACK, list: `[${ITEM}]`, before: '', after: rest, end: '', sendsHash: false }, 'm')
  expect(await variableOf(body)).toBeInstanceOf(MetricInputList)
  expect(pause.mock.calls.length).toBeGreaterThan(50)
  pause.mockRestore()
})

test('invalid UTF-8 in a list is refused, and a byte-order mark after it is no white space', async () => {
  const bytes = Buffer.from(padded('[{"name":"?","type":"GAUGE"}]'))
  bytes[bytes.indexOf('"?"') + 1] = 0xff
  expect(await isList(bytes)).toBe(false)
  const { status, body } = await post(startGraphQL(), bytes)
  expect([status, body]).toEqual([400, expect.stringContaining('the body is not valid UTF-8')])
  expect(await isList(padded(`[${ITEM}]\ufeff`))).toBe(false)
})

test('a syntax error after a list has the position in the body', async () => {
  const payload = `${padded(`[${ITEM}]`)} x`
  const { body } = await post(startGraphQL(), payload)
  expect(body).toContain(`position ${payload.length - 1}`)
})

test('a list may be as long as the limit of lists, and no longer', async () => {
  const graphql = startGraphQL()
  const inputs = (count: number) => `[${Array(count).fill(ITEM).join()}]`
  expect(await variableOf(padded(inputs(LIST_ITEMS_MAX)))).toBeInstanceOf(MetricInputList)
  expect(await isList(padded(inputs(LIST_ITEMS_MAX + 1)))).toBe(false)
  expect((await post(graphql, padded(inputs(500)))).body).toContain('"accepted":500')
  expect((await post(graphql, padded(inputs(501)))).body).toContain('a batch may have at most 500 metrics, not 501')
  expect((await post(graphql, padded(inputs(1_001)))).body).toContain('a list may have at most 1000 items, not 1001')
  expect(graphql.gateway.points).toHaveLength(500)
})

test('a retry with an idempotency key has the same hash, whether its list is parsed or not', async () => {
  const graphql = startGraphQL()
  const before = '"key":"k",'
  const request = { document: TRACK, list: `[${ITEM}]`, before, after: '', end: '', sendsHash: false }
  await post(graphql, textOf(request, 'm'))
  await post(graphql, textOf(request, '\\u006d'))
  const [first, second] = graphql.gateway.requests
  expect(first).toBeDefined()
  expect(second).toEqual(first)
})
