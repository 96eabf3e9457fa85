import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { expect, it, onTestFinished } from 'vitest'
import { type ChildGateway, startChild } from '../support/child-gateway.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const KEY = 'stop-key-12345'
const POINT = '{"name":"n","type":"gauge","value":1}'

async function started(env: Readonly<Record<string, string>> = {}): Promise<ChildGateway> {
  const DATA_DIR = await temporaryFolder()
  const child = await startChild({ PORT: '0', DATA_DIR, API_KEYS: `${KEY}:shop:ingest+query`, ...env })
  onTestFinished(() => {
    child.process.kill('SIGKILL')
  })
  return child
}

/** A point of which the gateway has the first half: it is being served. */
async function halfSent({ url }: ChildGateway): Promise<ClientRequest> {
  const headers = { 'x-api-key': KEY, 'content-length': POINT.length, expect: '100-continue' }
  const sending = request(`${url}/api/v1/metrics`, { method: 'POST', headers })
  sending.flushHeaders()
  // Node says so when it hands the request on.
  await once(sending, 'continue')
  sending.write(POINT.slice(0, 10))
  return sending
}

const refuses = (url: string) =>
  fetch(`${url}/health`).then(
    () => false,
    () => true,
  )

it('stops at once despite open connections without a request', async () => {
  const child = await startChild({ PORT: '0', DATA_DIR: await temporaryFolder() })
  onTestFinished(() => {
    child.process.kill('SIGKILL')
  })
  const socket = connect(Number(new URL(child.url).port), '127.0.0.1')
  onTestFinished(() => {
    socket.destroy()
  })
  await once(socket, 'connect')
  // The response arrives after the connection was accepted.
  expect((await fetch(`${child.url}/health`)).status).toBe(200)
  const closed = once(socket.resume(), 'close')
  expect((await child.kill('SIGTERM')).code).toBe(0)
  await closed
})

it('finishes running requests, accepts no new ones, and exits with 0', async () => {
  const child = await started()
  const sending = await halfSent(child)
  const ended = child.kill('SIGTERM')
  await expect.poll(() => refuses(child.url), { timeout: 10_000 }).toBe(true)
  const responding = once(sending, 'response')
  sending.end(POINT.slice(10))
  const [response]: IncomingMessage[] = await responding
  expect(response?.statusCode).toBe(201)
  expect(JSON.parse(await text(response!))).toMatchObject({ data: { name: 'n' } })
  expect(await ended).toMatchObject({ code: 0, signal: null })
})

it('is not ready for a while before it closes the port', async () => {
  const child = await started({ DRAIN_MS: '3000' })
  const ended = child.kill('SIGTERM')
  const ready = async () => (await fetch(`${child.url}/ready`)).status
  await expect.poll(ready, { timeout: 2_000 }).toBe(503)
  expect((await fetch(`${child.url}/health`)).status).toBe(200)
  const headers = { 'x-api-key': KEY }
  const sent = await fetch(`${child.url}/api/v1/metrics`, { method: 'POST', headers, body: POINT })
  expect(sent.status).toBe(201)
  expect((await ended).code).toBe(0)
})

it('closes the connections of requests that take too long', async () => {
  const child = await started({ CLOSE_MS_MAX: '200' })
  const sending = await halfSent(child)
  const failed = once(sending, 'error')
  expect((await child.kill('SIGTERM')).code).toBe(0)
  await failed
})
