import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { applyUpdate, type Chart, EMPTY_CHART, type LiveUpdate } from '../../client/chart.ts'
import { type LiveError, type LiveOptions, subscribeLive } from '../../client/live.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { until } from '../support/redis-server.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

/** The live helper in Node, on a real gateway and on servers that behave oddly. */

const RANGE =
  'metric: "orders", from: "2024-01-15T10:00:00Z", to: "2024-01-15T10:09:59Z", interval: "1m", groupBy: ["shop"]'
const SELECTION = `series { id label total timestamps values points { timestamp value } comparison { timestamps values } }
  groups { tags total { sum } buckets { start values { sum } } }`
const ARGUMENTS = `${RANGE}, compare: { offset: "1h" }`

let gateway: TestGateway
let proxy: TcpProxy
beforeAll(async () => {
  gateway = await startGateway()
  proxy = await TcpProxy.open(Number(new URL(gateway.url).port))
})
afterAll(async () => {
  await proxy.close()
  await gateway.close()
})

interface Watched {
  readonly charts: Chart[]
  readonly errors: LiveError[]
  readonly stop: () => void
}

function watch(options: Partial<LiveOptions>): Watched {
  const charts: Chart[] = []
  const errors: LiveError[] = []
  const stop = subscribeLive(
    { url: `${gateway.url}/graphql`, key: gateway.key, query: '', onError: (error) => errors.push(error), ...options },
    (chart) => charts.push(chart),
  )
  onTestFinished(stop)
  return { charts, errors, stop }
}

async function graphql<T>(query: string): Promise<T> {
  const response = await fetch(`${gateway.url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${gateway.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query }),
  })
  const { data, errors } = (await response.json()) as { data: T; errors: unknown }
  expect(errors).toBeUndefined()
  return data
}

async function track(minute: number, value: number, shop: string, hour = '10'): Promise<void> {
  const timestamp = `2024-01-15T${hour}:0${minute}:30Z`
  await graphql(
    `mutation { trackMetric(input: { name: "orders", type: COUNTER, value: ${value}, timestamp: "${timestamp}", tags: { shop: "${shop}" } }) { name } }`,
  )
}

/** What a new query returns, in an order that patches keep too. */
async function fresh(): Promise<unknown> {
  const { query } = await graphql<{ query: Chart }>(`{ query(${ARGUMENTS}) { ${SELECTION} } }`)
  return sorted(query)
}

function sorted(chart: Chart | undefined): unknown {
  const byText = (a: unknown, b: unknown): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)
  return chart && { series: [...chart.series].sort(byText), groups: [...chart.groups].sort(byText) }
}

const isSame = async ({ charts }: Watched): Promise<boolean> =>
  JSON.stringify(sorted(charts.at(-1))) === JSON.stringify(await fresh())

describe('a live subscription', () => {
  it('shows what a new query returns: after patches, and after its connection was cut', async () => {
    for (const minute of [1, 2, 3]) await track(minute, minute, 'a')
    await track(2, 20, 'a', '09')
    const query = `subscription { live(${ARGUMENTS}) { kind dropBefore at ${SELECTION} } }`
    const watched = watch({ url: `${proxy.url.replace('redis', 'http')}/graphql`, query })
    await until('another picture than a new query', () => isSame(watched))
    await track(2, 40, 'a')
    await track(5, 5, 'b')
    await track(5, 50, 'b', '09')
    await until('another picture after patches', () => isSame(watched))
    expect(watched.charts.length).toBeGreaterThan(1)
    expect(watched.charts.at(-1)!.series[0]!.values).toContain(42)

    proxy.cut()
    await track(7, 7, 'c')
    await until('another picture after the cut', () => isSame(watched))
    expect(watched.errors).toEqual([])

    watched.stop()
    const before = watched.charts.length
    await track(8, 8, 'c')
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    expect(watched.charts).toHaveLength(before)
  })

  it('passes variables', async () => {
    const watched = watch({
      query: 'subscription ($m: String!) { live(metric: $m, last: "1h") { kind dropBefore series { id values } } }',
      variables: { m: 'orders' },
    })
    await until('no chart', () => watched.charts.length > 0)
    expect(watched.errors).toEqual([])
  })

  const LIVE = 'subscription { live(metric: "orders", last: "1h") { kind dropBefore series { id } } }'

  it.each([
    ['a key that does not exist', { query: LIVE, key: 'no-such-key-0123' }, 'INVALID_API_KEY'],
    ['a path that does not exist', { query: LIVE, url: '/none' }, 'HTTP_404'],
    [
      'a selection without id',
      { query: 'subscription { live(metric: "orders", last: "1h") { kind dropBefore series { values } } }' },
      'INVALID_SELECTION',
    ],
    [
      'a selection without kind',
      { query: 'subscription { live(metric: "orders", last: "1h") { series { id } } }' },
      'INVALID_SELECTION',
    ],
  ])('ends with an error after %s', async (_case, options, code) => {
    const url = 'url' in options ? `${gateway.url}${options.url}` : `${gateway.url}/graphql`
    const watched = watch({ ...options, url })
    await until('no final error', () => watched.errors.some(({ isFinal }) => isFinal))
    expect(watched.errors).toMatchObject([{ code, isFinal: true }])
    expect(watched.charts).toEqual([])
  })

  it('ends when the gateway says that it cannot be served', async () => {
    const watched = watch({ query: 'subscription { live(metric: "orders", last: "a while") { kind dropBefore } }' })
    await until('no final error', () => watched.errors.some(({ isFinal }) => isFinal))
    expect(watched.errors[0]!.message).toContain('a while')
    expect(watched.charts).toEqual([])
  })
})

/** A server that answers each request by its number. */
async function serve(...listeners: RequestListener[]): Promise<{ readonly url: string; readonly times: number[] }> {
  const times: number[] = []
  const server = createServer((request, response) => {
    times.push(Date.now())
    listeners[Math.min(times.length, listeners.length) - 1]!(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server does not listen')
  return { url: `http://127.0.0.1:${address.port}`, times }
}

const SNAPSHOT =
  'event: next\ndata: {"data":{"live":{"kind":"SNAPSHOT","dropBefore":null,"series":[{"id":"ä","timestamps":[1],"values":[2]}]}}}\n\n'
const stream: RequestListener = (_request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
}

describe('reconnecting', () => {
  it('waits as long as Retry-After says, and tells about the failure', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0)
    onTestFinished(() => void vi.restoreAllMocks())
    const server = await serve(
      (_request, response) => response.writeHead(503, { 'retry-after': '1' }).end(),
      (request, response) => {
        stream(request, response)
        response.write(SNAPSHOT)
      },
    )
    const watched = watch({ url: server.url })
    await until('no chart', () => watched.charts.length > 0)
    expect(watched.errors).toEqual([{ code: 'HTTP_503', message: '', isFinal: false }])
    expect(server.times[1]! - server.times[0]!).toBeGreaterThanOrEqual(990)
  })

  it('follows a stream that ends in the middle of an update, and reads updates that arrive in pieces', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0)
    onTestFinished(() => void vi.restoreAllMocks())
    const bytes = Buffer.from(SNAPSHOT)
    const server = await serve(
      (request, response) => {
        stream(request, response)
        response.end(bytes.subarray(0, 50))
      },
      async (request, response) => {
        stream(request, response)
        for (const byte of bytes) {
          response.write(Buffer.of(byte))
          await new Promise((resolve) => setImmediate(resolve))
        }
      },
    )
    const watched = watch({ url: server.url })
    await until('no chart', () => watched.charts.length > 0)
    expect(watched.charts).toEqual([{ series: [{ id: 'ä', timestamps: [1], values: [2] }], groups: [], at: undefined }])
  })

  it('does not wait any longer when the browser is online again', async () => {
    const page = new EventTarget()
    vi.stubGlobal('addEventListener', page.addEventListener.bind(page))
    vi.stubGlobal('removeEventListener', page.removeEventListener.bind(page))
    onTestFinished(() => void vi.unstubAllGlobals())
    const server = await serve(
      (_request, response) => response.writeHead(503, { 'retry-after': '3000' }).end(),
      (request, response) => {
        stream(request, response)
        response.write(SNAPSHOT)
      },
    )
    const watched = watch({ url: server.url })
    await until('no chart', () => {
      page.dispatchEvent(new Event('online'))
      return watched.charts.length > 0
    })
    expect(server.times).toHaveLength(2)
  })

  it('is not kept from the page: callbacks that throw end nothing', async () => {
    const log = vi.spyOn(console, 'error').mockReturnValue()
    onTestFinished(() => void vi.restoreAllMocks())
    const server = await serve((request, response) => {
      stream(request, response)
      response.write(SNAPSHOT + SNAPSHOT)
    })
    let calls = 0
    const stop = subscribeLive({ url: server.url, key: 'k', query: '' }, () => {
      calls++
      throw new Error('bang')
    })
    onTestFinished(stop)
    await until('two calls', () => calls === 2)
    expect(log).toHaveBeenCalledTimes(2)
    expect(server.times).toHaveLength(1)
  })
})

describe('a patch', () => {
  const line = (id: string, timestamps: number[], values: (number | null)[]) => ({ id, timestamps, values })
  const apply = (...updates: Partial<LiveUpdate>[]): Chart =>
    updates.reduce<Chart>(
      (chart, update) => applyUpdate(chart, { kind: 'PATCH', dropBefore: null, ...update }),
      EMPTY_CHART,
    )
  const snapshot = { kind: 'SNAPSHOT', series: [line('a', [10, 20], [1, 2]), line('b', [10], [3])] } as const

  it('replaces buckets, adds late and new ones in their place, and appends new lines', () => {
    const { series } = apply(snapshot, { series: [line('a', [20, 5, 30], [22, 0, null]), line('c', [30], [9])] })
    expect(series).toEqual([line('a', [5, 10, 20, 30], [0, 1, 22, null]), line('b', [10], [3]), line('c', [30], [9])])
  })

  it('drops buckets before the range, then lines and groups without buckets', () => {
    const group = (tags: Record<string, string>, ...starts: string[]) => ({
      tags,
      buckets: starts.map((start) => ({ start })),
    })
    const { series, groups } = apply(
      {
        ...snapshot,
        groups: [group({ x: '1' }, '1970-01-01T00:00:00.010Z'), group({ x: '2' }, '1970-01-01T00:00:00.020Z')],
      },
      { dropBefore: '1970-01-01T00:00:00.015Z', series: [line('d', [], [])] },
    )
    expect(series).toEqual([line('a', [20], [2])])
    expect(groups).toEqual([group({ x: '2' }, '1970-01-01T00:00:00.020Z')])
  })

  it('keeps an unchanged line, and takes what was selected beside its columns', () => {
    const { series } = apply(
      { kind: 'SNAPSHOT', series: [{ ...line('a', [1], [1]), total: 1 }] },
      { series: [{ ...line('a', [], []), total: 5 }] },
    )
    expect(series).toEqual([{ ...line('a', [1], [1]), total: 5 }])
  })

  it('matches groups by their tags, in whatever order these come', () => {
    const at = (value: number) => [{ start: '2024-01-15T10:00:00Z', values: { sum: value } }]
    const { groups } = apply(
      {
        kind: 'SNAPSHOT',
        groups: [
          { tags: { a: '1', b: '2' }, buckets: at(1) },
          { tags: null, buckets: at(7) },
        ],
      },
      { groups: [{ tags: { b: '2', a: '1' }, buckets: at(2) }] },
    )
    expect(groups.map(({ buckets }) => buckets)).toEqual([at(2), at(7)])
  })

  it('keeps the comparison beside the buckets that it is compared with', () => {
    const compared = (timestamps: number[], values: number[], earlier: number[]) => ({
      ...line('a', timestamps, values),
      comparison: { timestamps: timestamps.map((at) => at - 5), values: earlier },
    })
    const { series } = apply(
      { kind: 'SNAPSHOT', series: [compared([10, 20], [1, 2], [100, 200])] },
      { series: [compared([20, 30], [3, 4], [300, 400])] },
    )
    expect(series).toEqual([compared([10, 20, 30], [1, 3, 4], [100, 300, 400])])
  })
})
