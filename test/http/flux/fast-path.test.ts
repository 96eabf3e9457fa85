import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { pino } from 'pino'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createServer, type ServerLimits, type ServerOptions } from '../../../src/http/create-server.ts'
import { FAST_PATH_BYTES_MAX } from '../../../src/http/flux/fast-path.ts'
import { GatewayError } from '../../../src/model/errors.ts'
import { DEFAULT_SERVER_LIMITS } from '../../support/default-limits.ts'
import { ALL_SCOPES, createFakeGateway, type FakeGateway, type FakeGatewayOptions } from '../../support/fake-gateway.ts'
import { NOW_MS } from '../../support/fake-server.ts'
import { NO_TELEMETRY } from '../../support/no-telemetry.ts'

/** A request for one point gets the same response on the fast path as from the framework. */

const PATH = '/api/v1/metrics'
const POINT = '{"name":"größe \\u0041","type":"gauge","value":1.50,"timestamp":"2024-01-15T10:30:00Z","tags":{"a":"b"}}'
const PLAIN = '{"name":"load","type":"gauge","value":2}'

interface Server {
  readonly port: number
  readonly gateway: FakeGateway
  readonly agent: Agent
  /** Requests that the framework has served. */
  framework(): number
  counted(): readonly string[]
}

async function listen(
  isShort: boolean,
  given: FakeGatewayOptions = {},
  server: Partial<ServerOptions> = {},
  authenticate?: ServerOptions['gateway']['authenticate'],
): Promise<Server> {
  const gateway = createFakeGateway(given)
  const keys = new Map([
    ['test-key', { project: 'shop', scopes: ALL_SCOPES }],
    ['reader', { project: 'shop', scopes: ['query'] as const }],
  ])
  const find = (key: string) => {
    const grant = keys.get(key)
    return grant && { ...grant, keyHash: `id of ${key}` }
  }
  const counted: string[] = []
  const app = createServer({
    // The framework serves a key that is not cached.
    gateway: { ...gateway, authenticate: authenticate ?? (isShort ? find : async (key) => find(key)) },
    log: pino({ level: 'silent' }),
    now: () => NOW_MS,
    limits: DEFAULT_SERVER_LIMITS,
    ...server,
    telemetry: {
      ...NO_TELEMETRY,
      createResponseCounter: (route) => (method, status) => void counted.push(`${method} ${route} ${status}`),
    },
  })
  let framework = 0
  app.addHook('onRequest', (_request, _reply, done) => {
    framework++
    done()
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  onTestFinished(async () => {
    agent.destroy()
    await app.close()
  })
  const address = app.server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return { port: address.port, gateway, agent, framework: () => framework, counted: () => counted }
}

async function send({ port, agent }: Server, body: string, headers: Readonly<Record<string, string>> = {}) {
  const response = await new Promise<{ status: number | undefined; headers: unknown; body: string }>(
    (resolve, reject) => {
      const sent = request({ port, agent, path: PATH, method: 'POST' }, (message) => {
        const { date: _, ...others } = message.headers
        text(message).then((all) => resolve({ status: message.statusCode, headers: others, body: all }), reject)
      })
      sent.once('error', reject)
      sent.setHeader('content-length', Buffer.byteLength(body))
      const all = { authorization: 'Bearer test-key', 'content-type': 'application/json', 'x-request-id': 'id-1' }
      for (const [name, value] of Object.entries({ ...all, ...headers })) sent.setHeader(name, value)
      sent.end(body)
    },
  )
  return response
}

type Case = [name: string, body: string, given?: FakeGatewayOptions, server?: Partial<ServerOptions>]

const SPENT = { isGranted: false, limit: 10, remaining: 0, resetSeconds: 42 }
const LEFT = { isGranted: true, limit: 10, remaining: 7, resetSeconds: 42 }
const failing = (error: Error): FakeGatewayOptions => ({
  before: async (verb) => {
    if (verb === 'track') throw error
  },
})

const CASES: readonly Case[] = [
  ['a point', POINT],
  ['a plain point', PLAIN],
  ['a member of a set', '{"name":"users","type":"set","value":"a\\"b\\u2028"}'],
  ['a negative zero', '{"name":"z","type":"gauge","value":-0.0}'],
  ['a large number', '{"name":"z","type":"counter","value":1e300}'],
  ['white space around it', `\n ${PLAIN} \r\n`],
  ['two points', `${PLAIN}${PLAIN}`],
  ['two lines', `${PLAIN}\n${PLAIN}`],
  ['what is no JSON', '{"name":'],
  ['an array', '[]'],
  ['a bad value', '{"name":"z","type":"gauge","value":"1"}'],
  ['a bad time', '{"name":"z","type":"gauge","value":1,"timestamp":"soon"}'],
  ['a name of another type', PLAIN, { resolve: () => ({ code: 'type_conflict', message: 'load is a counter' }) }],
  ['a limit with room', PLAIN, { takePermit: () => LEFT }],
  ['a limit with reserved permits', PLAIN, { takePermit: async () => LEFT }],
  ['a limit that is reached', PLAIN, { takePermit: () => SPENT }],
  ['too much that waits', PLAIN, failing(new GatewayError('overloaded', 'too many points wait'))],
  ['a store that is away', PLAIN, failing(new GatewayError('store_unavailable', 'the store does not respond'))],
  ['a defect', PLAIN, failing(new TypeError('a defect'))],
  ['pages of any origin', PLAIN, {}, { corsOrigins: '*' }],
  ['pages of one origin', PLAIN, {}, { corsOrigins: ['https://a.example'] }],
]

describe('a plain request', () => {
  it.each(CASES)('with %s gets the response of the framework without it', async (_, body, given, server) => {
    const [long, short] = await Promise.all([listen(false, given, server), listen(true, given, server)])
    // The second time, the series is known by the bytes of its item; both share a connection.
    for (let i = 0; i < 3; i++) expect(await send(short, body)).toEqual(await send(long, body))
    expect(short.gateway.points).toEqual(long.gateway.points)
    expect([long.framework(), short.framework()]).toEqual([3, 0])
    await expect.poll(() => long.counted()).toHaveLength(3)
    expect(short.counted()).toEqual(long.counted())
  })

  it('may be sent before the response to the one before', async () => {
    const short = await listen(true)
    const socket = connect(short.port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    const bodies = [1, 2, 3].map((value) => `{"name":"n${value}","type":"gauge","value":${value}}`)
    const head = (length: number) =>
      `POST ${PATH} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer test-key\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\n\r\n`
    socket.write(bodies.map((body) => head(body.length) + body).join(''))
    let received = ''
    socket.on('data', (chunk) => (received += String(chunk)))
    await expect.poll(() => received.split('HTTP/1.1 201').length - 1).toBe(3)
    expect([...received.matchAll(/"name":"(n\d)"/g)].map(([, name]) => name)).toEqual(['n1', 'n2', 'n3'])
    expect(short.framework()).toBe(0)
  })
})

describe('the framework serves', () => {
  it.each<[string, Readonly<Record<string, string>>, string?, Partial<ServerLimits>?]>([
    ['an idempotency key', { 'idempotency-key': 'k' }],
    ['another content type', { 'content-type': 'application/json; charset=utf-8' }],
    ['a proxy', { 'x-forwarded-for': '192.0.2.7' }],
    ['a page', { origin: 'https://a.example' }],
    ['a key that may not ingest', { authorization: 'Bearer reader' }],
    ['an unknown key', { authorization: 'Bearer unknown' }],
    ['a compressed body', { 'content-encoding': 'gzip' }],
    ['a longer body', {}, PLAIN.padEnd(FAST_PATH_BYTES_MAX + 1)],
    ['a body beyond the limit', {}, PLAIN.padEnd(101), { bodyBytesMax: 100 }],
    ['a body beyond the limit of its client', {}, PLAIN.padEnd(101), { bodiesBytesPerNetworkMax: 100 }],
  ])('a request with %s', async (_, headers, body = PLAIN, changed = {}) => {
    const limits = { ...DEFAULT_SERVER_LIMITS, ...changed }
    const [long, short] = await Promise.all([listen(false, {}, { limits }), listen(true, {}, { limits })])
    expect(await send(short, body, headers)).toEqual(await send(long, body, headers))
    expect([long.framework(), short.framework()]).toEqual([1, 1])
  })

  it('a key whose lookup fails, which ends no process', async () => {
    const server = await listen(true, {}, {}, async () => {
      throw new GatewayError('store_unavailable', 'the store does not respond')
    })
    const failures: unknown[] = []
    const onFailure = (reason: unknown): void => void failures.push(reason)
    process.on('unhandledRejection', onFailure)
    onTestFinished(() => void process.off('unhandledRejection', onFailure))
    expect((await send(server, PLAIN)).status).toBe(503)
    expect(server.framework()).toBe(1)
    await new Promise(setImmediate)
    expect(failures).toEqual([])
  })

  it('a body that arrives after its headers', async () => {
    const short = await listen(true)
    const sent = request({
      port: short.port,
      path: PATH,
      method: 'POST',
      headers: {
        authorization: 'Bearer test-key',
        'content-type': 'application/json',
        'content-length': PLAIN.length,
      },
    })
    const status = new Promise((resolve) => sent.once('response', ({ statusCode }) => resolve(statusCode)))
    sent.write(PLAIN.slice(0, 10))
    await expect.poll(() => short.framework()).toBe(1)
    sent.end(PLAIN.slice(10))
    expect(await status).toBe(201)
    expect(short.gateway.points).toHaveLength(1)
  })
})
