import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { BatchOutcome, TrackOptions } from '../../src/gateway.ts'
import { runAtOnce } from '../../src/model/steps.ts'
import { DAY_MS, HOUR_MS } from '../../src/model/time.ts'
import type { EventPage, EventQueryInput } from '../../src/query/events.ts'
import { EventReader } from '../../src/query/events.ts'
import { decodeFluxEvents } from '../../src/wire/flux-events.ts'
import { DEFAULT_POINT_LIMITS } from '../support/defaults.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'

/** Events by the verbs of the gateway, on the embedded store. */

const T0 = Date.UTC(2024, 0, 15, 12)
let gateway: TestGateway
let nowMs = T0

beforeAll(async () => {
  gateway = await startGateway({ now: () => nowMs })
})
afterAll(() => gateway.close())

function track(project: string, items: readonly object[], options?: TrackOptions): Promise<BatchOutcome> {
  const limits = { points: DEFAULT_POINT_LIMITS, eventBytesMax: 32_768 }
  const { events } = runAtOnce(decodeFluxEvents(items, nowMs, limits, 10_000))
  return gateway.gateway.trackBatch(project, { events }, options)
}

const find = (project: string, input: EventQueryInput = {}): Promise<EventPage> =>
  gateway.gateway.events(project, input)
const names = ({ events }: EventPage) => events.map(({ name }) => name).join(' ')

/** Every page until the last one. */
async function pages(project: string, input: EventQueryInput, read = find): Promise<EventPage[]> {
  const found: EventPage[] = []
  for (let after: string | undefined; ; ) {
    const page = await read(project, { ...input, after })
    found.push(page)
    if (page.nextCursor === undefined) return found
    if (found.length > 100) throw new Error('there is no last page')
    after = page.nextCursor
  }
}

describe('events', () => {
  it('are in the next response, newest first, and only for their project', async () => {
    await track('a', [{ name: 'one', timestamp: T0 - 1 }, { name: 'two' }, { name: 'three' }])
    await track('b', [{ name: 'other' }])
    expect(names(await find('a'))).toBe('three two one')
    expect(names(await find('b'))).toBe('other')
    expect(await find('c')).toEqual({ events: [], nextCursor: undefined })
  })

  it('that are equal are two', async () => {
    await track('equal', [{ name: 'e' }, { name: 'e' }])
    await track('equal', [{ name: 'e' }])
    const { events } = await find('equal')
    expect(new Set(events.map(({ id }) => id)).size).toBe(3)
  })

  it('are those of the last day, unless a range is given', async () => {
    const times = [T0 - 30 * DAY_MS, T0 - 25 * HOUR_MS, T0 - 24 * HOUR_MS, T0 - 1, T0, T0 + HOUR_MS]
    await track(
      'range',
      times.map((timestamp, i) => ({ name: `e${i}`, timestamp })),
    )
    expect(names(await find('range'))).toBe('e4 e3 e2')
    expect(names(await find('range', { from: '-40d', to: '-1d' }))).toBe('e2 e1 e0')
    expect(names(await find('range', { from: T0, to: T0 + DAY_MS }))).toBe('e5 e4')
    for (const bad of [{ from: 'soon' }, { from: T0, to: T0 - 1 }, { limit: 1_001 }, { after: 'x' }, { after: 'MTp4' }])
      await expect(find('range', bad)).rejects.toMatchObject({ code: 'invalid_range' })
  })

  it('are filtered by name, beginning of a name and tags', async () => {
    await track('filter', [
      { name: 'order.placed', tags: { region: 'eu', n: 1 } },
      { name: 'order.paid', tags: { region: 'us' } },
      { name: 'order', tags: { region: 'eu' } },
      { name: 'login' },
    ])
    expect(names(await find('filter', { name: 'order' }))).toBe('order')
    expect(names(await find('filter', { name: 'order.*' }))).toBe('order.paid order.placed')
    expect(names(await find('filter', { name: '*' }))).toBe('login order order.paid order.placed')
    const tags = (...pairs: [string, string[]][]) => find('filter', { tags: new Map(pairs) })
    expect(names(await tags(['region', ['eu']]))).toBe('order order.placed')
    expect(names(await tags(['region', ['eu', 'us']], ['n', ['1']]))).toBe('order.placed')
    expect(names(await tags(['region', ['']]))).toBe('login')
  })

  it('are read page by page, each once', async () => {
    await track(
      'pages',
      Array.from({ length: 25 }, (_, i) => ({ name: `e${i}`, timestamp: T0 - (i % 3) })),
    )
    for (const limit of [1, 7, 24, 25, 26]) {
      const found = await pages('pages', { limit })
      expect(found).toHaveLength(Math.ceil(25 / limit))
      const ids = found.flatMap(({ events }) => events.map(({ id }) => id))
      expect(new Set(ids).size).toBe(25)
    }
    // An event that comes meanwhile moves nothing.
    const first = await find('pages', { limit: 5 })
    await track('pages', [{ name: 'late' }])
    const second = await find('pages', { limit: 20, after: first.nextCursor })
    expect(second.events).toHaveLength(20)
    expect(names(second)).not.toContain('late')
  })

  it('are examined up to a bound, and the page has a cursor to continue', async () => {
    await track(
      'bound',
      Array.from({ length: 210 }, (_, i) => ({ name: i === 0 || i === 120 ? 'rare' : 'usual' })),
    )
    const reader = new EventReader(gateway.store, () => nowMs, 50)
    const read = (project: string, input: EventQueryInput = {}) => reader.readPage(project, input)
    const found = await pages('bound', { name: 'rare' }, read)
    expect(found.map(({ events }) => events.length)).toEqual([0, 1, 0, 0, 1])
    expect((await pages('bound', { limit: 50 }, read)).map(({ events }) => events.length)).toEqual([50, 50, 50, 50, 10])
  })

  it('that are large make short pages', async () => {
    const properties = { text: 'x'.repeat(32_000) }
    for (let i = 0; i < 5; i++) {
      const items = Array.from({ length: 40 }, () => ({ name: 'large', properties }))
      await track('large', items)
    }
    const found = await pages('large', { limit: 1_000 })
    expect(found.flatMap(({ events }) => events)).toHaveLength(200)
    expect(found.length).toBe(2)
  })

  it('of a request with a key count once and keep their ids', async () => {
    const options = { idempotencyKey: 'k' }
    const first = await track('keyed', [{ name: 'a' }, { name: 'b' }, { name: 'a' }], options)
    nowMs += 1_000
    expect(await track('keyed', [{ name: 'a' }, { name: 'b' }, { name: 'a' }], options)).toEqual(first)
    const { events } = await find('keyed')
    expect(events.map(({ id }) => id).sort()).toEqual([...first.eventIds].sort())
    await track('keyed', [{ name: 'a' }], { idempotencyKey: 'l' })
    expect((await find('keyed')).events).toHaveLength(4)
  })

  it('of a key that is used again after a day are new events, even at the same time', async () => {
    const options = { idempotencyKey: 'daily' }
    const accept = (items: readonly string[]) =>
      track(
        'again',
        items.map((name) => ({ name, timestamp: T0 })),
        options,
      )
    const first = await accept(['a', 'b'])
    nowMs += DAY_MS - 1
    expect(await accept(['a', 'b'])).toEqual(first)
    nowMs += 1
    const second = await accept(['a', 'b'])
    const { events } = await find('again', { from: T0, to: T0 })
    expect(events.map(({ id }) => id).sort()).toEqual([...first.eventIds, ...second.eventIds].sort())
    expect(new Set(events.map(({ id }) => id)).size).toBe(4)
    nowMs += 1_000
    // A retry that brings more adds what is missing, and says under which ids all of it is stored.
    const more = await accept(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'])
    const stored = (await find('again', { from: T0, to: T0 })).events.map(({ id }) => id)
    expect(stored.length).toBeGreaterThan(4)
    expect(more.eventIds.slice(0, 2)).toEqual(second.eventIds)
    expect(new Set(stored).size).toBe(stored.length)
  })
})
