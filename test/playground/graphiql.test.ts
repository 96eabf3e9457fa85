import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest'
import { startBrowser, type WatchedPage, watchPage } from '../support/browser.ts'
import { accessibilityFaults, clickSlowly, legendOf, picturesOf } from '../support/chart-checks.ts'
import { type ChildGateway, startDemo } from '../support/child-gateway.ts'

/** The playground in a browser without other network, on the built gateway with demo data. */

/** The demo imports a day before it can be looked at. */
const START_MS_MAX = 180_000
/** Data arrives within seconds, on a busy machine later. */
const RESULT_MS_MAX = 60_000
const TEST_MS_MAX = 120_000
vi.setConfig({ testTimeout: TEST_MS_MAX })

let demo: ChildGateway
let browser: Browser
let key: string

beforeAll(async () => {
  ;[demo, browser] = await Promise.all([startDemo({ PORT: '0' }), startBrowser()])
  key = await demo.shown(/API key\s+(\S+)/)
  await demo.shown(/(are stored)/)
}, START_MS_MAX)
afterAll(async () => {
  await browser?.close()
  await demo?.kill('SIGTERM')
})

const number = expect.any(Number)
const someNumbers = expect.arrayContaining([number])
const line = (label: string): object => ({ label, total: number, values: someNumbers, timestamps: someNumbers })

/** What each tab shows. */
const SHOWN: Readonly<Record<string, object>> = {
  Track: { trackMetric: { name: 'api.response_time', value: 145.2, metric: { dataPoints: number } } },
  TrackBatch: { trackMetrics: { accepted: 3, rejected: 1, errors: [{ index: 3, code: 'INVALID_VALUE' }] } },
  Chart: { query: { interval: '5m', series: [line('p50'), line('p95'), line('p99')] } },
  Groups: {
    query: {
      groups: expect.arrayContaining([
        {
          endpoint: '/checkout',
          total: { count: number, p95: number, p999: number },
          buckets: expect.arrayContaining([
            { start: expect.any(String), complete: true, values: { avg: number, max: number, p95: number } },
          ]),
        },
      ]),
    },
  },
  Top: {
    query: {
      groups: [
        ...Array.from({ length: 3 }, () => ({
          tags: { endpoint: expect.any(String) },
          total: { count: number, p95: number },
        })),
        { tags: null, total: { count: number, p50: number, p95: number } },
      ],
      series: expect.arrayContaining([
        { label: expect.stringContaining('other'), values: someNumbers, timestamps: someNumbers },
      ]),
    },
  },
  Compare: {
    query: {
      series: [
        { label: 'sum', total: number, values: someNumbers, comparison: { total: number, values: someNumbers } },
      ],
      groups: [
        {
          buckets: expect.arrayContaining([
            { start: expect.any(String), complete: true, values: { sum: number }, previous: { sum: number } },
          ]),
        },
      ],
    },
  },
  // The snapshot is gone by then: the shop is never still.
  Live: {
    live: {
      kind: 'PATCH',
      series: expect.arrayContaining([
        { id: expect.any(String), label: 'p95', values: someNumbers, timestamps: someNumbers },
      ]),
    },
  },
  Events: {
    events: {
      nodes: expect.arrayContaining([
        expect.objectContaining({
          name: 'order.placed',
          value: number,
          properties: { items: number, currency: 'EUR' },
        }),
      ]),
      pageInfo: { hasNextPage: true },
    },
  },
  Distinct: {
    query: {
      groups: ['android', 'ios', 'web'].map((platform) => ({
        platform,
        total: { count: number },
        buckets: expect.arrayContaining([{ start: expect.any(String), complete: true, values: { count: number } }]),
      })),
    },
  },
  Filters: {
    query: {
      series: expect.arrayContaining([
        {
          tags: { endpoint: '/checkout', status: '422' },
          aggregation: 'sum',
          total: number,
          points: expect.arrayContaining([{ timestamp: expect.any(String), value: number }]),
        },
      ]),
    },
  },
  Dashboard: {
    requests: { series: expect.arrayContaining([line('rate · 200')]) },
    online: { series: expect.arrayContaining([line('last · eu')]) },
    revenue: { metric: { unit: 'EUR' }, series: [line('sum')] },
  },
  Explore: {
    viewer: { project: 'shop' },
    metrics: { nodes: expect.arrayContaining([expect.objectContaining({ name: 'users.online', unit: 'users' })]) },
    metric: {
      tagValues: expect.arrayContaining([{ value: '/checkout', seriesCount: number }]),
      query: { series: [{ total: number, values: someNumbers }] },
    },
  },
}

/** The tabs in their order, with the number of charts that each draws. */
const CHARTS: Readonly<Record<string, number>> = {
  ...{ Chart: 1, Top: 1, Live: 1, Compare: 1, Dashboard: 3, Groups: 1 },
  ...{ Distinct: 1, Filters: 1, Explore: 1, Events: 0, Track: 0, TrackBatch: 0 },
}

it('opens with the examples; each shows data, and the page sends requests only to the gateway', async () => {
  const { page, errors, requests } = await openPlayground()
  await enterKey(page, key)
  await page.getByRole('tab').first().waitFor()
  expect(await tabsOf(page)).toEqual(Object.keys(CHARTS))
  for (const [tab, charts] of Object.entries(CHARTS)) {
    await page.getByRole('tab', { name: new RegExp(`^${tab}\\b`) }).click()
    await expect
      .poll(() => run(page), { timeout: RESULT_MS_MAX, message: `the tab ${tab}` })
      .toMatchObject({ data: SHOWN[tab] })
    expect([tab, (await picturesOf(page)).length]).toEqual([tab, charts])
    expect(await page.getByText('This answer has nothing to draw').count()).toBe(charts === 0 ? 1 : 0)
    if (tab !== 'Live') continue
    await page.getByRole('button', { name: /^Stop query/ }).click()
    await page.getByRole('button', { name: /^Execute query/ }).waitFor()
  }
  expect(errors).toEqual([])
  expect(requests.filter((address) => !address.startsWith(`${demo.url}/`))).toEqual([])
  expect(requests.filter((address) => address.includes(key))).toEqual([])
  expect(page.url()).toBe(`${demo.url}/graphql`)
})

it('opened by a link with the key, it shows the chart of its first tab at once, with the numbers of the answer', async () => {
  const { page, errors } = await openWithKey()
  await page.locator('.chart-pane .plot canvas').waitFor()
  expect(page.url()).toBe(`${demo.url}/graphql`)
  const { data } = (await resultOf(page)) as { data: { query: { series: { label: string; total: number }[] } } }
  expect((await legendOf(page)).map(({ label, total }) => ({ label, total }))).toEqual(
    data.query.series.map(({ label, total }) => ({ label, total })),
  )
  const [picture] = await picturesOf(page)
  expect(picture?.linePixels).toBeGreaterThan(200)
  expect(await accessibilityFaults(page, '.chart-pane')).toEqual([])
  expect(errors).toEqual([])
})

it('each tab answers a slow click when the key is known at start', async () => {
  const { page } = await openWithKey()
  await page.getByRole('tab').nth(11).waitFor()
  // From the right: tabs that were measured too early would have moved the most.
  for (const index of [...Object.keys(CHARTS).keys()].reverse()) {
    const button = page.locator('.graphiql-tab-button').nth(index)
    await button.scrollIntoViewIfNeeded()
    const { x, y, height } = (await button.boundingBox())!
    await clickSlowly(page, x + 15, y + height / 2)
    await expect.poll(() => page.locator('.graphiql-tab-active').innerText()).toContain(await button.innerText())
  }
})

it('the chart of a live query moves; the pane remembers that it was closed and how high it is', async () => {
  const { page, errors } = await openWithKey()
  await page.getByRole('tab', { name: /^Live\b/ }).click()
  // GraphiQL ignores a click before its editor has loaded. The button is gone while the query is live.
  const execute = page.getByRole('button', { name: /^Execute query/ })
  const isChartVisible = async () => {
    if (await execute.isVisible()) await execute.click()
    return page.locator('.chart-pane .plot canvas').isVisible()
  }
  await expect.poll(isChartVisible, { timeout: RESULT_MS_MAX, interval: 1_000 }).toBe(true)
  const before = JSON.stringify(await legendOf(page))
  await expect.poll(async () => JSON.stringify(await legendOf(page)), { timeout: RESULT_MS_MAX }).not.toBe(before)
  await page.getByRole('button', { name: /^Stop query/ }).click()

  const handle = page.getByRole('separator', { name: 'Height of the chart' })
  await handle.focus()
  await page.keyboard.press('ArrowUp')
  const height = await handle.getAttribute('aria-valuenow')
  const { x, y, width } = (await handle.boundingBox())!
  await page.mouse.move(x + width / 2, y + 4)
  await page.mouse.down()
  await page.mouse.move(x + width / 2, y - 46, { steps: 3 })
  await page.mouse.up()
  expect(Number(await handle.getAttribute('aria-valuenow'))).toBe(Number(height) + 50)
  const toggle = page.locator('.pane-toggle')
  await toggle.click()
  await page.reload()
  await expect.poll(() => toggle.getAttribute('aria-expanded')).toBe('false')
  await toggle.click()
  expect(Number(await handle.getAttribute('aria-valuenow'))).toBe(Number(height) + 50)
  expect(errors).toEqual([])
})

it('a link with a mutation shows it, and runs it only after a click', async () => {
  const mutation = 'mutation { trackMetric(input: { name: "from.a.link", type: COUNTER, value: 1 }) { name } }'
  const { page } = await openWithKey()
  await page.locator('.chart-pane .plot canvas').waitFor()
  const sent: string[] = []
  page.on('request', (request) => sent.push(request.postData() ?? ''))
  await page.goto(`${demo.url}/openapi.json`)
  await page.goto(`${demo.url}/graphql#query=${encodeURIComponent(mutation)}`)
  await page.locator('.graphiql-query-editor .view-line', { hasText: 'from.a.link' }).waitFor()
  await page.locator('.chart-pane').waitFor()
  await page.waitForTimeout(500)
  expect(sent.filter((body) => body.includes('from.a.link'))).toEqual([])
  await page.getByRole('button', { name: /^Execute query/ }).click()
  await expect.poll(() => sent.filter((body) => body.includes('from.a.link'))).toHaveLength(1)
})

it.each([
  [400, 'light'],
  [400, 'dark'],
  [1440, 'light'],
  [1440, 'dark'],
] as const)('fits a window of %i px: %s', async (windowWidth, colorScheme) => {
  const { page, errors } = await openWithKey({ viewport: { width: windowWidth, height: 850 }, colorScheme })
  await page.locator('.chart-pane .plot canvas').waitFor()
  const { x, width } = (await page.locator('.chart-pane').boundingBox())!
  expect([x >= 0, x + width <= windowWidth]).toEqual([true, true])
  expect((await picturesOf(page))[0]?.linePixels).toBeGreaterThan(100)
  expect(await accessibilityFaults(page, '.chart-pane')).toEqual([])
  expect(errors).toEqual([])
})

it('asks for the key once per browser tab', async () => {
  const { page, errors } = await openPlayground()
  await enterKey(page, key)
  await page.getByRole('tab').first().waitFor()
  await page.reload()
  await page.getByRole('tab', { name: /^Chart\b/ }).click()
  await expect.poll(() => run(page), { timeout: RESULT_MS_MAX }).toMatchObject({ data: SHOWN['Chart'] })
  expect(await page.getByLabel('API key').isVisible()).toBe(false)
  expect(errors).toEqual([])

  const neighbour = await page.context().newPage()
  await neighbour.goto(`${demo.url}/graphql`)
  await neighbour.getByLabel('API key').waitFor()
  const kept = await neighbour.evaluate('[{ ...localStorage }, { ...sessionStorage }, document.cookie]')
  expect(kept).toEqual([{}, {}, ''])
})

it('explains why a key is invalid, and accepts another', async () => {
  const { page } = await openPlayground()
  await enterKey(page, 'no such key')
  await page.getByText('A key has only letters, digits and punctuation').waitFor()
  await enterKey(page, 'no-such-key')
  await page.getByText('This key does not exist').waitFor()
  expect(await page.getByRole('tab').count()).toBe(0)
  await enterKey(page, key)
  await page.getByRole('tab').first().waitFor()
  expect(await page.getByLabel('API key').isVisible()).toBe(false)
})

it('asks for another key after the key was revoked', async () => {
  const { page } = await openPlayground()
  await page.evaluate("sessionStorage.setItem('gaugeql:key', 'a-key-of-last-week')")
  await page.reload()
  await page.getByText('This key does not exist').waitFor()
  await enterKey(page, key)
  await page.getByRole('tab', { name: /^Chart\b/ }).click()
  await expect.poll(() => run(page), { timeout: RESULT_MS_MAX }).toMatchObject({ data: SHOWN['Chart'] })
})

/** In a new window, without stored data. */
async function openPlayground(): Promise<WatchedPage> {
  const context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'] })
  onTestFinished(() => context.close())
  const watched = watchPage(await context.newPage())
  await watched.page.goto(`${demo.url}/graphql`)
  return watched
}

async function openWithKey(options: BrowserContextOptions = {}): Promise<WatchedPage> {
  const context = await browser.newContext({ permissions: ['clipboard-read', 'clipboard-write'], ...options })
  onTestFinished(() => context.close())
  const watched = watchPage(await context.newPage())
  await watched.page.goto(`${demo.url}/graphql#key=${key}`)
  return watched
}

async function enterKey(page: Page, entered: string): Promise<void> {
  await page.getByLabel('API key').fill(entered)
  await page.getByRole('button', { name: 'Open', exact: true }).click()
}

function tabsOf(page: Page): Promise<string[]> {
  return page.locator('.graphiql-tab-button').allInnerTexts()
}

/** Runs the operation of the open tab, unless it is running, and reads the result panel. */
async function run(page: Page): Promise<unknown> {
  const execute = page.getByRole('button', { name: /^Execute query/ })
  if (await execute.isVisible()) {
    await execute.click()
    await page.locator('.graphiql-spinner').waitFor({ state: 'detached' })
  }
  return resultOf(page)
}

/** Through the clipboard, because the document has only the visible lines. */
async function resultOf(page: Page): Promise<unknown> {
  await page.locator('.result-window .monaco-editor').click({ position: { x: 60, y: 10 } })
  await page.keyboard.press('Control+A')
  await page.keyboard.press('Control+C')
  const text = await page.evaluate<string>('navigator.clipboard.readText()')
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
