import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { gzipSync } from 'node:zlib'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bodyBytesOf, registerBodyParser } from '../../../src/http/body/request-body.ts'

/** Bodies whose memory is used again: nobody may see the bytes of another request. */

const BODY_BYTES = 60_000

let app: FastifyInstance
let url: string
/** Handlers at work, by the first byte of the body. Calling one lets the handler end. */
let waiting: Map<number, () => void>
let hashesAtEnd: Map<number, string>
let memory: Set<ArrayBufferLike>

const bodyOf = (byte: number) => Buffer.alloc(BODY_BYTES, byte)
const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

beforeEach(async () => {
  waiting = new Map()
  hashesAtEnd = new Map()
  memory = new Set()
  app = Fastify()
  app.decorateRequest('principal', undefined)
  app.addHook('onRequest', async (request) => {
    request.principal = { project: 'p', keyHash: 'k' } as never
  })
  registerBodyParser(app, {
    bodyBytesMax: 1_000_000,
    bodiesBytesMax: 10_000_000,
    bodiesBytesPerNetworkMax: 10_000_000,
    bodyStallMs: 1_000,
  })
  app.post('/', async (request) => {
    const bytes = bodyBytesOf(request)
    memory.add(bytes.buffer)
    const byte = bytes[0]!
    if (byte < 100) await new Promise<void>((resolve) => waiting.set(byte, resolve))
    hashesAtEnd.set(byte, hashOf(bytes))
    if (byte === 200) throw new Error('a fault of the handler')
    return {}
  })
  url = await app.listen({ port: 0, host: '127.0.0.1' })
})
afterEach(() => app.close())

const send = (body: Buffer, headers: Readonly<Record<string, string>> = {}) =>
  fetch(url, {
    method: 'POST',
    body: new Uint8Array(body),
    headers: { 'content-type': 'application/octet-stream', ...headers },
  })

describe('the bytes of a body', () => {
  it('stay as they are until the handler has ended, whatever arrives meanwhile', async () => {
    const slow = [1, 2, 3].map((byte) => send(bodyOf(byte)))
    await expect.poll(() => waiting.size).toBe(3)
    for (let byte = 101; byte < 110; byte++) await send(bodyOf(byte))
    for (const end of waiting.values()) end()
    await Promise.all(slow)
    for (const byte of [1, 2, 3, 109]) expect(hashesAtEnd.get(byte)).toBe(hashOf(bodyOf(byte)))
  })

  it('stay as they are while the handler runs on after its client has gone', async () => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    const head = `POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/octet-stream\r\ncontent-length: ${BODY_BYTES}\r\n\r\n`
    socket.write(Buffer.concat([Buffer.from(head), bodyOf(4)]))
    await expect.poll(() => waiting.size).toBe(1)
    socket.destroy()
    await once(socket, 'close')
    for (let byte = 101; byte < 110; byte++) await send(bodyOf(byte))
    waiting.get(4)!()
    await expect.poll(() => hashesAtEnd.get(4)).toBe(hashOf(bodyOf(4)))
  })

  it('are in memory that the next body uses, also after a fault and after compression', async () => {
    for (let byte = 201; byte < 206; byte++) await send(bodyOf(byte))
    expect((await send(bodyOf(200))).status).toBe(500)
    expect((await send(gzipSync(bodyOf(206)), { 'content-encoding': 'gzip' })).status).toBe(200)
    expect((await send(bodyOf(207))).status).toBe(200)
    expect(hashesAtEnd.get(206)).toBe(hashOf(bodyOf(206)))
    expect(memory.size).toBe(1)
  })
})
