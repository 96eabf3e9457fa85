import { afterAll, beforeAll, expect, it } from 'vitest'
import { startGateway, type TestGateway } from '../../support/gateway.ts'
import { openRequest } from '../../support/raw-request.ts'

let gateway: TestGateway
beforeAll(async () => {
  gateway = await startGateway()
  const body = JSON.stringify({ name: 'm', type: 'gauge', value: 1 })
  await fetch(`${gateway.url}/api/v1/metrics`, { method: 'POST', headers: { 'x-api-key': gateway.key }, body })
})
afterAll(() => gateway.close())

async function head(path: string, headers: Record<string, string> = {}) {
  const {
    status,
    headers: received,
    body,
  } = await openRequest(gateway.url + path, { 'x-api-key': gateway.key, ...headers }, 'HEAD').response
  expect(body).toBe('')
  return { status, type: received['content-type'] }
}

it('every GET route accepts HEAD', async () => {
  const paths = gateway.routes.filter(({ method }) => method === 'GET').map(({ path }) => path)
  expect(paths.length).toBeGreaterThan(8)
  for (const path of paths) {
    const { status } = await head(path.replace(':name', path.includes('playground') ? 'nothing' : 'm'))
    expect([200, 404, 400]).toContain(status)
  }
})

it.each([
  ['text/event-stream', 'text/event-stream; charset=utf-8'],
  ['multipart/mixed;subscriptionSpec=1.0', 'multipart/mixed;boundary="graphql";subscriptionSpec="1.0"'],
])('HEAD of a subscription or a query as %s ends and leaves nothing running', async (accept, type) => {
  for (const query of ['subscription { live(metric: "m") { kind } }', '{ __typename }']) {
    expect(await head(`/graphql?query=${encodeURIComponent(query)}`, { accept })).toEqual({ status: 200, type })
    expect(gateway.live.objectCounts.subscriptions).toBe(0)
  }
})
