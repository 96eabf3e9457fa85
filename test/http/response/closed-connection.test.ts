import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Gateway } from '../../../src/gateway.ts'
import { abortWhenClosed } from '../../../src/http/response/closed-connection.ts'
import type { GatewayError } from '../../../src/model/errors.ts'
import type { QuerySignal } from '../../../src/query/query-signal.ts'
import type { QuerySession } from '../../../src/query/session.ts'
import { startGraphQL } from '../../graphql/harness.ts'
import { createFakeServer } from '../../support/fake-server.ts'

/** Sends a request that waits in `gateway.query`, closes the connection, and returns the signal of its queries. */
async function signalAfterClose(
  app: FastifyInstance,
  gateway: Gateway,
  path: string,
  key: string,
  queryBegins: Promise<void>,
): Promise<QuerySignal> {
  const openSession = vi.spyOn(gateway, 'openSession')
  await app.listen({ port: 0 })
  onTestFinished(() => app.close())
  const { port } = app.server.address() as AddressInfo
  const sent = request({ port, path, headers: { authorization: `Bearer ${key}` } })
  sent.on('error', () => {}).end()
  await queryBegins
  const { signal }: QuerySession = openSession.mock.results[0]!.value
  expect(signal.reason).toBeUndefined()
  const aborted = new Promise((resolve) => signal.onAbort(resolve))
  sent.destroy()
  await aborted
  return signal
}

/** `hold` waits until the test ends. `isHolding` resolves when `hold` was called. */
function holder(): { readonly isHolding: Promise<void>; readonly hold: () => Promise<void> } {
  let begin = (): void => {}
  const isHolding = new Promise<void>((resolve) => {
    begin = resolve
  })
  const held = new Promise<void>((resolve) => onTestFinished(() => resolve()))
  return {
    isHolding,
    hold: () => {
      begin()
      return held
    },
  }
}

test('the queries of a REST request are aborted when its client closes the connection', async () => {
  const { isHolding, hold } = holder()
  const { app, gateway } = createFakeServer({ before: (verb) => (verb === 'query' ? hold() : undefined) })
  const signal = await signalAfterClose(app, gateway, '/api/v1/metrics/m/query', 'test-key', isHolding)
  expect(signal.reason).toMatchObject({ code: 'request_timeout' })
})

test('the queries of a GraphQL request are aborted when its client closes the connection', async () => {
  const { isHolding, hold } = holder()
  const { app, gateway } = startGraphQL()
  gateway.before = hold
  const query = encodeURIComponent('{ query(metric: "latency") { interval } }')
  const signal = await signalAfterClose(app, gateway, `/graphql?query=${query}`, 'both', isHolding)
  expect(signal.reason).toMatchObject({ code: 'request_timeout' })
})

test('the queries of a request whose client closed the connection earlier are aborted at once', async () => {
  const aborted = new Promise<GatewayError>((resolve) => {
    const server = createServer((_, response) =>
      response.once('close', () => setImmediate(() => abortWhenClosed(response, { abort: resolve }))),
    )
    onTestFinished(() => void server.close())
    server.listen(0, () => {
      const sent = request({ port: (server.address() as AddressInfo).port })
      sent.on('error', () => {}).end()
      server.once('request', () => sent.destroy())
    })
  })
  expect(await aborted).toMatchObject({ code: 'request_timeout' })
})

test('a complete response does not abort the queries', async () => {
  const graphql = startGraphQL()
  const openSession = vi.spyOn(graphql.gateway, 'openSession')
  expect((await graphql.run('{ query(metric: "latency") { interval } }')).errors).toBeUndefined()
  expect(openSession.mock.results[0]!.value.signal.reason).toBeUndefined()
})
