import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { encode } from '@msgpack/msgpack'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { reject } from '../../../src/model/point.ts'
import { createFakeServer, NOW_MS } from '../../support/fake-server.ts'

const packed = (value: unknown): Buffer => Buffer.from(encode(value))
/** Three items, of which the second has an unknown text `caf\xe9`. */
function withLatin1(): Buffer {
  const body = packed([{ ...JSON.parse(ITEM) }, { ...JSON.parse(ITEM), note: 'caf?' }, JSON.parse(ITEM)])
  body[body.indexOf('caf?') + 3] = 0xe9
  return body
}
const ITEM = '{"name":"cpu","gauge":{"value":63.5}}'

describe.each(['/metrics', '/'])('POST %s', (path) => {
  it.each<[string, string, string | Buffer, string, string]>([
    ['one object', 'application/json', ITEM, '1', '0'],
    ['an array', 'application/json; charset=utf-8', `[${ITEM},${ITEM}]`, '2', '0'],
    ['an empty array', 'application/json', '[]', '0', '0'],
    ['lines', 'application/x-ndjson', `${ITEM}\n${ITEM}`, '2', '0'],
    [
      'lines with a final newline, CRLF and blank ones',
      'application/x-ndjson',
      `\r\n${ITEM}\r\n\r\n \t\n${ITEM}\r\n`,
      '2',
      '0',
    ],
    ['NDJSON sent as JSON', 'application/json', `${ITEM}\r\n\r\n${ITEM}\n`, '2', '0'],
    ['NDJSON of arrays sent as JSON', 'application/json', `[${ITEM}]\n[${ITEM},${ITEM}]`, '3', '0'],
    ['NDJSON of an unknown type', 'image/png', ` ${ITEM}\n5\n${ITEM}`, '2', '1'],
    ['an object over several lines', 'application/json', ITEM.replaceAll(',', ',\n'), '1', '0'],
    ['a line that is an array', 'application/x-ndjson', `[${ITEM},${ITEM}]\n${ITEM}`, '3', '0'],
    ['a MessagePack object', 'application/msgpack', packed(JSON.parse(ITEM)), '1', '0'],
    ['a MessagePack array', 'application/x-msgpack', packed([JSON.parse(ITEM), { name: 'x' }]), '1', '1'],
    ['MessagePack with an item that is not UTF-8', 'application/msgpack', withLatin1(), '2', '1'],
    [
      'MessagePack with a key that is not a string',
      'application/msgpack',
      Buffer.from('92c081c0a161', 'hex'),
      '0',
      '2',
    ],
    ['a MessagePack value that is not an item', 'application/vnd.msgpack', packed(5), '0', '1'],
    ['JSON sent as a form', 'application/x-www-form-urlencoded', ITEM, '1', '0'],
    ['JSON of a malformed type', 'json', ITEM, '1', '0'],
    ['JSON of another type', 'image/png', ITEM, '1', '0'],
    ['invalid items', 'application/json', `[${ITEM},1,null,[],{},{"name":"x"}]`, '1', '5'],
    ['a value that is not an item', 'application/json', '5', '0', '1'],
  ])('accepts %s', async (_, type, body, accepted, rejected) => {
    const { post, gateway } = createFakeServer()
    const response = await post(path, body, { 'content-type': type })
    expect([response.statusCode, response.body]).toEqual([202, ''])
    expect(response.headers).toMatchObject({ 'x-metrics-accepted': accepted, 'x-metrics-rejected': rejected })
    expect(gateway.points).toHaveLength(Number(accepted))
    if (gateway.points.length > 0) {
      expect(gateway.points[0]).toMatchObject({
        project: 'shop',
        name: 'cpu',
        type: 'gauge',
        value: 63.5,
        timeMs: NOW_MS,
      })
    }
  })

  it.each<[string, string, string | Buffer]>([
    ['an empty body', 'application/json', ''],
    ['half an item', 'application/json', ITEM.slice(0, -1)],
    ['blank lines', 'application/json', '\n \n'],
    ['an invalid line of NDJSON sent as JSON', 'application/json', `${ITEM}\n{"name":\n${ITEM}`],
    ['two items on one line', 'application/json', `${ITEM}${ITEM}`],
    ['JSON sent as MessagePack', 'application/msgpack', ITEM],
    [
      'half of a MessagePack array',
      'application/msgpack',
      packed([JSON.parse(ITEM), JSON.parse(ITEM)]).subarray(0, -1),
    ],
    ['MessagePack sent as JSON', 'application/json', packed(JSON.parse(ITEM))],
    ['an invalid line of NDJSON', 'application/x-ndjson', `${ITEM}\n{"name":\n${ITEM}`],
    ['two items on a line', 'application/x-ndjson', `${ITEM},${ITEM}`],
    ['invalid UTF-8', 'application/json', Buffer.from(`{"name":"\xff"}`, 'latin1')],
    ['a body that is nested too deeply', 'application/json', `${'['.repeat(600_000)}${']'.repeat(600_000)}`],
    ...[300, 20_000, 600_000].map((levels): [string, string, string] => [
      `a line of ${levels} levels`,
      'application/x-ndjson',
      `${ITEM}\n${'['.repeat(levels)}${']'.repeat(levels)}`,
    ]),
    ...[300, 20_000].map((levels): [string, string, string] => [
      `an item of ${levels} levels`,
      'application/json',
      `[${ITEM},{"name":"deep","gauge":{"value":1},"extra":${'[{"a":'.repeat(levels / 2)}1${'}]'.repeat(levels / 2)}}]`,
    ]),
    ['MessagePack of 300 levels', 'application/msgpack', Buffer.from([...Array(300).fill(0x91), 1])],
  ])('returns 406 for %s and stores nothing', async (_, type, body) => {
    const { post, gateway } = createFakeServer()
    const response = await post(path, body, { 'content-type': type })
    expect([response.statusCode, response.body]).toEqual([406, "Couldn't parse JSON content."])
    expect(response.headers['content-type']).toBe('text/plain; charset=utf-8')
    expect(gateway.points).toEqual([])
  })

  it('reads a body without a content type as JSON', async () => {
    const { app } = createFakeServer()
    const response = await app.inject({
      method: 'POST',
      url: path,
      payload: ITEM,
      headers: { authorization: 'Bearer test-key' },
    })
    expect(response.statusCode).toBe(202)
  })

  it.each([
    ['no key', {}],
    ['an unknown key', { authorization: 'Bearer wrong' }],
    ['a key without the scope', { authorization: 'Bearer reader' }],
  ])('returns 403 for %s before it reads the body', async (_, headers) => {
    const keys = new Map([['reader', { project: 'shop', scopes: ['query'] as const }]])
    const { app } = createFakeServer({ keys })
    const response = await app.inject({ method: 'POST', url: path, payload: '{', headers })
    expect([response.statusCode, response.body]).toEqual([403, 'Unauthorized'])
  })

  it('returns 413 for a body above the size limit and accepts one of that size', async () => {
    const { post } = createFakeServer({}, { bodyBytesMax: 100 })
    expect((await post(path, ITEM.padEnd(100))).statusCode).toBe(202)
    const response = await post(path, ITEM.padEnd(101))
    expect([response.statusCode, response.body]).toEqual([413, 'payload reached size limit'])
  })

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ] as const)(
    'accepts bodies in %s up to the size limit and returns 406 for a damaged one',
    async (encoding, compress) => {
      const { post, gateway } = createFakeServer({}, { bodyBytesMax: 100 })
      const encoded = { 'content-encoding': encoding }
      expect((await post(path, compress(ITEM.padEnd(100)), encoded)).statusCode).toBe(202)
      const lines = { ...encoded, 'content-type': 'application/x-ndjson' }
      expect((await post(path, compress(`${ITEM}\n${ITEM}`), lines)).headers['x-metrics-accepted']).toBe('2')
      const large = await post(path, compress(ITEM.padEnd(101)), encoded)
      expect([large.statusCode, large.body]).toEqual([413, 'payload reached size limit'])
      for (const body of [Buffer.from(ITEM), compress(ITEM).subarray(0, -5), compress('{')]) {
        const refused = await post(path, body, encoded)
        expect([refused.statusCode, refused.body]).toEqual([406, "Couldn't parse JSON content."])
      }
      expect((await post(path, ITEM, { 'content-encoding': 'zstd' })).statusCode).toBe(406)
      expect(gateway.points).toHaveLength(3)
    },
  )

  it('refuses a body as overloaded when the budget has no room for it decompressed, and releases the bytes', async () => {
    const { post } = createFakeServer({}, { bodiesBytesMax: 1_000 })
    const bomb = gzipSync(ITEM.padEnd(1_000))
    for (let i = 0; i < 3; i++) {
      expect((await post(path, bomb, { 'content-encoding': 'gzip' })).statusCode).toBe(503)
      expect((await post(path, gzipSync(ITEM.padEnd(900)), { 'content-encoding': 'gzip' })).statusCode).toBe(202)
    }
  })

  it('returns 413 for too many points and stores none', async () => {
    const { post, gateway } = createFakeServer({}, { requestPointsMax: 3 })
    expect((await post(path, `[${ITEM},${ITEM},${ITEM}]`)).statusCode).toBe(202)
    for (const body of [
      `[${ITEM},${ITEM},${ITEM},${ITEM}]`,
      '[1,2,3,4]',
      '{"name":"s","set":{"values":["a","b","c","d"]}}',
    ])
      expect((await post(path, body)).body).toBe('payload reached size limit')
    expect(gateway.points).toHaveLength(3)
  })

  it.each([
    ['overloaded', 503, '1'],
    ['store_unavailable', 503, '5'],
    ['rate_limited', 429, undefined],
    ['internal', 500, undefined],
  ] as const)('returns %s as a status and a line of text', async (code, status, seconds) => {
    const { post } = createFakeServer({
      before: (verb) => {
        if (verb === 'track') throw new GatewayError(code, 'because')
      },
    })
    const response = await post(path, ITEM)
    expect([response.statusCode, response.body]).toEqual([status, 'because'])
    expect(response.headers['retry-after']).toBe(seconds)
    expect(response.headers['content-type']).toBe('text/plain; charset=utf-8')
  })

  it('takes a permit of its own class by client address, and returns 429 without a permit', async () => {
    const taken: string[] = []
    const permit = { isGranted: true, limit: 500, remaining: 1, resetSeconds: 42 }
    const takePermit = (rateClass: string) => {
      taken.push(rateClass)
      return permit
    }
    const granted = await createFakeServer({ takePermit }).post(path, ITEM)
    expect([granted.statusCode, granted.headers['ratelimit-remaining'], taken]).toEqual([202, '1', ['betterstack']])
    const refusing = createFakeServer({ takePermit: () => ({ ...permit, isGranted: false, remaining: 0 }) })
    const refused = await refusing.post(path, ITEM)
    expect([refused.statusCode, refused.headers['retry-after']]).toEqual([429, '42'])
    expect(refused.body).toMatch(/^the limit of 500 requests per minute is reached/)
    expect(refusing.gateway.points).toEqual([])
  })

  it('counts items that the gateway rejects', async () => {
    const { post } = createFakeServer({
      resolve: (name) => (name === 'taken' ? reject('type_conflict', 'because') : undefined),
    })
    const response = await post(path, `[${ITEM},${ITEM.replace('cpu', 'taken')}]`)
    expect(response.statusCode).toBe(202)
    expect(response.headers).toMatchObject({ 'x-metrics-accepted': '1', 'x-metrics-rejected': '1' })
  })

  it('serves an idempotency key once', async () => {
    const { post, gateway } = createFakeServer()
    const response = await post(path, ITEM, { 'idempotency-key': 'k1' })
    expect([response.statusCode, response.headers['x-metrics-accepted']]).toEqual([202, '1'])
    expect([gateway.requests[0]?.key, gateway.keysTracked]).toEqual(['k1', ['k1']])
  })

  it('returns 200 for HEAD', async () => {
    const { app } = createFakeServer()
    const response = await app.inject({ method: 'HEAD', url: path })
    expect([response.statusCode, response.body]).toEqual([200, ''])
  })

  it('logs some unreadable times at the debug level, and no key', async () => {
    const { post, logged, gateway } = createFakeServer()
    const odd = ITEM.replace('}}', '},"dt":"half past nine"}')
    expect((await post(path, `[${Array.from({ length: 50 }, () => odd).join()}]`)).statusCode).toBe(202)
    expect(gateway.points[0]?.timeMs).toBe(NOW_MS)
    const lines = logged()
      .split('\n')
      .filter((line) => line.includes('half past nine'))
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain('"level":20')
    expect(lines[0]?.split('half past nine')).toHaveLength(11)
    expect(logged()).not.toContain('test-key')
  })
})

it('accepts __proto__ as a tag key in every format', async () => {
  const item = '{"name":"cpu","gauge":{"value":1},"tags":{"__proto__":"x"}}'
  for (const [type, body] of [
    ['application/json', item],
    ['application/x-ndjson', item],
    ['application/msgpack', packedProto()],
  ] as const) {
    const { post, gateway } = createFakeServer()
    expect((await post('/metrics', body, { 'content-type': type })).headers['x-metrics-accepted']).toBe('1')
    expect(gateway.points).toMatchObject([{ tags: [['__proto__', 'x']] }])
  }
})

/** The library refuses to encode that key. */
function packedProto(): Buffer {
  const body = packed({ name: 'cpu', gauge: { value: 1 }, tags: { __prota__: 'x' } })
  body[body.indexOf('__prota__') + 6] = 0x6f
  return body
}

it('counts items whose unreadable time was replaced by the time of reception', async () => {
  const { post, gateway } = createFakeServer()
  const dt = (time: string, name = '"cpu"'): string => `{"name":${name},"gauge":{"value":1},"dt":${time}}`
  const items = [
    dt('"soon"'),
    dt('"0001-01-01T00:00:00Z"'),
    dt('null'),
    dt('"2024-01-15 10:30:00 +0000 UTC"'),
    dt('"soon"', '""'),
    ITEM,
  ]
  for (const [type, body] of [
    ['application/json', `[${items.join(',')}]`],
    ['application/x-ndjson', items.join('\n')],
    ['application/msgpack', packed(items.map((item) => JSON.parse(item)))],
  ] as const) {
    const { headers } = await post('/metrics', body, { 'content-type': type })
    expect([
      headers['x-metrics-accepted'],
      headers['x-metrics-rejected'],
      headers['x-metrics-unreadable-time'],
    ]).toEqual(['5', '1', '2'])
  }
  expect((await post('/metrics', ITEM)).headers['x-metrics-unreadable-time']).toBe('0')
  expect(gateway.points.filter(({ timeMs }) => timeMs === NOW_MS)).toHaveLength(3 * 4 + 1)
})
