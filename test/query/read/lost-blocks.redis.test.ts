import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { startGateway } from '../../support/gateway.ts'
import { startRedis } from '../../support/redis-server.ts'

/** A Redis that drops data by itself: a query of what is lost says so, for no retry will find it. */

test.each([
  ['allkeys-lru', /evicted 0 keys under maxmemory-policy allkeys-lru; set it to noeviction/],
  ['noeviction', /keys were deleted from Redis/],
])('under maxmemory-policy %s a query of lost blocks names the reason', async (policy, reason) => {
  const server = await startRedis({ args: ['--maxmemory-policy', policy] })
  onTestFinished(() => server.stop())
  const gateway = await startGateway({ env: { REDIS_URL: server.url, FOLD_INBOX_AGE_MS: '3600000' } })
  onTestFinished(() => gateway.close())
  const headers = { 'x-api-key': gateway.key, 'content-type': 'application/json' }
  const track = (name: string) =>
    fetch(`${gateway.url}/api/v1/metrics`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ name, type: 'distribution', value: 1 }),
    })
  const ask = async (name: string) => {
    const response = await fetch(`${gateway.url}/api/v1/metrics/${name}/query?aggregation=p95`, { headers })
    return { status: response.status, text: await response.text() }
  }
  expect((await track('lost')).status).toBe(201)
  const client = new Redis(server.url)
  onTestFinished(() => client.disconnect())
  const blocks = await client.keys('gq:*:block:*')
  expect(blocks.length).toBeGreaterThan(0)
  await client.del(...blocks)
  const refused = await ask('lost')
  expect(refused.status).toBe(503)
  expect(refused.text).toMatch(reason)
  expect(refused.text).not.toContain('try again')
})
