import { createClient } from 'graphql-sse'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  applyLive,
  type Chart,
  type ChartLine,
  chartOf,
  LIVE_FIELDS,
  type LiveUpdate,
} from '../../../examples/live-chart.ts'
import { startGateway, type TestGateway } from '../../support/gateway.ts'
import { type RedisServer, startRedis, until } from '../../support/redis-server.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const ARGUMENTS =
  '(metric: "orders", from: "2024-01-15T10:00:00Z", to: "2024-01-15T10:09:59Z", interval: "1m", groupBy: ["shop"])'

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

async function graphql(gateway: TestGateway, query: string): Promise<Record<string, { series: ChartLine[] }>> {
  const response = await fetch(`${gateway.url}/graphql`, {
    method: 'POST',
    headers: { 'x-api-key': gateway.key, 'content-type': 'application/json' },
    body: JSON.stringify({ query }),
  })
  const { data, errors } = JSON.parse(await response.text())
  expect(errors).toBeUndefined()
  return data
}

async function track(gateway: TestGateway, minute: number, value: number, shop = 'a'): Promise<void> {
  const timestamp = `2024-01-15T10:0${minute}:30Z`
  await graphql(
    gateway,
    `mutation { trackMetric(input: {name: "orders", type: COUNTER, value: ${value}, timestamp: "${timestamp}", tags: {shop: "${shop}"}}) { name } }`,
  )
}

async function fresh(gateway: TestGateway): Promise<Chart> {
  const { query } = await graphql(gateway, `{ query${ARGUMENTS} { series { id timestamps values } } }`)
  return chartOf(query!.series)
}

/** Reconnects when its connection is lost. */
function watch(url: string, key: string, updates: LiveUpdate[]) {
  let chart: Chart = {}
  const client = createClient({
    url: `${url}/graphql`,
    headers: { authorization: `Bearer ${key}` },
    retryAttempts: 100,
    retry: () => new Promise((resolve) => setTimeout(resolve, 50)),
  })
  const dispose = client.subscribe<{ live: LiveUpdate }>(
    { query: `subscription { live${ARGUMENTS} { ${LIVE_FIELDS} } }` },
    {
      next: ({ data }) => {
        if (data?.live == null) return
        updates.push(data.live)
        chart = applyLive(chart, data.live)
      },
      error: () => {},
      complete: () => {},
    },
  )
  return { dispose, chart: () => chart }
}

const isSame = (a: Chart, b: Chart): boolean => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b))
const sorted = (chart: Chart) => Object.entries(chart).sort(([a], [b]) => (a < b ? -1 : 1))

test('a write through one gateway reaches subscribers of another, as the changed bucket', async () => {
  // Without a commit that it hears of, a live query runs again only after 10 s, which is longer than this test waits.
  const env = { REDIS_URL: redis.url, REDIS_PREFIX: 'two' }
  const [a, b] = [await startGateway({ env }), await startGateway({ env })]
  try {
    for (const minute of [1, 2, 3]) await track(a, minute, 1)
    const updates: LiveUpdate[] = []
    const watched = watch(b.url, b.key, updates)
    await until('no snapshot', () => updates.length === 1)
    // The channel is subscribed to when the first watches, so that the first commit may not be heard of.
    await until('no patch', async () => {
      await track(a, 5, 1)
      await new Promise((resolve) => setTimeout(resolve, 100))
      return updates.length > 1
    })
    const before = updates.length
    await track(a, 2, 41)
    await until(
      'no correction',
      () => updates.slice(before).some(({ series }) => series[0]?.values.includes(42)),
      8_000,
    )
    const patch = updates.find(({ series }) => series[0]?.values.includes(42))
    expect(patch?.kind).toBe('PATCH')
    expect(patch?.series[0]?.timestamps).not.toContain(Date.parse('2024-01-15T10:01:00Z'))
    await track(a, 4, 7, 'b')
    await until('another picture than a fresh one', async () => isSame(watched.chart(), await fresh(a)))
    watched.dispose()
  } finally {
    await a.close()
    await b.close()
  }
})

test('a subscriber that reconnects after a restart converges to the result of a new query', async () => {
  const folder = await temporaryFolder()
  let gateway = await startGateway({ folder })
  const { port } = new URL(gateway.url)
  await track(gateway, 1, 1)
  await track(gateway, 2, 2)
  const updates: LiveUpdate[] = []
  const watched = watch(gateway.url, gateway.key, updates)
  await until('no snapshot', () => updates.length === 1)
  // Open streams do not hold up the end.
  await gateway.close()
  gateway = await startGateway({ folder, env: { PORT: port } })
  // Connections that the process keeps are those of before.
  await until('no health', () =>
    fetch(`${gateway.url}/health`).then(
      ({ ok }) => ok,
      () => false,
    ),
  )
  try {
    await track(gateway, 1, 10)
    await track(gateway, 5, 5, 'c')
    await until('another picture than a fresh one', async () => isSame(watched.chart(), await fresh(gateway)))
    expect(updates.filter(({ kind }) => kind === 'SNAPSHOT').length).toBeGreaterThan(1)
    watched.dispose()
  } finally {
    await gateway.close()
  }
})
