import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { createTracker, type Rejection, type Tracker, type TrackerOptions } from '../../client/tracker.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { type HttpProxy, openHttpProxy, type SeenRequest } from '../support/http-proxy.ts'
import { until } from '../support/redis-server.ts'

/** The tracker in Node, on a real gateway behind a network that fails. */

const INGEST_KEY = 'page-key-0123456789'
const QUERY_KEY = 'read-key-0123456789'

let gateway: TestGateway
let proxy: HttpProxy
beforeAll(async () => {
  gateway = await startGateway({ env: { API_KEYS: `${INGEST_KEY}:shop:ingest,${QUERY_KEY}:shop:query` } })
})
afterAll(() => gateway.close())
beforeEach(async () => {
  proxy = await openHttpProxy(gateway.url)
})
afterEach(async () => {
  vi.restoreAllMocks()
  await proxy.close()
})

interface Reports {
  readonly errors: string[]
  readonly drops: (readonly [count: number, code: string, message?: string])[]
  readonly rejections: Rejection[]
}

function track(options: Partial<TrackerOptions> = {}): Reports & { readonly tracker: Tracker } {
  const reports: Reports = { errors: [], drops: [], rejections: [] }
  const tracker = createTracker({
    url: `${proxy.url}/graphql`,
    key: INGEST_KEY,
    onError: (reason) => reports.errors.push(String(reason)),
    onDrop: (count, code, message) =>
      reports.drops.push(message === undefined ? [count, code] : [count, code, message]),
    onReject: (rejections) => reports.rejections.push(...rejections),
    ...options,
  })
  onTestFinished(() => tracker.close(0))
  return { tracker, ...reports }
}

/** Node has no page events: the listeners of the next tracker, by the type of their event. */
function pageListeners(): Map<string, (event: { readonly type: string }) => void> {
  const listeners = new Map<string, (event: { readonly type: string }) => void>()
  vi.stubGlobal('addEventListener', (type: string, listener: () => void) => listeners.set(type, listener))
  vi.stubGlobal('removeEventListener', (type: string) => listeners.delete(type))
  onTestFinished(() => void vi.unstubAllGlobals())
  return listeners
}

/** Retries happen at once. */
function withoutBackoff(): void {
  vi.spyOn(Math, 'random').mockReturnValue(0)
}

async function query<T>(document: string): Promise<T> {
  const response = await fetch(`${gateway.url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${QUERY_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query: document }),
  })
  const { data, errors } = (await response.json()) as { data: T; errors: unknown }
  expect(errors).toBeUndefined()
  return data
}

async function totalOf(metric: string, aggregation: 'sum' | 'count' | 'last' | 'max'): Promise<number | undefined> {
  const data = await query<{ query: { groups: { total: Record<string, number> }[] } }>(
    `{ query(metric: "${metric}", last: "1h") { groups { total { ${aggregation} } } } }`,
  )
  return data.query.groups[0]?.total[aggregation]
}

const variablesOf = ({ body }: SeenRequest) =>
  (JSON.parse(body) as { variables: { key: string; metrics: unknown[]; events: unknown[] } }).variables
const dropped = ({ drops }: Reports): number => drops.reduce((sum, [count]) => sum + count, 0)

describe('the tracker', () => {
  it('sends every kind of point, and events, in one request with the common tags', async () => {
    const { tracker, ...reports } = track({ tags: { app: 'web', version: 7 } })
    tracker.gauge('kinds.gauge', 21.5, { room: 'attic' })
    tracker.count('kinds.count')
    tracker.count('kinds.count', 4)
    tracker.observe('kinds.latency', 12)
    tracker.observe('kinds.latency', 30)
    for (const member of ['ada', 'bob', 'ada']) tracker.member('kinds.users', member)
    tracker.event('kinds.signup', { value: 9, properties: { plan: 'pro', seats: [1, 2] }, user_id: 'u-1' })
    await tracker.flush()
    expect(reports).toEqual({ errors: [], drops: [], rejections: [] })
    expect(proxy.seen).toHaveLength(1)
    expect([
      await totalOf('kinds.gauge', 'last'),
      await totalOf('kinds.count', 'sum'),
      await totalOf('kinds.latency', 'max'),
      await totalOf('kinds.users', 'count'),
    ]).toEqual([21.5, 5, 30, 2])
    const { events, query: result } = await query<{ events: object; query: object }>(
      `{ events(name: "kinds.signup") { nodes { value tags properties userId } }
         query(metric: "kinds.gauge", last: "1h", bySeries: true) { groups { tags } } }`,
    )
    const tags = { app: 'web', version: '7' }
    expect(events).toEqual({
      nodes: [{ value: 9, tags, properties: { plan: 'pro', seats: [1, 2] }, userId: 'u-1' }],
    })
    expect(result).toEqual({ groups: [{ tags: { ...tags, room: 'attic' } }] })
  })

  it('takes the timestamp when a point is tracked, not when it is sent', async () => {
    const { tracker } = track()
    const now = vi.spyOn(Date, 'now').mockReturnValue(1_700_000_000_000)
    tracker.gauge('early', 1)
    now.mockRestore()
    await tracker.flush()
    expect(variablesOf(proxy.seen[0]!).metrics).toMatchObject([{ timestamp: 1_700_000_000_000 }])
  })

  it('sends after a while without being asked', async () => {
    const { tracker } = track({ flushMs: 30 })
    tracker.count('later')
    expect(proxy.seen).toHaveLength(0)
    await until('nothing was sent', () => proxy.seen.length === 1)
    await tracker.flush()
    expect(await totalOf('later', 'sum')).toBe(1)
  })

  it('fills batches up to their limits, and sends one at a time', async () => {
    const { tracker } = track({ batchMax: 40 })
    for (let i = 0; i < 100; i++) tracker.count('limits.items')
    await tracker.flush()
    expect(proxy.seen.map((request) => variablesOf(request).metrics.length)).toEqual([40, 40, 20])
    expect(proxy.concurrencyMax).toBe(1)
    expect(await totalOf('limits.items', 'sum')).toBe(100)

    const large = track()
    for (let i = 0; i < 1_000; i++) large.tracker.count('limits.bytes', 1, { page: `/päge/${i % 7}` })
    await large.tracker.flush()
    const bytes = proxy.seen.slice(3).map(({ body }) => Buffer.byteLength(body))
    expect(Math.max(...bytes)).toBeLessThanOrEqual(31_000)
    expect(Math.max(...bytes)).toBeGreaterThan(30_000)
    expect(await totalOf('limits.bytes', 'sum')).toBe(1_000)
  })

  it('counts once what was stored when the response was lost', async () => {
    withoutBackoff()
    const { tracker, ...reports } = track({ batchMax: 50 })
    // Of three attempts one is lost before the gateway and one behind it.
    proxy.fail((request) => (['loseResponse', 'loseRequest', 'none'] as const)[request % 3]!)
    for (let i = 0; i < 500; i++) {
      tracker.count('lossy.count')
      if (i % 5 === 0) tracker.event('lossy.event')
    }
    await tracker.flush()
    expect(reports).toEqual({ errors: [], drops: [], rejections: [] })
    expect(proxy.seen).toHaveLength(36)
    expect(new Set(proxy.seen.map((request) => variablesOf(request).key)).size).toBe(12)
    expect(new Set(proxy.seen.map(({ body }) => body)).size).toBe(12)
    expect(await totalOf('lossy.count', 'sum')).toBe(500)
    const { events } = await query<{ events: { nodes: unknown[] } }>(
      '{ events(name: "lossy.event", first: 500) { nodes { id } } }',
    )
    expect(events.nodes).toHaveLength(100)
  })

  it.each([
    ['429 of the gateway', { status: 429, body: '{"errors":[{"message":"","extensions":{"code":"RATE_LIMITED"}}]}' }],
    ['408', { status: 408 }],
    ['500', { status: 500, body: '{"errors":[{"message":"","extensions":{"code":"INTERNAL"}}]}' }],
    ['502 of a proxy', { status: 502, body: '<html>' }],
    ['200 of a field that failed', { status: 200, body: failedField('OVERLOADED') }],
    ['200 of a page that asks for a login', { status: 200, body: '<html>' }],
    ['200 without a result', { status: 200, body: 'null' }],
    ['200 of another service', { status: 200, body: '{"data":{"trackBatch":{}}}' }],
  ])('tries again after %s', async (name, fault) => {
    withoutBackoff()
    const { tracker, ...reports } = track()
    proxy.fail((request) => (request < 2 ? fault : 'none'))
    tracker.count(`again.${name}`)
    await tracker.flush()
    expect(reports).toEqual({ errors: [], drops: [], rejections: [] })
    expect(proxy.seen).toHaveLength(3)
    expect(await totalOf(`again.${name}`, 'sum')).toBe(1)
  })

  it('waits as long as Retry-After says', async () => {
    withoutBackoff()
    const { tracker } = track()
    proxy.fail((request) => (request === 0 ? { status: 503, headers: { 'retry-after': '1' } } : 'none'))
    tracker.count('patient')
    await tracker.flush()
    const [first, second] = proxy.seen
    expect(second!.atMs - first!.atMs).toBeGreaterThanOrEqual(990)
    expect(second!.body).toBe(first!.body)
  })

  it('waits so long also when the page is hidden, shown, or online again', async () => {
    withoutBackoff()
    const listeners = pageListeners()
    const { tracker } = track({ flushMs: 0 })
    proxy.fail((request) => (request === 0 ? { status: 429, headers: { 'retry-after': '1' } } : 'none'))
    tracker.count('patient.page')
    await until('the first response', () => proxy.seen.length === 1)
    const deadlineMs = performance.now() + 500
    while (performance.now() < deadlineMs) {
      for (const type of ['visibilitychange', 'online']) listeners.get(type)?.({ type })
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await tracker.flush()
    const [first, second] = proxy.seen
    expect(proxy.seen).toHaveLength(2)
    expect(second!.atMs - first!.atMs).toBeGreaterThanOrEqual(990)
    expect(await totalOf('patient.page', 'sum')).toBe(1)
  })

  it('waits longer after each failure, with jitter', async () => {
    const timeouts = vi.spyOn(globalThis, 'setTimeout')
    const random = vi.spyOn(Math, 'random').mockReturnValue(0.01)
    const { tracker } = track({ flushMs: 0 })
    proxy.fail((request) => (request < 4 ? { status: 503 } : 'none'))
    tracker.count('backoff')
    await until('four failures', () => random.mock.calls.length === 4)
    const waits = timeouts.mock.calls.map(([, ms]) => ms).filter((ms) => [10, 20, 40, 80].includes(ms ?? 0))
    expect(waits).toEqual(expect.arrayContaining([10, 20, 40, 80]))
    await tracker.flush()
  })

  it.each([
    [
      '400',
      { status: 400, body: '{"errors":[{"message":"no","extensions":{"code":"INVALID_BODY"}}]}' },
      'INVALID_BODY',
    ],
    ['404 of another server', { status: 404, body: '<html>' }, 'HTTP_404'],
    ['200 of a field that was refused', { status: 200, body: failedField('FORBIDDEN') }, 'FORBIDDEN'],
  ])('drops a batch after %s, reports it and goes on', async (name, fault, code) => {
    const { tracker, ...reports } = track({ batchMax: 2 })
    proxy.fail((request) => (request === 0 ? fault : 'none'))
    for (let i = 0; i < 4; i++) tracker.count(`refused.${name}`)
    await tracker.flush()
    expect(proxy.seen).toHaveLength(2)
    expect(reports.drops).toEqual([code === 'HTTP_404' ? [2, code] : [2, code, 'no']])
    expect(await totalOf(`refused.${name}`, 'sum')).toBe(2)
  })

  it('reports a key that the gateway does not know', async () => {
    const { tracker, ...reports } = track({ key: 'nobodys-key-0123456' })
    tracker.count('refused')
    await tracker.flush()
    expect(reports.drops).toEqual([[1, 'INVALID_API_KEY', expect.any(String)]])
  })

  it('reports the items that the gateway rejects; the others of the batch are stored', async () => {
    const { tracker, ...reports } = track()
    tracker.count('mixed')
    tracker.gauge('mixed', 3)
    tracker.count('mixed', 2, { object: {} as string })
    tracker.event('mixed.event', { timestamp: 'yesterday' })
    tracker.count('mixed', 5)
    await tracker.flush()
    expect(reports.rejections).toMatchObject([
      { code: 'TYPE_CONFLICT', item: { name: 'mixed', type: 'GAUGE', value: 3 } },
      { code: 'INVALID_TAGS', item: { value: 2 } },
      { code: 'INVALID_TIMESTAMP', item: { name: 'mixed.event' } },
    ])
    expect(reports.drops).toEqual([])
    expect(await totalOf('mixed', 'sum')).toBe(6)
  })

  it('does not try for longer than the gateway remembers the key', async () => {
    withoutBackoff()
    const { tracker, ...reports } = track()
    proxy.fail(() => 'loseResponse')
    tracker.count('old')
    const now = vi.spyOn(Date, 'now')
    const flushed = tracker.flush()
    await until('no attempt', () => proxy.seen.length > 0)
    now.mockImplementation(() => performance.timeOrigin + performance.now() + 82_800_001)
    await flushed
    expect(reports.drops).toEqual([[1, 'expired']])
    now.mockRestore()
    expect(await totalOf('old', 'sum')).toBe(1)
  })
})

function failedField(code: string): string {
  return `{"data":{"trackBatch":null},"errors":[{"message":"no","path":["trackBatch"],"extensions":{"code":"${code}"}}]}`
}

describe('the queue', () => {
  it('is bounded: delivered and dropped are what was tracked', async () => {
    withoutBackoff()
    const { tracker, ...reports } = track({ queueBytesMax: 20_000 })
    proxy.fail((request) => (request < 3 ? 'loseRequest' : 'none'))
    for (let i = 0; i < 1_000; i++) tracker.count('bounded')
    expect(dropped(reports)).toBeGreaterThan(500)
    expect(new Set(reports.drops.map(([, code]) => code))).toEqual(new Set(['queue_full']))
    await tracker.flush()
    expect(await totalOf('bounded', 'sum')).toBe(1_000 - dropped(reports))
    const before = dropped(reports)
    tracker.count('bounded')
    await tracker.flush()
    expect([dropped(reports), await totalOf('bounded', 'sum')]).toEqual([before, 1_001 - before])
  })

  it('is given up at the end: close waits a while for the gateway, and reports what is left', async () => {
    const { tracker, ...reports } = track()
    proxy.fail(() => 'loseRequest')
    for (let i = 0; i < 3; i++) tracker.count('closed')
    await tracker.close(100)
    tracker.count('closed')
    expect(reports.drops).toEqual([
      [3, 'closed'],
      [1, 'closed'],
    ])
  })

  it('is reported when the page is left while the tracker closes', async () => {
    const listeners = pageListeners()
    const { tracker, ...reports } = track()
    proxy.fail((request) => (request === 0 ? { status: 503, headers: { 'retry-after': '60' } } : 'none'))
    const tags = { text: 'x'.repeat(200) }
    for (let i = 0; i < 1_000; i++) tracker.count('left', 1, tags)
    await until('the first response', () => proxy.seen.length === 1)
    const closed = tracker.close()
    listeners.get('pagehide')?.({ type: 'pagehide' })
    await closed
    expect(new Set(reports.drops.map(([, code]) => code))).toEqual(new Set(['page_closed']))
    expect(await totalOf('left', 'sum')).toBe(1_000 - dropped(reports))
    expect(listeners.size).toBe(0)
  })

  it('is sent when the tracker closes', async () => {
    const { tracker, ...reports } = track()
    for (let i = 0; i < 3; i++) tracker.count('delivered')
    await tracker.close()
    expect(reports.drops).toEqual([])
    expect(await totalOf('delivered', 'sum')).toBe(3)
  })
})

describe('nothing is thrown into the page', () => {
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  const nested = (depth: number): Record<string, unknown> => (depth === 0 ? {} : { deeper: nested(depth - 1) })
  const explosive = {
    toString: () => {
      throw new Error('bang')
    },
  }
  const hostile = {
    get tags() {
      throw new Error('bang')
    },
  }

  const CALLS: Readonly<Record<string, (tracker: Tracker) => void>> = {
    'a value that is no number': (tracker) => tracker.gauge('x', '1' as unknown as number),
    NaN: (tracker) => tracker.observe('x', Number.NaN),
    infinity: (tracker) => tracker.count('x', Number.POSITIVE_INFINITY),
    'no value': (tracker) => tracker.gauge('x', undefined as unknown as number),
    'a member that is no text': (tracker) => tracker.member('x', 5 as unknown as string),
    'no name': (tracker) => tracker.count(undefined as unknown as string),
    'a symbol as name': (tracker) => tracker.count(Symbol('x') as unknown as string),
    'a bigint in the tags': (tracker) => tracker.count('x', 1, { big: 1n as unknown as number }),
    'properties that contain themselves': (tracker) => tracker.event('x', { properties: circular }),
    'a list that the gateway would refuse': (tracker) =>
      tracker.event('x', { properties: { list: Array.from({ length: 1_001 }, () => 0) } }),
    'an item that fits into no batch': (tracker) => tracker.event('x', { properties: { text: 'x'.repeat(31_000) } }),
    'an event value that is no number': (tracker) => tracker.event('x', { value: Number.NaN }),
    'a field that throws': (tracker) => tracker.event('x', hostile as object),
    'a text that throws': (tracker) => tracker.event('x', { host: explosive as unknown as string }),
  }

  it.each(Object.entries(CALLS))('by %s: onError is told, and the rest of the batch is stored', async (name, call) => {
    const { tracker, ...reports } = track()
    tracker.count(`safe.${name}`)
    expect(() => call(tracker)).not.toThrow()
    tracker.count(`safe.${name}`)
    await tracker.flush()
    expect(reports.errors).toHaveLength(1)
    expect([reports.drops, reports.rejections]).toEqual([[], []])
    expect(await totalOf(`safe.${name}`, 'sum')).toBe(2)
  })

  const ODD_EVENTS: Readonly<Record<string, object | null>> = {
    'fields that the gateway does not know': { colour: 'red', name: 'z' },
    'numbers as ids': { user_id: 17, session_id: 18, environment: 1 },
    'objects as texts': { host: { a: 1 }, service: ['b'] },
    'no fields at all': null,
    'deep properties': { properties: nested(62) },
    'properties that are no object': { properties: 'text' },
    'too deep properties': { properties: nested(70) },
    'tags that are no map': { tags: [1, 2] },
    'a date': { timestamp: new Date() },
  }

  it.each(Object.entries(ODD_EVENTS))('nor is a batch lost by an event with %s', async (name, fields) => {
    const { tracker, ...reports } = track()
    tracker.count(`odd.${name}`)
    tracker.event('odd.event', fields as object)
    tracker.count(`odd.${name}`)
    await tracker.flush()
    expect([reports.errors, reports.drops]).toEqual([[], []])
    expect(await totalOf(`odd.${name}`, 'sum')).toBe(2)
  })

  it('by callbacks that throw', async () => {
    const bang = (): never => {
      throw new Error('bang')
    }
    const { tracker } = track({ onError: bang, onDrop: bang, onReject: bang, queueBytesMax: 1_000 })
    tracker.gauge('x', Number.NaN)
    for (let i = 0; i < 20; i++) tracker.count('callbacks')
    tracker.gauge('callbacks', 1)
    await tracker.flush()
    expect(await totalOf('callbacks', 'sum')).toBeGreaterThan(0)
  })

  it('by options that cannot be used', async () => {
    const warn = vi.spyOn(console, 'warn').mockReturnValue()
    for (const options of [undefined, null, {}, { url: 'no url', key: 'k' }, { url: proxy.url, key: 'k\u{1f511}' }]) {
      warn.mockClear()
      const tracker = createTracker(options as TrackerOptions)
      expect(warn).toHaveBeenCalledTimes(1)
      tracker.count('x')
      expect(warn).toHaveBeenLastCalledWith(1, 'closed')
      await tracker.close()
    }
  })
})
