import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { startBrowser, watchPage } from '../support/browser.ts'
import { type ChildGateway, startChild } from '../support/child-gateway.ts'
import { until } from '../support/redis-server.ts'

/** The tracker and the live helper in pages of another origin, while their network fails and while they close. */

const INGEST_KEY = 'page-key-0123456789'
const QUERY_KEY = 'read-key-0123456789'
const START_MS_MAX = 90_000
const TEST_MS_MAX = 90_000
const DELIVERY_MS_MAX = 20_000

let browser: Browser
let site: Server
let origin: string
let folder: string
let gateway: ChildGateway

beforeAll(async () => {
  site = createServer((_request, response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>shop</title>'),
  )
  site.listen(0, '127.0.0.1')
  await once(site, 'listening')
  const address = site.address()
  if (address === null || typeof address === 'string') throw new Error('the site does not listen')
  origin = `http://127.0.0.1:${address.port}`
  folder = await mkdtemp(join(tmpdir(), 'gaugeql-test-'))
  const keys = `${INGEST_KEY}:shop:ingest,${QUERY_KEY}:shop:query`
  const env = { PORT: '0', CORS_ORIGINS: origin, API_KEYS: keys, DATA_DIR: folder }
  ;[gateway, browser] = await Promise.all([startChild(env), startBrowser()])
}, START_MS_MAX)
afterAll(async () => {
  await browser?.close()
  await gateway?.kill('SIGTERM')
  site?.close()
  await rm(folder, { recursive: true, force: true })
})

/** A page with a tracker, and its neighbour of the same origin, which outlives it and reads what it noted. */
interface Opened {
  readonly context: BrowserContext
  readonly page: Page
  readonly errors: readonly string[]
  /** What the page tracked and what its tracker reported, noted before each call returned. */
  read(note: 'tracked' | 'dropped' | 'codes'): Promise<string>
}

async function open(metric: string): Promise<Opened> {
  const context = await browser.newContext()
  onTestFinished(() => context.close())
  const neighbour = await context.newPage()
  await neighbour.goto(origin)
  const { page, errors } = watchPage(await context.newPage())
  await page.goto(origin)
  await page.evaluate(`(async () => {
    const { createTracker } = await import('${gateway.url}/client/tracker.js')
    const note = (name, add) => localStorage.setItem(name, (Number(localStorage.getItem(name)) || 0) + add)
    globalThis.tracker = createTracker({
      url: '${gateway.url}/graphql',
      key: '${INGEST_KEY}',
      flushMs: 100,
      onDrop: (count, code) => {
        note('dropped', count)
        localStorage.setItem('codes', (localStorage.getItem('codes') ?? '') + code + ' ')
      },
    })
    globalThis.track = (count) => {
      for (let i = 0; i < count; i++) {
        tracker.count('${metric}', 1, { page: '/home' })
        note('tracked', 1)
      }
    }
  })()`)
  return {
    context,
    page,
    errors,
    read: async (note) => (await neighbour.evaluate<string | null>(`localStorage.getItem('${note}')`)) ?? '',
  }
}

/** 0 while there is no such metric. */
async function counted(metric: string): Promise<number> {
  const response = await fetch(`${gateway.url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${QUERY_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query: `{ query(metric: "${metric}", last: "1h") { groups { total { sum } } } }` }),
  })
  const { data } = (await response.json()) as { data: { query: { groups: { total: { sum: number } }[] } | null } }
  return data.query?.groups[0]?.total.sum ?? 0
}

/** Waits for the last requests, and then a moment in which nothing may be counted twice. */
async function expectExact(metric: string, { read }: Opened): Promise<void> {
  const expected = async (): Promise<number> => Number(await read('tracked')) - Number(await read('dropped'))
  await until(
    'tracked and not dropped, but not counted',
    async () => (await counted(metric)) >= (await expected()),
    DELIVERY_MS_MAX,
  )
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect(await counted(metric)).toBe(await expected())
}

const ENDINGS: Readonly<Record<string, (page: Page) => Promise<unknown>>> = {
  'its tab is closed': (page) => page.close({ runBeforeUnload: true }),
  'it is ended by the browser': (page) => page.close(),
  'it goes to another site': (page) => page.goto('about:blank'),
  'it is reloaded': (page) => page.reload(),
}

describe('a page', () => {
  it.each(Object.entries(ENDINGS))(
    'loses its network and responses, and then %s: counted is tracked less what was reported as dropped',
    async (ending, end) => {
      const metric = `page.${ending}`
      const opened = await open(metric)
      const { context, page, read } = opened
      const reached = (count: number) =>
        until(
          `fewer than ${count} points were tracked`,
          async () => Number(await read('tracked')) >= count,
          DELIVERY_MS_MAX,
        )
      await page.evaluate('(globalThis.tracking = setInterval(() => track(5), 20)) > 0')
      await reached(200)
      let lost = 0
      await page.route('**/graphql', async (route) => {
        await route.fetch()
        lost++
        await route.abort('connectionreset')
      })
      await until('no response was lost', () => lost > 0, DELIVERY_MS_MAX)
      await page.unrouteAll({ behavior: 'wait' })
      await context.setOffline(true)
      await reached(Number(await read('tracked')) + 200)
      const whileOffline = await counted(metric)
      await context.setOffline(false)
      await until('nothing was sent after the cut', async () => (await counted(metric)) > whileOffline, DELIVERY_MS_MAX)
      await reached(1_000)
      // A slow browser kills the page it closes, also between a point and the note that it was tracked.
      await page.evaluate('clearInterval(tracking), track(50)')
      await end(page)
      await expectExact(metric, opened)
      expect(await counted(metric)).toBeGreaterThan(600)
    },
    TEST_MS_MAX,
  )

  it('closes with more than the browser sends for it: what does not fit is reported', async () => {
    const metric = 'page.backlog'
    const opened = await open(metric)
    // The page itself leaves at once: a command from here may come too late, when all points are delivered.
    await opened.page.evaluate("track(1000); setTimeout(() => location.replace('about:blank')); 0")
    await opened.page.waitForURL('about:blank')
    await expectExact(metric, opened)
    expect(Number(await opened.read('dropped'))).toBeGreaterThan(0)
    expect((await opened.read('codes')).trim()).toBe('page_closed')
    expect(await counted(metric)).toBeGreaterThan(400)
    expect(opened.errors).toEqual([])
  })

  it('tracks while it closes, after the tracker has sent its last batch', async () => {
    const metric = 'page.last-words'
    const opened = await open(metric)
    await opened.page.evaluate("addEventListener('pagehide', () => track(3)) ?? 0")
    await opened.page.evaluate('track(2)')
    await ENDINGS['it goes to another site']!(opened.page)
    await expectExact(metric, opened)
    expect(await counted(metric)).toBe(5)
  })

  it('sends at once when it is hidden, and goes on', async () => {
    const metric = 'page.hidden'
    const opened = await open(metric)
    const { page } = opened
    await page.clock.install()
    await page.evaluate("track(3); document.dispatchEvent(new Event('visibilitychange'))")
    await until('nothing was sent', async () => (await counted(metric)) === 3, DELIVERY_MS_MAX)
    await page.evaluate('track(4); tracker.flush()')
    await expectExact(metric, opened)
    expect(await opened.read('dropped')).toBe('')
    expect(opened.errors).toEqual([])
  })

  it('follows a live query while points arrive', async () => {
    const metric = 'page.live'
    const { page, errors } = await open(metric)
    await page.evaluate('track(2); tracker.flush()')
    await page.evaluate(`(async () => {
      const { subscribeLive } = await import('${gateway.url}/client/live.js')
      const query = 'subscription { live(metric: "${metric}", last: "1h") { kind dropBefore series { id values total } } }'
      globalThis.shown = []
      subscribeLive({ url: '${gateway.url}/graphql', key: '${QUERY_KEY}', query }, ({ series }) => shown.push(series[0]?.total))
    })()`)
    const isShown = (total: number) => page.evaluate<boolean>(`shown.at(-1) === ${total}`)
    await until('no snapshot', () => isShown(2), DELIVERY_MS_MAX)
    await page.evaluate('track(5); tracker.flush()')
    await until('no patch', () => isShown(7), DELIVERY_MS_MAX)
    expect(errors).toEqual([])
  })
})
