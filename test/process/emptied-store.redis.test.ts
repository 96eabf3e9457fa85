import { Redis } from 'ioredis'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { type RedisCluster, type RedisServer, startCluster, startRedis } from '../support/redis-server.ts'

/**
 * A Redis that was emptied under a running gateway: its description comes back, missing keys are told, nobody of
 * another shape moves in.
 */

async function started(env: Readonly<Record<string, string>>, now?: () => number): Promise<TestGateway> {
  const gateway = await startGateway({ env: { API_KEYS: '', ...env }, ...(now && { now }) })
  onTestFinished(() => gateway.close())
  return gateway
}

async function ready(gateway: TestGateway): Promise<{ status: number; text: string }> {
  const response = await fetch(`${gateway.url}/ready`)
  return { status: response.status, text: await response.text() }
}

async function emptied(urls: readonly string[]): Promise<void> {
  for (const url of urls) {
    const client = new Redis(url)
    await client.flushall()
    client.disconnect()
  }
}

describe.each(['server', 'cluster'])('a %s that was emptied', (kind) => {
  async function store(): Promise<{ env: Record<string, string>; urls: string[] }> {
    if (kind === 'server') {
      const server: RedisServer = await startRedis()
      onTestFinished(() => server.stop())
      return { env: { REDIS_URL: server.url }, urls: [server.url] }
    }
    const cluster: RedisCluster = await startCluster()
    onTestFinished(() => cluster.stop())
    return {
      env: { REDIS_CLUSTER_NODES: cluster.nodes.join(',') },
      urls: cluster.nodes.map((node) => `redis://${node}`),
    }
  }

  it('makes the gateway not ready, with the reason, and refuses gateways with other partitions', async () => {
    const { env, urls } = await store()
    let nowMs = Date.now()
    const gateway = await started(env, () => nowMs)
    expect(gateway.firstKey).toBeDefined()
    expect(await ready(gateway)).toEqual({ status: 200, text: '{"status":"ready"}' })
    await emptied(urls)
    nowMs += 5_000
    const { status, text } = await ready(gateway)
    expect(status).toBe(503)
    expect(text).toContain('the store has no API keys')
    await expect(startGateway({ env: { API_KEYS: '', ...env, PARTITIONS: '4' } })).rejects.toThrow(
      'was made with partitions 8, not 4',
    )
    // Another start makes a key, and both serve.
    const second = await started(env)
    expect(second.firstKey).toBeDefined()
    for (const each of [gateway, second]) {
      expect((await ready(each)).status).toBe(200)
      const asked = await fetch(`${each.url}/api/v1/metrics`, { headers: { 'x-api-key': second.firstKey! } })
      expect(asked.status).toBe(200)
    }
  })
})

it('a server that was emptied and created again with other partitions or by another version is refused by the running gateway', async () => {
  const server = await startRedis()
  onTestFinished(() => server.stop())
  const key = 'key-of-both-0123456789'
  const gateway = await started({ REDIS_URL: server.url, API_KEYS: `${key}:test:ingest+query+admin` })
  await emptied([server.url])
  // A gateway that is faster than any look of the one that runs.
  const created = async (record: string): Promise<void> => {
    const client = new Redis(server.url)
    await client.set('gq:{p0}:meta', record)
    client.disconnect()
  }
  await created('{"version":1,"partitions":4,"resolutions":[10000],"setResolutions":[60000]}')
  const { status, text } = await ready(gateway)
  expect(status).toBe(503)
  expect(text).toContain('created again with other partitions or resolutions')
  const body = JSON.stringify({ name: 'm', type: 'gauge', value: 1 })
  const headers = { 'x-api-key': key, 'content-type': 'application/json' }
  const sent = await fetch(`${gateway.url}/api/v1/metrics`, { method: 'POST', headers, body })
  expect(sent.status).toBe(503)
  expect(await sent.text()).toContain('created again with other partitions')
  await created('{"version":99}')
  expect((await ready(gateway)).text).toContain('by another version of the gateway; start the gateway in that version')
  // Emptied once more, it is the old one's again.
  await emptied([server.url])
  expect((await ready(gateway)).status).toBe(200)
})
