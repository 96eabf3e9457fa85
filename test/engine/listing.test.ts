import { fastify } from 'fastify'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { writeMetrics } from '../../src/http/flux/flux-responses.ts'
import { sendJsonStream } from '../../src/http/response/json-response.ts'
import { GatewayError } from '../../src/model/errors.ts'
import type { MetricRow } from '../../src/store/catalog.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { PROJECT } from './harness.ts'

/** Listings of many metrics, on the embedded store. */

const METRICS = 3_000
const names = Array.from({ length: METRICS }, (_, i) => `metric.${i + 10_000}`)
let gateway: TestGateway

beforeAll(async () => {
  gateway = await startGateway()
  for (let from = 0; from < METRICS; from += 1_000) {
    await gateway.gateway.track(PROJECT, (sink) => {
      for (const [i, name] of names.slice(from, from + 1_000).entries()) {
        const series = sink.resolve(name, 'gauge', [])
        if (!('code' in series)) sink.add(i, series, Date.now(), 1)
      }
    })
  }
})
afterAll(() => gateway.close())

async function list(query = ''): Promise<{ names: string[]; response: Response }> {
  const response = await fetch(`${gateway.url}/api/v1/metrics${query}`, { headers: { 'x-api-key': gateway.key } })
  const { data } = JSON.parse(await response.text())
  return { names: data.map(({ name }: MetricRow) => name), response }
}

describe('GET /api/v1/metrics', () => {
  it('answers all without a limit, in parts, and pages with one', async () => {
    const all = await list()
    expect(all.names).toEqual(names)
    expect(all.response.headers.get('transfer-encoding')).toBe('chunked')
    expect(all.response.headers.get('content-type')).toBe('application/json; charset=utf-8')
    expect((await list('?limit=700')).names).toEqual(names.slice(0, 700))
    expect((await list('?limit=700&after=metric.10699')).names).toEqual(names.slice(700, 1_400))
    expect((await list('?search=RIC.1000')).names).toEqual(names.slice(0, 10))
    expect((await list('?search=999&limit=2')).names).toEqual(['metric.10999', 'metric.11999'])
  })

  it('answers what is short whole, with its length', async () => {
    const { names: found, response } = await list('?search=zzzz')
    expect(found).toEqual([])
    expect(response.headers.get('content-length')).toBe('11')
  })

  it('yields to other requests after some hundred names', async () => {
    let turns = 0
    let isOver = false
    const count = (): void => {
      turns++
      if (!isOver) setImmediate(count)
    }
    setImmediate(count)
    expect(await gateway.gateway.metrics(PROJECT, { search: 'metric' })).toHaveLength(METRICS)
    isOver = true
    expect(turns).toBeGreaterThanOrEqual(METRICS / 500 - 1)
  })

  it('ends, reading no further, when the client goes away', async () => {
    const row = await gateway.gateway.metric(PROJECT, names[0]!)
    let asked = 0
    let ended: () => void
    const end = new Promise<void>((resolve) => {
      ended = resolve
    })
    const pages = async function* () {
      try {
        for (;;) {
          asked++
          yield Array<MetricRow>(500).fill(row!)
        }
      } finally {
        ended()
      }
    }
    const app = fastify({ forceCloseConnections: true })
    onTestFinished(() => app.close())
    app.get('/', (_request, reply) => sendJsonStream(reply, 200, writeMetrics(pages())))
    const client = new AbortController()
    const response = await fetch(await app.listen({ port: 0 }), { signal: client.signal })
    expect(response.status).toBe(200)
    client.abort()
    await end
    const atTheEnd = asked
    await new Promise(setImmediate)
    expect(asked).toBe(atTheEnd)
  })

  it('is an error as long as nothing was sent, and a closed connection after that', async () => {
    const row = await gateway.gateway.metric(PROJECT, names[0]!)
    const failingAfter = async function* (pages: number) {
      for (let i = 0; i < pages; i++) yield Array<MetricRow>(500).fill(row!)
      throw new GatewayError('store_unavailable', 'the store does not answer')
    }
    const app = fastify({ forceCloseConnections: true })
    onTestFinished(() => app.close())
    app.get('/0', (_request, reply) => sendJsonStream(reply, 200, writeMetrics(failingAfter(0))))
    app.get('/9', (_request, reply) => sendJsonStream(reply, 200, writeMetrics(failingAfter(9))))
    const url = await app.listen({ port: 0 })
    expect((await fetch(`${url}/0`)).status).toBe(500)
    const response = await fetch(`${url}/9`)
    expect(response.status).toBe(200)
    await expect(response.text()).rejects.toThrow()
  })
})
