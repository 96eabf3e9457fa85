import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Counter, Gauge, Histogram, Registry, Summary } from 'prom-client'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { documented } from '../support/documented.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { installedProgram } from '../support/installed-program.ts'
import { freePorts } from '../support/redis-server.ts'
import { ask, PROJECT } from './harness.ts'

/** Prometheus as Debian has it, which scrapes a page of prom-client and writes to the gateway. */

const register = new Registry()
const registers = [register]
const orders = new Counter({ name: 'shop_orders_total', help: 'Orders.', labelNames: ['country'], registers })
// No suffix tells that it is a counter: its metadata does.
const bytes = new Counter({ name: 'shop_bytes', help: 'Bytes.', registers })
const queue = new Gauge({ name: 'shop_queue', help: 'Waiting orders.', registers })
const duration = new Histogram({ name: 'shop_duration_seconds', help: 'Seconds.', buckets: [0.1, 0.5, 1], registers })
const size = new Summary({ name: 'shop_size', help: 'Sizes.', percentiles: [0.5, 0.9], registers })

let gateway: TestGateway
let page: Server
let isPageDown = false
let prometheus: ChildProcess
let folder: string

beforeAll(async () => {
  gateway = await startGateway()
  page = createServer(async (_request, response) => {
    if (isPageDown) response.statusCode = 503
    response.setHeader('content-type', register.contentType)
    response.end(await register.metrics())
  })
  await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve))
  orders.inc({ country: 'de' }, 0)
  orders.inc({ country: 'fr' }, 0)
  bytes.inc(0)
  const program = await installedProgram({ names: ['prometheus'], packageName: 'prometheus' })
  folder = await mkdtemp(join(tmpdir(), 'gaugeql-prometheus-'))
  const [port] = await freePorts(1)
  const { port: pagePort } = page.address() as AddressInfo
  await writeFile(
    join(folder, 'prometheus.yml'),
    `global: { scrape_interval: 1s }
scrape_configs:
  - job_name: shop
    static_configs: [{ targets: ['127.0.0.1:${pagePort}'] }]
${documented('prometheus', gateway).trimEnd()}
    queue_config: { batch_send_deadline: 200ms }
    metadata_config: { send_interval: 1s }
`,
  )
  prometheus = spawn(
    program,
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: 'ignore' },
  )
}, 300_000)

afterAll(async () => {
  if (prometheus?.exitCode === null) {
    prometheus.kill()
    await once(prometheus, 'exit')
  }
  await new Promise((resolve) => page.close(resolve))
  await gateway.close()
  await rm(folder, { recursive: true, force: true })
})

async function number(metric: string, aggregation: string, labels: Record<string, string> = {}) {
  const tags = new Map(Object.entries(labels).map(([key, value]) => [key, [value]]))
  const { groups } = await ask(gateway, { metric, last: '1h', aggregations: [aggregation], tags })
  return groups[0]?.totals.get(aggregation)
}

const WAIT = { timeout: 60_000, interval: 200 }

test('what a page counts is what the gateway answers', async () => {
  // The first total of a counter counts nothing, so all of them must have arrived once.
  await vi.waitFor(async () => expect(await number('shop_duration_seconds_count', 'last')).toBe(0), WAIT)
  await vi.waitFor(async () => expect(await number('shop_bytes', 'last')).toBe(0), WAIT)
  orders.inc({ country: 'de' }, 7)
  orders.inc({ country: 'fr' }, 5)
  bytes.inc(2_048)
  queue.set(42)
  for (let i = 1; i <= 100; i++) {
    duration.observe(i / 100)
    size.observe(i)
  }
  duration.observe(3)
  await vi.waitFor(async () => expect(await number('shop_duration_seconds_count', 'sum')).toBe(101), WAIT)
  await vi.waitFor(async () => expect(await number('shop_size_sum', 'sum')).toBe(5_050), WAIT)

  expect(await number('shop_orders_total', 'sum')).toBe(12)
  expect(await number('shop_orders_total', 'sum', { country: 'de', job: 'shop' })).toBe(7)
  expect(await number('shop_orders_total', 'rate')).toBeCloseTo(12 / 3_600, 3)
  expect(await number('shop_queue', 'last')).toBe(42)
  expect(await number('shop_duration_seconds', 'sum')).toBe(101)
  expect(await number('shop_duration_seconds', 'sum', { le: '0.5' })).toBe(50)
  expect(await number('shop_duration_seconds_sum', 'sum')).toBeCloseTo(53.5, 6)
  // Interpolated within the buckets: 10 up to 0.1, 40 up to 0.5, 50 up to 1, 1 above.
  expect(await number('shop_duration_seconds', 'p50')).toBeCloseTo(0.505, 6)
  expect(await number('shop_duration_seconds', 'p90')).toBeCloseTo(0.909, 6)
  expect(await number('shop_duration_seconds', 'p100')).toBe(1)
  expect(await number('shop_size', 'last', { quantile: '0.9' })).toBeCloseTo(90.5, 0)

  const metrics = await gateway.gateway.metrics(PROJECT, { search: 'shop_' })
  expect(Object.fromEntries(metrics.map(({ name, type }) => [name, type]))).toEqual({
    shop_bytes: expect.stringMatching(/^(counter|gauge)$/),
    shop_duration_seconds: 'histogram',
    shop_duration_seconds_count: 'counter',
    shop_duration_seconds_sum: 'counter',
    shop_orders_total: 'counter',
    shop_queue: 'gauge',
    shop_size: 'summary',
    shop_size_count: 'counter',
    shop_size_sum: 'counter',
  })

  // A failed scrape ends all series of the page.
  isPageDown = true
  await vi.waitFor(async () => expect(await number('shop_queue', 'last')).toBeNaN(), WAIT)
  expect(await number('shop_queue', 'max')).toBe(42)
  await vi.waitFor(async () => expect(await number('shop_size', 'last', { quantile: '0.9' })).toBeNaN(), WAIT)
  expect(await number('shop_orders_total', 'sum')).toBe(12)
}, 180_000)
