import { createServer, type ServerResponse } from 'node:http'
import { Duplex } from 'node:stream'
import type { ExecutionResult } from 'graphql'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { SERVER_SENT_EVENTS } from '../../../src/graphql/server/stream-format.ts'
import { OpenStreams } from '../../../src/graphql/server/streams.ts'
import { GatewayError } from '../../../src/model/errors.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** A connection of which the test decides how much the client reads. */
class Connection extends Duplex {
  text = ''
  #readableBytes = 0
  #unread: { readonly chunk: Buffer; readonly done: () => void } | undefined

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#unread = { chunk, done }
    this.#readUnread()
  }

  clientReads(bytes: number): void {
    this.#readableBytes = bytes
    this.#readUnread()
  }

  #readUnread(): void {
    if (this.#unread === undefined) return
    const { chunk, done } = this.#unread
    const count = Math.min(chunk.length, this.#readableBytes)
    this.#readableBytes -= count
    this.text += chunk.subarray(0, count).toString('latin1')
    this.#unread = count === chunk.length ? undefined : { chunk: chunk.subarray(count), done }
    if (this.#unread === undefined) done()
  }
}

const RESULT: ExecutionResult = { data: { text: 'x'.repeat(1_000_000) } }

/**
 * Sends one large result to a client that reads this many bytes each 10 s, for some minutes, and then all that is left.
 * Returns what it has read, and whether its connection was closed before that.
 */
async function sendTo(bytesPer10s: number, minutes: number): Promise<{ text: string; isCutOff: boolean }> {
  const streams = new OpenStreams({ keepAliveIntervalMs: 1_000, stallTimeoutMs: 30_000, unreadBytesMax: 1 << 30 })
  const results = (async function* () {
    yield RESULT
  })()
  let sent: Promise<void> | undefined
  const server = createServer((_request, response: ServerResponse) => {
    sent = streams.send(response, {
      results,
      format: SERVER_SENT_EVENTS,
      headers: {},
      writeJson: async (result) => JSON.stringify(result),
      errorResult: (error) => ({
        data: { error: error instanceof GatewayError ? `${error.code}: ${error.message}` : '' },
      }),
      requireAccess: async () => {},
    })
  })
  const connection = new Connection()
  connection.on('error', () => {})
  server.emit('connection', connection)
  connection.push('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  for (let step = 0; step < minutes * 6; step++) {
    connection.clientReads(bytesPer10s)
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    await vi.advanceTimersByTimeAsync(10_000)
  }
  const isCutOff = connection.destroyed
  connection.clientReads(Number.POSITIVE_INFINITY)
  await sent
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  expect(streams.openCount).toBe(0)
  connection.destroy()
  return { text: connection.text, isCutOff }
}

/** The content of a chunked response. */
const contentOf = (text: string): string => {
  let content = ''
  for (let at = text.indexOf('\r\n\r\n') + 4; at < text.length; ) {
    const end = text.indexOf('\r\n', at)
    const length = Number.parseInt(text.slice(at, end), 16)
    content += text.slice(end + 2, end + 2 + length)
    at = end + 2 + length + 2
  }
  return content
}

test('a client that reads steadily gets a result that takes it minutes', async () => {
  const { text } = await sendTo(50_000, 4)
  expect(contentOf(text)).toBe(`:\n\nevent: next\ndata: ${JSON.stringify(RESULT)}\n\nevent: complete\ndata:\n\n`)
})

test('a client that reads a byte a second is cut off, with what happened after the whole result', async () => {
  const { text, isCutOff } = await sendTo(10, 0.5)
  expect(isCutOff).toBe(false)
  const message = 'overloaded: the client read less than 65536 bytes in 30000 ms'
  expect(contentOf(text)).toBe(
    `:\n\nevent: next\ndata: ${JSON.stringify(RESULT)}\n\nevent: next\ndata: {"data":{"error":"${message}"}}\n\n`,
  )
  expect((await sendTo(10, 1)).isCutOff).toBe(true)
})
