import { brotliCompressSync, brotliDecompressSync, deflateSync, gunzipSync, gzipSync } from 'node:zlib'
import { buildClientSchema, buildSchema, getIntrospectionQuery, printSchema } from 'graphql'
import { beforeEach, describe, expect, test } from 'vitest'
import { allowOrigins } from '../../../src/http/response/cors.ts'
import { type Harness, startGraphQL } from '../harness.ts'

let graphql: Harness
beforeEach(() => {
  graphql = startGraphQL()
})

const JSON_HEADERS = { 'content-type': 'application/json', 'x-api-key': 'both' }

const post = (payload: string | object, headers: Record<string, string> = JSON_HEADERS) =>
  graphql.app.inject({
    method: 'POST',
    url: '/graphql',
    headers,
    payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
  })

const get = (query: Record<string, string>, headers: Record<string, string> = { 'x-api-key': 'both' }) =>
  graphql.app.inject({ method: 'GET', url: '/graphql', headers, query })

describe('keys', () => {
  test('no key is 401 with a code, in either method', async () => {
    for (const response of [
      await post({ query: '{ __typename }' }, { 'content-type': 'application/json' }),
      await get({ query: '{ __typename }' }, {}),
    ]) {
      expect(response.statusCode).toBe(401)
      expect(response.headers['www-authenticate']).toBe('Bearer')
      expect(response.json()).toMatchObject({ errors: [{ extensions: { code: 'MISSING_API_KEY' } }] })
    }
  })

  test('an unknown key is 401 with another code', async () => {
    const response = await post({ query: '{ __typename }' }, { ...JSON_HEADERS, 'x-api-key': 'unknown' })
    expect(response.statusCode).toBe(401)
    expect(response.json()).toMatchObject({ errors: [{ extensions: { code: 'INVALID_API_KEY' } }] })
  })

  test.each([
    ['reader', 'mutation { trackMetric(input: {name: "a", type: GAUGE, value: 1}) { name } }', 'trackMetric'],
    ['reader', 'mutation { trackMetrics(metrics: []) { accepted } }', 'trackMetrics'],
    ['writer', '{ query(metric: "latency") { interval } }', 'query'],
    ['writer', '{ metric(name: "latency") { name } }', 'metric'],
    ['writer', '{ metrics { nodes { name } } }', 'metrics'],
    ['writer', '{ node(id: "TWV0cmljOmxhdGVuY3k") { id } }', 'node'],
  ])('a %s may not run %s', async (key, query, field) => {
    const { data, errors } = await graphql.run(query, {}, key)
    expect(data).toEqual({ [field]: null })
    expect(errors).toMatchObject([{ path: [field], extensions: { code: 'FORBIDDEN' } }])
    expect(graphql.gateway.points).toEqual([])
  })

  test('a writer may track but not read the metric back', async () => {
    const { data, errors } = await graphql.run(
      'mutation { trackMetric(input: {name: "a", type: GAUGE, value: 1}) { name metric { name } } }',
      {},
      'writer',
    )
    expect(data).toEqual({ trackMetric: { name: 'a', metric: null } })
    expect(errors).toMatchObject([{ path: ['trackMetric', 'metric'], extensions: { code: 'FORBIDDEN' } }])
  })
})

describe('protocol', () => {
  test('GET runs queries with variables and an operation name', async () => {
    const response = await get({
      query: 'query A { __typename } query B($n: String!) { metric(name: $n) { name } }',
      operationName: 'B',
      variables: '{"n":"latency"}',
    })
    expect(response.statusCode).toBe(200)
    expect(response.json()).toEqual({ data: { metric: { name: 'latency' } } })
  })

  test('an empty operation name counts as absent, by POST and GET', async () => {
    for (const response of [
      await post({ query: 'query A { __typename }', operationName: '' }),
      await get({ query: 'query A { __typename }', operationName: '' }),
    ]) {
      expect(response.json()).toEqual({ data: { __typename: 'Query' } })
    }
  })

  test('GET does not mutate', async () => {
    const response = await get({
      query: 'mutation { trackMetric(input: {name: "a", type: GAUGE, value: 1}) { name } }',
    })
    expect(response.statusCode).toBe(405)
    expect(response.headers['allow']).toBe('POST')
    expect(graphql.gateway.points).toEqual([])
  })

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/graphql',
    undefined,
  ])('a POST of %s is refused, whatever its body is', async (type) => {
    const response = await post('{"query":"{ __typename }"}', {
      'x-api-key': 'both',
      ...(type && { 'content-type': type }),
    })
    expect(response.statusCode).toBe(415)
    expect(response.json()).toMatchObject({ errors: [{ extensions: { code: 'UNSUPPORTED_MEDIA_TYPE' } }] })
  })

  test.each([
    '',
    '{',
    'null',
    '7',
    '[{"query":"{ __typename }"}]',
    '{}',
    '{"query":7}',
    '{"query":"{ __typename }","variables":[]}',
    '{"query":"{ __typename }","operationName":7}',
    '{"query":"{ __typename }","extensions":"x"}',
  ])('the body %s is 400', async (body) => {
    const response = await post(body)
    expect(response.statusCode).toBe(400)
    expect(response.json()).toMatchObject({ errors: [{ extensions: { code: 'INVALID_BODY' } }] })
  })

  test('a body above the limit is 413', async () => {
    graphql = startGraphQL({ bodyBytesMax: 100 })
    const response = await post({ query: `{ __typename } # ${'x'.repeat(200)}` })
    expect(response.statusCode).toBe(413)
    expect(response.json()).toMatchObject({ errors: [{ extensions: { code: 'PAYLOAD_TOO_LARGE' } }] })
  })

  test.each([
    [undefined, 'application/json; charset=utf-8'],
    ['*/*', 'application/json; charset=utf-8'],
    ['application/json; charset=utf-8', 'application/json; charset=utf-8'],
    ['application/graphql-response+json, application/json;q=0.9', 'application/graphql-response+json; charset=utf-8'],
    ['text/plain, application/json', 'application/json; charset=utf-8'],
  ])('Accept %s gets %s', async (accept, type) => {
    const response = await post({ query: '{ __typename }' }, { ...JSON_HEADERS, ...(accept && { accept }) })
    expect(response.statusCode).toBe(200)
    expect(response.headers['content-type']).toBe(type)
    expect(response.json()).toEqual({ data: { __typename: 'Query' } })
  })

  test.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ] as const)('a body in %s is read', async (encoding, compress) => {
    const send = (body: Buffer, contentEncoding: string = encoding) =>
      graphql.app.inject({
        method: 'POST',
        url: '/graphql',
        headers: {
          authorization: 'Bearer both',
          'content-type': 'application/json',
          'content-encoding': contentEncoding,
        },
        payload: body,
      })
    const body = Buffer.from(JSON.stringify({ query: '{ __typename }' }))
    expect((await send(compress(body))).json()).toEqual({ data: { __typename: 'Query' } })
    for (const [refused, code] of [
      [await send(body), 'INVALID_BODY'],
      [await send(compress(body), 'zstd'), 'UNSUPPORTED_MEDIA_TYPE'],
    ] as const)
      expect(refused.json()).toMatchObject({ errors: [{ extensions: { code } }] })
  })

  test('an Accept without a supported media type is 406', async () => {
    expect((await post({ query: '{ __typename }' }, { ...JSON_HEADERS, accept: 'image/png' })).statusCode).toBe(406)
  })

  test.each([
    '{',
    '{ nothing }',
    'query ($n: Int!) { __typename @include(if: $n) }',
    'query A { __typename } query B { __typename }',
  ])('a document that cannot run (%s) is 400 in the media type of GraphQL', async (query) => {
    const response = await post({ query }, { ...JSON_HEADERS, accept: 'application/graphql-response+json' })
    expect(response.statusCode).toBe(400)
    expect(response.json().data).toBeUndefined()
    expect(response.json().errors[0].message).toBeTypeOf('string')
  })

  test('a variable of another type is a 400 too and names the variable', async () => {
    const response = await post(
      { query: 'query ($n: String!) { metric(name: $n) { name } }', variables: { n: 7 } },
      { ...JSON_HEADERS, accept: 'application/graphql-response+json' },
    )
    expect(response.statusCode).toBe(400)
    expect(response.json().errors[0].message).toContain('$n')
  })

  test('introspection gives the schema with its descriptions', async () => {
    const { data } = await graphql.run(getIntrospectionQuery({ descriptions: true }))
    expect(data.__schema.types.length).toBeGreaterThan(20)
    expect(() => buildSchema(printSchemaOf(data))).not.toThrow()
  })

  test('no response may be cached, and each carries the id of its request', async () => {
    const range = 'from: "2024-01-14T00:00:00Z", to: "2024-01-15T00:00:00Z"'
    const query = `{ query(metric: "latency", ${range}) { interval } }`
    for (const { headers } of [await post({ query }), await get({ query }, { 'x-api-key': 'both' })]) {
      expect(headers['cache-control']).toBe('no-store')
      expect(headers.etag).toBeUndefined()
      expect(headers['x-request-id']).toBeTypeOf('string')
    }
  })

  test('with CORS, responses and the playground vary with the origin', async () => {
    allowOrigins(graphql.app, ['https://app.example'])
    const varyOf = async (headers: Record<string, string>) =>
      (await get({ query: '{ __typename }' }, headers)).headers.vary
    for (const origin of [undefined, 'https://app.example'])
      expect(await varyOf({ 'x-api-key': 'both', ...(origin && { origin }) })).toBe('Origin')
    expect(await varyOf({ accept: 'text/html' })).toBe('Origin, accept, accept-encoding')
  })
})

describe('limits', () => {
  test.each([
    ['tokens', { documentTokensMax: 10 }, '{ metric(name: "latency") { name type unit tagKeys } }'],
    ['fields', { documentFieldsMax: 3 }, '{ a: __typename b: __typename c: __typename d: __typename }'],
    ['spreads', { documentFieldsMax: 3 }, '{ ...A ...A ...A } fragment A on Query { __typename }'],
    ['depth', { documentDepthMax: 2 }, '{ metrics { nodes { name } } }'],
  ])('a document with too many %s is refused', async (_what, limits, query) => {
    graphql = startGraphQL(limits)
    const { data, errors } = await graphql.run(query)
    expect(data).toBeUndefined()
    expect(errors?.[0]?.message).toMatch(/at most|more that|more than/)
  })

  test('thousands of fields with one name are refused', async () => {
    const { errors } = await graphql.run(`{ ${'__typename '.repeat(20_000)} }`)
    expect(errors).toMatchObject([{ extensions: { code: 'QUERY_TOO_LARGE' } }])
  })

  test('deep nesting is a client error, in literals and in variables', async () => {
    const input = (value: string) => `{name: "a", type: GAUGE, value: ${value}}`
    const deep = '['.repeat(20_000) + ']'.repeat(20_000)
    const literal = await graphql.run(`mutation { trackMetric(input: ${input(deep)}) { name } }`)
    expect(literal.errors).toMatchObject([{ extensions: { code: 'QUERY_TOO_LARGE' } }])
    const mutation = `mutation ($v: MetricValue, $t: Tags) {
        value: trackMetric(input: ${input('$v')}) { name }
        tags: trackMetric(input: {name: "a", type: GAUGE, value: 1, tags: $t}) { name }
      }`
    const variable = await graphql.run(mutation, `{"v":${deep},"t":{"a":${deep}}}`)
    expect(variable.errors).toMatchObject([{ extensions: { code: 'INVALID_BODY' } }])
    const allowed = '['.repeat(200) + ']'.repeat(200)
    const nested = await graphql.run(mutation, `{"v":${allowed},"t":{"a":${allowed}}}`)
    expect(nested.errors).toMatchObject([
      { extensions: { code: 'INVALID_VALUE' } },
      { extensions: { code: 'INVALID_TAGS' } },
    ])
    expect(graphql.logged).toEqual([])
  })

  test('a repeated document gets the same error', async () => {
    graphql = startGraphQL({ documentDepthMax: 1 })
    const first = await graphql.run('{ metric(name: "a") { name } }')
    expect(await graphql.run('{ metric(name: "a") { name } }')).toEqual(first)
  })
})

describe('playground', () => {
  const fetchFile = (url: string, headers: Record<string, string> = {}) =>
    graphql.app.inject({ method: 'GET', url, headers })
  const browse = (headers: Record<string, string> = {}) =>
    fetchFile('/graphql', { accept: 'text/html,application/xhtml+xml', ...headers })
  /** URLs in the elements and the settings of the page. */
  const addressesOf = (html: string): string[] => [...html.matchAll(/"(\/[^"\s<>]*\.\w+)"/g)].map(([, path]) => path!)

  test('browsers get a small page without a key, and all its files from the gateway', async () => {
    const page = await browse()
    expect(page.statusCode).toBe(200)
    expect(page.headers['content-type']).toContain('text/html')
    expect(page.body).toContain('trackMetric')
    expect(page.rawPayload.length).toBeLessThan(100_000)

    const addresses = addressesOf(page.body)
    expect(addresses.length).toBeGreaterThanOrEqual(8)
    const tags = page.body.match(/<(?:script|link|img|iframe|source)\b[^>]*>/gi) ?? []
    const named = tags.flatMap((tag) => /(?:src|href)="([^"]*)"/.exec(tag)?.[1] ?? [])
    expect(named.length).toBeGreaterThanOrEqual(5)
    expect(addresses).toEqual(expect.arrayContaining(named))
    for (const address of addresses) {
      const file = await fetchFile(address)
      expect(file.statusCode, address).toBe(200)
      expect(file.headers['content-type']).toMatch(/^(?:text\/(?:javascript|css)|image\/svg)/)
      expect(file.headers['cache-control']).toContain('immutable')
      expect(file.body.match(/@import\s+(?:url\()?["']?https?:/g)).toBeNull()
    }
  })

  test('the content security policy allows no other origin and no inline script', async () => {
    const policy = String((await browse()).headers['content-security-policy'])
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("script-src 'self';")
    expect(policy).not.toMatch(/https?:|\*|unsafe-eval/)
  })

  test('each file is compressed as the client accepts', async () => {
    const address = addressesOf((await browse()).body).find(
      (path) => path.startsWith('/graphql/playground/graphiql') && path.endsWith('.js'),
    )!
    const plain = await fetchFile(address, { 'accept-encoding': 'br;q=0' })
    expect(plain.headers['content-encoding']).toBeUndefined()
    const gzipped = await fetchFile(address, { 'accept-encoding': 'gzip, deflate' })
    expect(gzipped.headers['content-encoding']).toBe('gzip')
    expect(gunzipSync(gzipped.rawPayload).equals(plain.rawPayload)).toBe(true)
    const brotli = await fetchFile(address, { 'accept-encoding': 'gzip, deflate, br' })
    expect(brotli.headers['content-encoding']).toBe('br')
    expect(brotli.rawPayload.length).toBeLessThan(plain.rawPayload.length / 3)
    expect(brotliDecompressSync(brotli.rawPayload).equals(plain.rawPayload)).toBe(true)
    expect(brotli.headers.vary).toContain('accept-encoding')
  })

  test('a page that the browser has cached is not sent again', async () => {
    const { headers } = await browse({ 'accept-encoding': 'gzip' })
    expect(headers.vary).toBe('accept, accept-encoding')
    const again = await browse({ 'accept-encoding': 'br', 'if-none-match': String(headers.etag) })
    expect(again.statusCode).toBe(304)
    expect(again.body).toBe('')
  })

  test('a file of another version is not found', async () => {
    expect((await fetchFile('/graphql/playground/graphiql.0000.js')).statusCode).toBe(404)
  })

  test('a client that refuses HTML gets JSON', async () => {
    const accept = 'text/html;q=0, application/json'
    expect((await get({ query: '{ __typename }' }, { 'x-api-key': 'both', accept })).json()).toEqual({
      data: { __typename: 'Query' },
    })
  })

  test('a GET of a GraphQL client gets JSON', async () => {
    expect((await get({ query: '{ __typename }' }, { 'x-api-key': 'both', accept: '*/*' })).json()).toEqual({
      data: { __typename: 'Query' },
    })
  })
})

function printSchemaOf(introspection: Parameters<typeof buildClientSchema>[0]): string {
  return printSchema(buildClientSchema(introspection))
}
