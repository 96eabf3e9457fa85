import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import { createFakeServer, errorOf } from '../support/fake-server.ts'

const good = { name: 'n', type: 'gauge', value: 1 }
const METRICS = '/api/v1/metrics'

describe('the server', () => {
  it.each(['/health', METRICS, '/nothing', '/api/v1/metrics/%ff'])(
    'adds the common headers to every response: %s',
    async (path) => {
      const { get } = createFakeServer()
      const first = await get(path)
      expect(first.headers).toMatchObject({
        'content-type': 'application/json; charset=utf-8',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'referrer-policy': 'no-referrer',
        'x-request-id': expect.stringMatching(/^[\w-]+$/),
      })
      expect((await get(path)).headers['x-request-id']).not.toBe(first.headers['x-request-id'])
    },
  )

  it('returns and logs the id of a request if it is well-formed', async () => {
    const { get, logged } = createFakeServer()
    for (const id of ['a', 'c0ffee-1.2_3:4/5+6=', 'x'.repeat(128)]) {
      expect((await get(METRICS, { 'x-request-id': id })).headers['x-request-id']).toBe(id)
      expect(logged()).toContain(id)
    }
    for (const id of ['', ' ', 'a b', 'a"b', 'ä', '{"a":1}', 'a,b', 'x'.repeat(129)]) {
      expect((await get(METRICS, { 'x-request-id': id })).headers['x-request-id']).toMatch(/^[\w-]{8}-[0-9a-z]+$/)
    }
  })

  it.each([
    ['GET', '/api/v1'],
    ['GET', '/api/v1/nothing?key=secret'],
    ['PUT', METRICS],
    ['DELETE', METRICS],
    ['POST', `${METRICS}/n`],
    ['PATCH', '/health'],
  ] as const)('returns not_found for %s %s', async (method, url) => {
    const response = await createFakeServer().app.inject({
      method,
      url,
      ...(method === 'GET' ? {} : { payload: '{}' }),
    })
    expect([response.statusCode, errorOf(response).code]).toEqual([404, 'not_found'])
    expect(response.body).not.toContain('secret')
  })

  it('refuses a body above the limit, with or without Content-Length', async () => {
    const { app, post, gateway } = createFakeServer({}, { bodyBytesMax: 100 })
    const body = JSON.stringify({ ...good, description: 'x'.repeat(100) })
    const announced = await post(METRICS, body)
    expect([announced.statusCode, errorOf(announced).code]).toEqual([413, 'payload_too_large'])

    const url = await app.listen({ port: 0 })
    const headers = { authorization: 'Bearer test-key', 'content-type': 'application/json' }
    const streaming = request(url + METRICS, { method: 'POST', headers })
    streaming.write(body.slice(0, 60))
    streaming.end(body.slice(60))
    const [streamed] = await once(streaming, 'response')
    expect([streamed.statusCode, JSON.parse(await text(streamed))]).toMatchObject([
      413,
      { error: { code: 'payload_too_large' } },
    ])
    await app.close()
    expect(gateway.points).toEqual([])
  })

  it('accepts bodies well above the default of the framework', async () => {
    const body = { metrics: Array(500).fill({ ...good, description: 'x'.repeat(8_000) }) }
    expect((await createFakeServer().post(`${METRICS}/batch`, body)).statusCode).toBe(201)
  })

  it.each([
    'application/json',
    'application/json; charset=utf-8',
    'APPLICATION/JSON',
    'application/vnd.api+json',
    'text/plain;charset=UTF-8',
    'application/x-www-form-urlencoded',
  ])('reads a body of type %s as JSON', async (type) => {
    const response = await createFakeServer().post(METRICS, good, { 'content-type': type })
    expect(response.statusCode).toBe(201)
  })

  it('reads a body without a type as JSON', async () => {
    const { app } = createFakeServer()
    const url = await app.listen({ port: 0 })
    const response = await fetch(url + METRICS, {
      method: 'POST',
      headers: { 'x-api-key': 'test-key' },
      body: Buffer.from(JSON.stringify(good)),
    })
    expect(response.status).toBe(201)
    await app.close()
  })

  it.each([
    [{ 'content-type': 'application/msgpack' }],
    [{ 'content-type': 'application/xml' }],
    [{ 'content-type': 'application/jsonx' }],
    [{ 'content-type': 'multipart/form-data; boundary=x' }],
    [{ 'content-type': 'nonsense' }],
    [{ 'content-encoding': 'zstd' }],
    [{ 'content-encoding': 'gzip, gzip' }],
  ])('returns 415 for a body with %j', async (headers) => {
    const { post, gateway } = createFakeServer()
    const response = await post(METRICS, good, headers)
    expect([response.statusCode, errorOf(response).code]).toEqual([415, 'unsupported_media_type'])
    expect(gateway.points).toEqual([])
  })

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ] as const)('reads a body in %s, up to the same size', async (encoding, compress) => {
    const { post, gateway } = createFakeServer({}, { bodyBytesMax: 200 })
    const encoded = { 'content-encoding': encoding, 'idempotency-key': 'once' }
    const body = JSON.stringify(good)
    for (const [path, item] of [
      [METRICS, body],
      [`${METRICS}/batch`, `[${body}]`],
      ['/api/v1/events', '{"name":"e"}'],
      ['/api/v1/events/batch', '[{"name":"e"}]'],
      ['/api/v1/flux/batch', `{"metrics":[${body}]}`],
    ] as const)
      expect((await post(path, compress(item.padEnd(200)), encoded)).statusCode).toBe(201)
    expect(gateway.points).toHaveLength(3)
    const plain = await post(METRICS, body.padEnd(200), { 'idempotency-key': 'once' })
    expect(plain.statusCode).toBe(201)
    // The same request, compressed or not.
    expect(gateway.requests.at(-1)).toEqual(gateway.requests[0])
    const refused = [compress(body.padEnd(201)), Buffer.from(body), compress(body).subarray(0, -6)]
    const codes = await Promise.all(refused.map(async (sent) => errorOf(await post(METRICS, sent, encoded)).code))
    expect(codes).toEqual(['payload_too_large', 'invalid_body', 'invalid_body'])
  })

  it('closes the connection after a request with Connection: close', async () => {
    const { app } = createFakeServer()
    const url = await app.listen({ port: 0 })
    for (const path of [METRICS, '/nothing']) {
      const { headers } = await fetch(url + path, { headers: { connection: 'close' } })
      expect(headers.get('connection')).toBe('close')
    }
    await app.close()
  })

  it('treats the encoding identity as no encoding', async () => {
    expect((await createFakeServer().post(METRICS, good, { 'content-encoding': 'identity' })).statusCode).toBe(201)
  })

  it('returns internal for an unexpected error without details, and logs its cause', async () => {
    const { get, logged } = createFakeServer({
      before: (verb) => {
        if (verb === 'metrics') throw new TypeError('secret internals', { cause: new Error('deeper') })
      },
    })
    const response = await get(METRICS)
    expect([response.statusCode, errorOf(response).code]).toEqual([500, 'internal'])
    expect(response.body).not.toContain('secret')
    expect(logged()).toContain('secret internals')
    expect(logged()).toContain('deeper')
    expect(logged()).toContain(String(response.headers['x-request-id']))
  })

  it('never logs a key or a query string, whatever goes wrong', async () => {
    const { get, post, logged } = createFakeServer({
      keys: new Map([['sk_live_right', { project: 'shop', scopes: ['query', 'ingest'] }]]),
      before: (verb) => {
        if (verb === 'metrics') throw new Error('boom')
        if (verb === 'track') throw new GatewayError('store_unavailable', 'away', { cause: new Error('no route') })
      },
    })
    for (const key of ['sk_live_right', 'sk_live_wrong']) {
      for (const headers of [{ authorization: `Bearer ${key}` }, { authorization: '', 'x-api-key': key }]) {
        await get(`${METRICS}?api_key=sk_live_query`, headers)
        await get(`${METRICS}/n/query?tags[a]=sk_live_query`, headers)
        await get('/nothing?sk_live_query', headers)
        await get('/api/v1/metrics/%ff?sk_live_query', headers)
        await post(METRICS, good, headers)
        await post(METRICS, '{"sk_live_body', headers)
      }
    }
    expect(logged()).toContain('boom')
    expect(logged()).toContain('no route')
    expect(logged()).toContain('"path":"/api/v1/metrics"')
    expect(logged()).not.toContain('sk_live')
  })

  it('redacts the key in an error that carries headers', async () => {
    const headers = { authorization: 'Bearer sk_live_1', 'x-api-key': 'sk_live_2', host: 'h' }
    const { get, logged } = createFakeServer({
      before: (verb) => {
        if (verb === 'metrics') throw Object.assign(new Error('oops'), { headers })
      },
    })
    await get(METRICS)
    expect(logged()).toContain('oops')
    expect(logged()).toContain('"host":"h"')
    expect(logged()).not.toContain('sk_live')
  })

  it.each([
    ['malformed HTTP', 'GET / sk_live_1', 400, 'the request is not valid HTTP'],
    [
      'headers that are too large',
      `GET / HTTP/1.1\r\nhost: a\r\nx-api-key: sk_live_1${'x'.repeat(70_000)}`,
      431,
      'the headers of the request are too large',
    ],
  ])('responds to %s with a JSON error and does not log it', async (_, head, status, message) => {
    const { app, logged } = createFakeServer()
    await app.listen({ port: 0 })
    const address = app.server.address()
    if (address === null || typeof address === 'string') throw new Error('a TCP port was expected')
    const socket = connect(address.port, '127.0.0.1')
    let response = ''
    socket.on('data', (chunk) => {
      response += String(chunk)
    })
    socket.on('error', () => undefined)
    socket.write(`${head}\r\n\r\n`)
    await once(socket, 'close')
    await app.close()
    expect(response).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    const body: unknown = JSON.parse(response.slice(response.indexOf('\r\n\r\n')))
    expect(body).toEqual({ error: { code: 'invalid_body', message } })
    expect(logged()).not.toContain('sk_live')
  })
})
