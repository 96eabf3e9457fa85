import { once } from 'node:events'
import { connect, Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { BodyBudget } from '../../../src/http/body/body-budget.ts'
import type { ServerLimits, ServerOptions } from '../../../src/http/create-server.ts'
import type { FakeGatewayOptions } from '../../support/fake-gateway.ts'
import { createFakeServer } from '../../support/fake-server.ts'
import { startGateway, type TestGateway } from '../../support/gateway.ts'
import { openRequest, type RawRequest } from '../../support/raw-request.ts'

const BUDGET = 10_000
const ITEM = JSON.stringify({ name: 'm', type: 'gauge', value: 1 })
const KEY = 'test-key'
const BATCH = '/api/v1/metrics/batch'

const open: RawRequest[] = []
let gateway: TestGateway | undefined
afterEach(async () => {
  await Promise.all(open.splice(0).map((request) => request.end()))
  await gateway?.close()
  gateway = undefined
})

/** Begins a POST and sends the first part of its body. */
function begin(url: string, headers: Record<string, string | number>, body: string | Uint8Array = ''): RawRequest {
  const request = openRequest(url, headers)
  if (body.length > 0) request.sent.write(body)
  open.push(request)
  return request
}

async function post(url: string, key: string, bytes: number, headers: Record<string, string> = {}): Promise<number> {
  const body = ITEM.padEnd(bytes)
  const response = await fetch(`${url}/api/v1/metrics`, {
    method: 'POST',
    headers: { 'x-api-key': key, ...headers },
    body,
  })
  await response.text()
  return response.status
}

async function listen(
  limits: Partial<ServerLimits> = {},
  options: FakeGatewayOptions = {},
  server: Partial<ServerOptions> = {},
) {
  const fake = createFakeServer(options, { bodyBytesMax: BUDGET, bodiesBytesMax: BUDGET, ...limits }, server)
  const url = await fake.app.listen({ port: 0, host: '127.0.0.1' })
  onTestFinished(() => fake.app.close())
  return { ...fake, url, held: () => fake.app.bodyBudget.usedBytes }
}

const keyed = (headers: Record<string, string | number> = {}) => ({ authorization: `Bearer ${KEY}`, ...headers })

describe('a request that is refused', () => {
  const READER = 'reader-key-0123456789'
  it.each<[what: string, path: string, headers: Record<string, string>, status: number]>([
    ['to no route', '/nothing', {}, 404],
    ['with another method', '/api/v1/metrics/m', {}, 404],
    ['without a key', BATCH, {}, 401],
    ['with a wrong key', BATCH, { authorization: 'Bearer wrong-key-0123456789' }, 401],
    ['with a key that lacks the scope', BATCH, { authorization: `Bearer ${READER}` }, 403],
    ['of another content type', BATCH, { authorization: 'KEY', 'content-type': 'application/xml' }, 415],
    ['beyond its rate', '/api/v1/metrics', { authorization: 'SPENT' }, 429],
    ['without a key, to the Better Stack API', '/metrics', {}, 403],
    ['with a wrong key, to the Better Stack API', '/', { authorization: 'Bearer wrong-key-0123456789' }, 403],
    ['to GraphQL with an unsupported Accept header', '/graphql', { authorization: 'KEY', accept: 'image/png' }, 406],
    ['to GraphQL with another content type', '/graphql', { authorization: 'KEY', 'content-type': 'text/plain' }, 415],
    ['to GraphQL without a key', '/graphql', { 'content-type': 'application/json' }, 401],
  ])('holds nothing of the budget: %s', async (_, path, headers, status) => {
    const spent = 'spent-key-0123456789'
    gateway = await startGateway({
      env: {
        BODY_BYTES_MAX: String(BUDGET),
        BODIES_BYTES_MAX: String(BUDGET),
        RATE_LIMITS: 'single=2',
        API_KEYS: `test-key-0123456789:test:ingest+query+admin,${READER}:test:query,${spent}:other:ingest`,
      },
    })
    const { url, key } = gateway
    for (let i = 0; headers['authorization'] === 'SPENT' && i < 2; i++) await post(url, spent, 100)
    const authorization = { KEY: `Bearer ${key}`, SPENT: `Bearer ${spent}` }[headers['authorization'] ?? '']
    const sent = { ...headers, ...(authorization !== undefined && { authorization }) }
    const refused = [
      begin(url + path, { 'transfer-encoding': 'chunked', ...sent }, 'x'.repeat(9_000)),
      begin(url + path, { 'content-length': BUDGET, ...sent }),
    ]
    for (const { response } of refused) expect((await response).status).toBe(status)
    expect(await post(url, key, BUDGET)).toBe(201)
  })
})

describe('bodies being received', () => {
  it('count when they arrive, not when announced, and are refused as overloaded beyond the budget', async () => {
    const { url, held } = await listen()
    begin(url + BATCH, keyed({ 'content-length': BUDGET }))
    begin(url + BATCH, keyed())
    const half = begin(url + BATCH, keyed({ 'content-length': BUDGET }), 'x'.repeat(6_000))
    await expect.poll(held).toBe(6_000)
    expect(await post(url, KEY, 4_000)).toBe(201)
    expect(await post(url, KEY, 4_001)).toBe(503)
    await half.end()
    await expect.poll(held).toBe(0)
    expect(await post(url, KEY, BUDGET)).toBe(201)
  })

  it('of one client address are limited to a share of the budget', async () => {
    const { url, held } = await listen({ bodiesBytesPerNetworkMax: 4_000 }, {}, { trustProxy: 1 })
    const from = (address: string) => ({ 'x-forwarded-for': address })
    begin(url + BATCH, keyed(from('2001:db8::1')), 'x'.repeat(4_000))
    await expect.poll(held).toBe(4_000)
    expect(await post(url, KEY, 100, from('2001:db8::ffff'))).toBe(503)
    expect(await post(url, KEY, 100, from('[2001:db8::2]:4711'))).toBe(503)
    expect(await post(url, KEY, 4_000, from('192.0.2.1'))).toBe(201)
    expect(await post(url, KEY, 4_001, from('192.0.2.1'))).toBe(503)
    expect(held()).toBe(4_000)
  })

  it('also count their decompressed bytes', async () => {
    const { url, held } = await listen({ bodyBytesMax: 2 * BUDGET })
    const gzip = keyed({ 'content-encoding': 'gzip' })
    const bomb = begin(url + BATCH, gzip)
    bomb.sent.end(gzipSync(' '.repeat(BUDGET + 1)))
    expect((await bomb.response).status).toBe(503)
    const good = begin(`${url}/api/v1/metrics`, gzip)
    good.sent.end(gzipSync(ITEM.padEnd(BUDGET - 100)))
    expect((await good.response).status).toBe(201)
    await expect.poll(held).toBe(0)
  })

  it('release their bytes, however the request ends', async () => {
    let fail: (() => void) | undefined
    const before = (verb: string): void => {
      if (verb === 'track') fail?.()
    }
    const { url, held } = await listen({ bodyBytesMax: 5_000 }, { before })
    const ended = async (body: string | Uint8Array, headers: Record<string, string | number> = {}) => {
      const request = begin(`${url}/api/v1/metrics`, keyed(headers))
      request.sent.end(body)
      const { status } = await request.response
      await expect.poll(held).toBe(0)
      return status
    }
    expect(await ended(ITEM.padEnd(5_000))).toBe(201)
    expect(await ended('{'.padEnd(3_000))).toBe(400)
    expect(await ended('x'.repeat(5_001))).toBe(413)
    expect(await ended('not gzip'.padEnd(3_000), { 'content-encoding': 'gzip' })).toBe(400)
    expect(await ended(gzipSync(' '.repeat(5_001)), { 'content-encoding': 'gzip' })).toBe(413)
    fail = () => {
      throw new Error('boom')
    }
    expect(await ended(ITEM.padEnd(3_000))).toBe(500)
  })

  it('release their bytes when a pipelined connection is lost', async () => {
    const waiting: (() => void)[] = []
    const { url, held } = await listen(
      {},
      {
        before: (verb) => (verb === 'track' ? new Promise<void>((resolve) => void waiting.push(resolve)) : undefined),
      },
    )
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    const head = `POST /api/v1/metrics HTTP/1.1\r\nhost: h\r\nauthorization: Bearer ${KEY}\r\ncontent-length: 1000\r\n\r\n`
    socket.write(`${head}${ITEM.padEnd(1_000)}`.repeat(3))
    await expect.poll(() => waiting.length).toBe(3)
    expect(held()).toBe(3_000)
    socket.destroy()
    await expect.poll(held).toBe(0)
    for (const go of waiting) go()
    expect(held()).toBe(0)
  })

  it('hold nothing of the budget while a stream stays open', async () => {
    gateway = await startGateway({ env: { BODY_BYTES_MAX: String(BUDGET), BODIES_BYTES_MAX: String(BUDGET) } })
    const { url, key } = gateway
    expect(await post(url, key, 100)).toBe(201)
    const live = begin(`${url}/graphql`, {
      'x-api-key': key,
      accept: 'text/event-stream',
      'content-type': 'application/json',
    })
    live.sent.end(JSON.stringify({ query: 'subscription { live(metric: "m") { kind } }' }).padEnd(9_000))
    await expect.poll(() => gateway!.live.objectCounts.subscriptions).toBe(1)
    expect(await post(url, key, BUDGET)).toBe(201)
  })
})

describe('a body that stalls', () => {
  it.each([
    ['stops', BATCH, 'x'.repeat(9_000), 408],
    ['never begins', BATCH, '', 408],
    ['stops, to the Better Stack API', '/metrics', '[', 408],
    ['stops, to OTLP', '/v1/metrics', '{', 503, 'application/json'],
    ['stops, to remote write', '/api/v1/write', 'x', 503, 'application/x-protobuf'],
  ])('is refused when it %s, and its connection is closed', async (_, path, body, refused, type = '') => {
    const { url, held } = await listen({ bodyStallMs: 20 })
    for (const framing of [{ 'content-length': BUDGET }, { 'transfer-encoding': 'chunked' }]) {
      const stalled = begin(url + path, keyed({ ...framing, ...(type !== '' && { 'content-type': type }) }), body)
      const { status, headers } = await stalled.response
      expect([status, headers['connection']]).toEqual([refused, 'close'])
      await expect.poll(held).toBe(0)
    }
    expect(await post(url, KEY, BUDGET)).toBe(201)
  })

  it('is refused when only a byte arrives now and then', async () => {
    const { url } = await listen({ bodyStallMs: 60 })
    const dripping = begin(url + BATCH, keyed(), '[')
    const drip = setInterval(() => dripping.sent.write(' '), 5)
    onTestFinished(() => clearInterval(drip))
    expect((await dripping.response).status).toBe(408)
  })

  it('is cut off when its request was refused before', async () => {
    const { app, url } = await listen({ bodyStallMs: 20 })
    const refused = begin(`${url}/nothing`, {}, 'x')
    expect((await refused.response).status).toBe(404)
    await expect
      .poll(() => new Promise((resolve) => app.server.getConnections((_error, count) => resolve(count))))
      .toBe(0)
  })
})

describe('a body that is refused while it is being sent', () => {
  const chunk = Buffer.alloc(5_000)

  it.each([
    ['with 413, of unknown length', {}, 15_000, 413, { bodiesBytesMax: 100_000 }],
    ['with 503, of unknown length', {}, 15_000, 503, { bodiesBytesMax: 5_000 }],
    ['with 503, announced', { 'content-length': 10_000 }, 10_000, 503, { bodiesBytesMax: 5_000 }],
    ['with 413, announced', { 'content-length': 20_000 }, 20_000, 413, {}],
  ])(
    'is read to its end, so that the client sees the response and keeps its connection: %s',
    async (_, framing, sentBytes, status, limits) => {
      const { url, held } = await listen(limits)
      const { sent, response } = begin(url + BATCH, keyed({ connection: 'keep-alive', ...framing }), chunk)
      for (let bytes = chunk.length; bytes < sentBytes; bytes += chunk.length) sent.write(chunk)
      const { status: receivedStatus, headers } = await response
      expect(receivedStatus).toBe(status)
      expect(headers['connection']).not.toBe('close')
      sent.end()
      expect(held()).toBe(0)
    },
  )

  it('is cut off when it is far too large', async () => {
    const { url } = await listen()
    const announced = await begin(url + BATCH, keyed({ 'content-length': 3 * BUDGET })).response
    expect([announced.status, announced.headers['connection']]).toEqual([413, 'close'])
    const endless = begin(url + BATCH, keyed({ connection: 'keep-alive' }), chunk)
    const flood = setInterval(() => endless.sent.write(chunk), 1)
    onTestFinished(() => clearInterval(flood))
    expect((await endless.response).status).toBe(413)
  })
})

describe('connections', () => {
  it('are closed at once beyond the limit', async () => {
    const { url } = await listen({ connectionsMax: 2 })
    const port = Number(new URL(url).port)
    const kept: Socket[] = []
    for (let i = 0; i < 2; i++) {
      const socket = connect(port, '127.0.0.1')
      kept.push(socket)
      await once(socket, 'connect')
    }
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    await once(socket, 'close')
    for (const socket of kept) {
      expect(socket.destroyed).toBe(false)
      socket.destroy()
    }
  })
})

describe('the budget', () => {
  it('is empty again when all charges are closed, in any order', () => {
    const budget = new BodyBudget(100, 60)
    const socket = new Socket()
    const a = budget.openCharge('a', socket)
    const b = budget.openCharge('a', socket)
    const c = budget.openCharge('c', socket)
    a.take(40)
    b.take(20)
    expect(() => a.take(1)).toThrow(/client address/)
    c.take(40)
    expect(() => c.take(1)).toThrow(/too many large requests/)
    b.release(10)
    a.close()
    a.close()
    a.release(40)
    expect(() => a.take(1)).toThrow()
    expect(budget.usedBytes).toBe(50)
    b.close()
    c.close()
    expect(budget.usedBytes).toBe(0)
  })
})
