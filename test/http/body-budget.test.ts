import { request } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { startGateway, type TestGateway } from '../support/gateway.ts'

let gateway: TestGateway | undefined
afterEach(() => gateway?.close())

/** Begins a POST that announces so many bytes and sends none; `end` hangs up. */
function hold(url: string, key: string, bytes: number): { readonly end: () => Promise<void> } {
  const held = request(`${url}/api/v1/metrics/batch`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': bytes },
  })
  held.on('error', () => {})
  held.flushHeaders()
  return {
    end: () =>
      new Promise((resolve) => {
        held.once('close', resolve)
        held.destroy()
      }),
  }
}

async function track({ url, key }: TestGateway): Promise<number> {
  const body = JSON.stringify({ name: 'm', type: 'gauge', value: 1 })
  const { status } = await fetch(`${url}/api/v1/metrics`, { method: 'POST', headers: { 'x-api-key': key }, body })
  return status
}

describe('bodies being received', () => {
  it('are refused as overloaded beyond their bound, and the room comes back when a client hangs up', async () => {
    gateway = await startGateway({ env: { BODIES_BYTES_MAX: '10000' } })
    const { url, key } = gateway
    expect(await track(gateway)).toBe(201)
    const held = hold(url, key, 9_990)
    await expect.poll(() => track(gateway!)).toBe(503)
    await held.end()
    await expect.poll(() => track(gateway!)).toBe(201)
  })

  it('hold no room while the answer to one goes on', async () => {
    // A body of unknown length counts as the longest.
    gateway = await startGateway({ env: { BODY_BYTES_MAX: '9990', BODIES_BYTES_MAX: '10000' } })
    const { url, key } = gateway
    expect(await track(gateway)).toBe(201)
    const live = request(`${url}/graphql`, {
      method: 'POST',
      headers: { 'x-api-key': key, accept: 'text/event-stream', 'content-type': 'application/json' },
    })
    live.on('error', () => {})
    live.flushHeaders()
    live.end(JSON.stringify({ query: 'subscription { live(metric: "m") { kind } }' }))
    await expect.poll(() => gateway!.live.held.subscriptions).toBe(1)
    expect(await track(gateway)).toBe(201)
    live.destroy()
  })
})
