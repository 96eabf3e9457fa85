import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { documented } from '../support/documented.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { installedProgram } from '../support/installed-program.ts'
import { freePorts } from '../support/redis-server.ts'
import { ask } from './harness.ts'

/** The command of docs/send.md, with the vmagent of Debian, which scrapes a page of prom-client. */

const register = new Registry()
const registers = [register]
const orders = new Counter({ name: 'shop_orders_total', help: 'Orders.', labelNames: ['country'], registers })
const queue = new Gauge({ name: 'shop_queue', help: 'Waiting orders.', registers })
const duration = new Histogram({ name: 'shop_duration_seconds', help: 'Seconds.', buckets: [0.1, 0.5, 1], registers })

let gateway: TestGateway
let page: Server
let vmagent: ChildProcess
let folder: string

beforeAll(async () => {
  gateway = await startGateway()
  page = createServer(async (_request, response) => {
    response.setHeader('content-type', register.contentType)
    response.end(await register.metrics())
  })
  await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve))
  orders.inc({ country: 'de' }, 0)
  const program = await installedProgram({ names: ['vmagent'], packageName: 'victoria-metrics' })
  folder = await mkdtemp(join(tmpdir(), 'gaugeql-vmagent-'))
  const { port: pagePort } = page.address() as AddressInfo
  await writeFile(
    join(folder, 'prometheus.yml'),
    `global: { scrape_interval: 1s }
scrape_configs:
  - job_name: shop
    static_configs: [{ targets: ['127.0.0.1:${pagePort}'] }]
`,
  )
  const [port] = await freePorts(1)
  const command = `exec ${documented('vmagent', gateway).trim()} -httpListenAddr=127.0.0.1:${port} -remoteWrite.flushInterval=200ms`
  const path = `${dirname(program)}${delimiter}${process.env['PATH']}`
  vmagent = spawn('sh', ['-c', command], { cwd: folder, stdio: 'ignore', env: { ...process.env, PATH: path } })
}, 300_000)

afterAll(async () => {
  if (vmagent?.exitCode === null) {
    vmagent.kill()
    await once(vmagent, 'exit')
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
  await vi.waitFor(async () => expect(await number('shop_orders_total', 'last')).toBe(0), WAIT)
  await vi.waitFor(async () => expect(await number('shop_duration_seconds_count', 'last')).toBe(0), WAIT)
  orders.inc({ country: 'de' }, 7)
  queue.set(42)
  for (let i = 1; i <= 100; i++) duration.observe(i / 100)
  await vi.waitFor(async () => expect(await number('shop_duration_seconds_count', 'sum')).toBe(100), WAIT)
  await vi.waitFor(async () => expect(await number('shop_queue', 'last')).toBe(42), WAIT)

  expect(await number('shop_orders_total', 'sum', { country: 'de', job: 'shop' })).toBe(7)
  expect(await number('shop_duration_seconds', 'sum')).toBe(100)
  expect(await number('shop_duration_seconds', 'sum', { le: '0.5' })).toBe(50)
  expect(await number('shop_duration_seconds', 'p50')).toBeCloseTo(0.5, 6)
}, 180_000)
