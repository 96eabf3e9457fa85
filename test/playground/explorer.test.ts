import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { startBrowser, type WatchedPage, watchPage } from '../support/browser.ts'
import { accessibilityFaults, legendOf, picturesOf } from '../support/chart-checks.ts'
import { type ChildGateway, startDemo } from '../support/child-gateway.ts'
import { startGateway } from '../support/gateway.ts'
import type { Json } from '../support/json.ts'

/** The explorer in a browser without other network, on the built gateway with demo data. */

/** The demo imports a day before it can be looked at. */
const START_MS_MAX = 180_000
vi.setConfig({ testTimeout: 120_000 })
const SHOWN_MS_MAX = 20_000
const FIRST_PAINT_BYTES_MAX = 150_000

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

/** Six hours that have ended, so that their numbers stay. */
const TO_MS = Math.floor(Date.now() / 3_600_000) * 3_600_000 - 3_600_000
const [FROM, TO] = [TO_MS - 6 * 3_600_000, TO_MS - 1].map((timeMs) => new Date(timeMs).toISOString())
const FIXED = `from=${FROM}&to=${TO}&zone=UTC`

it('opens by the link of the demo: small, with the key gone from the address and in no URL, and with no outside request', async () => {
  const link = await demo.shown(/Open it\s+(\S+)/)
  const { page, errors, requests } = await openWindow()
  const network = await page.context().newCDPSession(page)
  const types = new Map<string, string>()
  let bytes = 0
  network.on('Network.responseReceived', ({ requestId, type }) => types.set(requestId, type))
  network.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    if (types.get(requestId) !== 'Fetch') bytes += encodedDataLength
  })
  await network.send('Network.enable')
  await page.goto(link)
  await chartShown(page)
  expect(page.url()).toMatch(/\/explore\?metric=api\.response_time&/)
  expect([bytes > 20_000, bytes < FIRST_PAINT_BYTES_MAX], `${bytes} bytes`).toEqual([true, true])
  expect(requests.length).toBeGreaterThan(10)
  expect(requests.filter((address) => address.includes(key) || !address.startsWith(`${demo.url}/`))).toEqual([])
  await page.goBack()
  expect(page.url()).not.toContain(key)
  expect(errors).toEqual([])
})

it('draws what the API answers, with gaps, a comparison and the totals of groups', async () => {
  const { page, errors } = await explore(
    `metric=api.response_time&show=P95&by=endpoint&top=3&other=1&compare=1w&${FIXED}`,
  )
  const { data } = await ask(`{ query(metric: "api.response_time", from: "${FROM}", to: "${TO}", aggregations: [P95],
      groupBy: ["endpoint"], top: { n: 3, other: true }, compare: { offset: "1w" }) {
        series { label total values comparison { label total values } } } }`)
  const lines: { label: string; total: number; values: number[]; comparison: object }[] = data.query.series
  expect(lines).toHaveLength(4)
  const expected = lines.flatMap(({ comparison, ...line }) => [line, comparison as typeof line])
  expect(await legendOf(page)).toEqual(
    expected.map(({ label, total, values }) => ({ label, total, last: values.findLast((value) => value !== null) })),
  )
  const bars = await page
    .locator('.bars tbody tr')
    .evaluateAll((rows) =>
      rows.map((row) => [
        row.querySelector('th')?.textContent,
        Number(row.querySelector('td.number')?.getAttribute('data-value')),
      ]),
    )
  const totals = lines.map(({ label, total }) => [label.replace('p95 · ', ''), total] as const)
  expect(bars).toEqual(totals.toSorted((a, b) => Number(b[1]) - Number(a[1])))
  const [picture] = await picturesOf(page)
  expect(picture?.linePixels).toBeGreaterThan(300)

  // A hidden line leaves the picture.
  await page.getByRole('button', { name: lines[0]!.label, exact: true }).click()
  await page.getByRole('button', { name: new RegExp(`^${lines[0]!.label} · `) }).click()
  await expect.poll(async () => (await picturesOf(page))[0]?.linePixels).toBeLessThan(picture!.linePixels / 4)

  // The cursor reads values, by the keyboard too.
  await page.locator('.plot').focus()
  await page.keyboard.press('ArrowRight')
  await page.locator('.tooltip', { hasText: '1w before' }).waitFor()
  expect(await page.locator('.tooltip tr').count()).toBe(6)
  expect(errors).toEqual([])
})

it('each control changes the question; the address brings the same question back, and so does the back button', async () => {
  const { page, errors } = await explore('metric=api.requests&last=24h&zone=Europe/Berlin')
  const choose = (label: string, value: string) =>
    page.getByRole('combobox', { name: label, exact: true }).selectOption(value)
  const check = (name: string) => page.locator('label', { hasText: new RegExp(`^${name}$`) }).click()
  const steps: readonly (readonly [action: () => Promise<unknown>, address: string, code: string])[] = [
    [() => check('6h'), 'last=6h', 'last: "6h"'],
    [() => choose('Interval', '15m'), 'interval=15m', 'interval: "15m"'],
    [() => choose('Compare with', '1w'), 'compare=1w', 'compare: { offset: "1w" }'],
    [() => choose('Compare with', 'previous'), 'compare=previous', 'compare: { previousPeriod: true }'],
    [() => choose('Time zone', 'UTC'), 'zone=UTC', 'timezone: "UTC"'],
    [() => check('rate'), 'show=SUM,RATE', 'aggregations: [SUM, RATE]'],
    [() => page.getByLabel('Group by endpoint').check({ force: true }), 'by=endpoint&', 'groupBy: ["endpoint"]'],
    [() => page.getByLabel('Number of groups').fill('2'), 'top=2', 'top: { n: 2, other: true }'],
    [() => choose('Order of the groups', 'ASC'), 'order=asc', 'direction: ASC'],
    [() => choose('by', 'RATE'), 'rank=RATE', 'by: RATE'],
    [() => check('and the others as one'), 'order=asc&compare', 'direction: ASC }'],
    [
      () => page.getByRole('button', { name: 'POST', exact: true }).click(),
      'in.method=POST',
      '{ key: "method", in: ["POST"] }',
    ],
    [
      () => page.getByRole('button', { name: 'GET', exact: true }).click(),
      'in.method=POST&in.method=GET',
      'in: ["POST", "GET"]',
    ],
    [() => addFilter(page, 'status', 'startsWith', '2'), 'startsWith.status=2', '{ key: "status", startsWith: "2" }'],
    [() => check('only the'), 'by=endpoint&in.', 'groupBy: ["endpoint"]\n    compare'],
    [() => page.getByRole('switch').check({ force: true }), 'live=1', 'subscription Explore'],
    [() => page.getByRole('switch').uncheck({ force: true }), 'zone=UTC', 'query Explore'],
    [
      () => setRange(page, '2026-01-02T10:00', '2026-01-02T11:30'),
      'from=2026-01-02T10:00:00Z&to=2026-01-02T11:30:00Z',
      'from: "2026-01-02T10:00:00Z"',
    ],
  ]
  const addresses = [page.url()]
  for (const [action, address, code] of steps) {
    await action()
    await expect.poll(() => decodeURIComponent(page.url()), { message: address }).toContain(address)
    await expect.poll(() => errorCodeOf(page), { message: code }).toContain(code)
    if (page.url() !== addresses.at(-1)) addresses.push(page.url())
  }
  const code = await errorCodeOf(page)
  await page.reload()
  await expect.poll(() => errorCodeOf(page)).toBe(code)
  expect(page.url()).toBe(addresses.at(-1))

  await page.goBack()
  await expect.poll(() => page.getByRole('radio', { name: 'Custom' }).isChecked()).toBe(true)
  for (const address of addresses.toReversed().slice(2, 6)) {
    await expect
      .poll(async () => {
        if (page.url() !== address) await page.goBack()
        return page.url()
      })
      .toBe(address)
  }
  await page.getByRole('link', { name: 'orders' }).click()
  await expect.poll(() => page.url()).toContain('metric=orders')
  await page.getByLabel('Search metrics').fill('cpu')
  await expect.poll(() => page.getByRole('navigation', { name: 'Metrics' }).getByRole('link').count()).toBe(1)
  await chartShown(page)
  expect(errors).toEqual([])
})

it('a live line moves', async () => {
  const { page, errors } = await explore('metric=users.online&by=region&last=15m&interval=10s&zone=UTC&live=1')
  const [before] = await picturesOf(page)
  const legend = JSON.stringify(await legendOf(page))
  await expect.poll(async () => JSON.stringify(await legendOf(page)), { timeout: 40_000 }).not.toBe(legend)
  await expect.poll(async () => (await picturesOf(page))[0]?.image).not.toBe(before?.image)
  expect(errors).toEqual([])
})

it('shows an error with its code, and a button that makes the query fit', async () => {
  const { page } = await explore('metric=api.response_time&by=endpoint&last=5d&interval=1m&zone=UTC', '.problem')
  await page.getByText('query_too_large').waitFor()
  await page.getByRole('button', { name: /^Use an interval of / }).click()
  await chartShown(page)
  expect(page.url()).toMatch(/interval=\d+[mh]/)

  await page.goto(`${demo.url}/explore?metric=no.such&zone=UTC`)
  await page.getByText('metric_not_found').waitFor()
})

it('zooms into a range that is dragged, and opens the same question in GraphiQL', async () => {
  const { page, errors } = await explore(`metric=orders&${FIXED}`)
  const whole = JSON.stringify(await legendOf(page))
  const box = (await page.locator('.plot .u-over').boundingBox())!
  await page.mouse.move(box.x + box.width * 0.25, box.y + 50)
  await page.mouse.down()
  await page.mouse.move(box.x + box.width * 0.5, box.y + 60, { steps: 4 })
  await page.mouse.up()
  await expect.poll(() => new URL(page.url()).searchParams.get('from')).not.toBe(FROM)
  const { searchParams } = new URL(page.url())
  const [fromMs, toMs] = ['from', 'to'].map((name) => Date.parse(searchParams.get(name)!))
  expect((toMs! - fromMs!) / 3_600_000).toBeCloseTo(1.5, 0)
  // The address changes before the answer is there.
  await expect.poll(async () => JSON.stringify(await legendOf(page)), { timeout: SHOWN_MS_MAX }).not.toBe(whole)
  await chartShown(page)
  const [total] = await legendOf(page)

  await page.getByRole('link', { name: 'Open in GraphiQL' }).click()
  await page.locator('.chart-pane .plot canvas').waitFor({ timeout: SHOWN_MS_MAX })
  expect(page.url()).toBe(`${demo.url}/graphql`)
  expect(await page.locator('.graphiql-tab-active').innerText()).toContain('Explore')
  expect(await legendOf(page)).toEqual([total])
  expect(errors).toEqual([])
})

it('an empty project shows how to send the first point, and its chart the moment it arrives', async () => {
  const gateway = await startGateway()
  onTestFinished(() => gateway.close())
  const { page, errors } = await openWindow()
  await page.goto(`${gateway.url}/explore#key=${gateway.key}`)
  await page.getByRole('heading', { name: 'Send the first point' }).waitFor()
  const call = await page.locator('.first-point pre').innerText()
  expect(call).toContain(gateway.key)
  await promisify(execFile)('bash', ['-c', call])
  await chartShown(page)
  expect(await legendOf(page)).toContainEqual({ label: 'p50', total: 145.2, last: 145.2 })
  expect(page.url()).toContain('live=1')
  expect(errors).toEqual([])
})

it('asks for a key; explains one that is unknown or may not read', async () => {
  const gateway = await startGateway({ env: { API_KEYS: 'writer-0123456789:p:ingest' } })
  onTestFinished(() => gateway.close())
  const { page } = await openWindow()
  await page.goto(`${gateway.url}/explore`)
  await page.getByLabel('API key').fill('no-such-key')
  await page.getByRole('button', { name: 'Open', exact: true }).click()
  await page.getByText('This key does not exist').waitFor()
  await page.getByLabel('API key').fill('writer-0123456789')
  await page.getByRole('button', { name: 'Open', exact: true }).click()
  await page.getByText('forbidden').waitFor()
  // A link in the same tab brings another key.
  await page.goto(`${gateway.url}/explore#key=another-key-0123456789`)
  await page.getByText('This key does not exist').waitFor()
  expect(page.url()).not.toContain('another')
})

describe.each([400, 1440])('at %i px', (width) => {
  it.each(['light', 'dark'] as const)(
    'nothing overflows and no accessibility fault is serious: %s',
    async (colorScheme) => {
      const query = `metric=api.response_time&by=endpoint&top=3&other=1&compare=1d&in.method=GET&${FIXED}`
      const { page, errors } = await explore(query, '.plot canvas', { viewport: { width, height: 900 }, colorScheme })
      expect(await overflowOf(page)).toBe(0)
      expect(await accessibilityFaults(page)).toEqual([])
      const [picture] = await picturesOf(page)
      expect(picture?.linePixels).toBeGreaterThan(100)
      await page.getByRole('button', { name: 'Change key' }).click()
      expect(await accessibilityFaults(page, '.key-form')).toEqual([])
      expect(errors).toEqual([])
    },
  )
})

async function openWindow(options: BrowserContextOptions = {}): Promise<WatchedPage> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, ...options })
  onTestFinished(() => context.close())
  return watchPage(await context.newPage())
}

/** Opens a question in a new window, and waits for what it shows. */
async function explore(
  query: string,
  shown = '.plot canvas',
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const watched = await openWindow(options)
  await watched.page.goto(`${demo.url}/explore?${query}#key=${key}`)
  await watched.page.locator(shown).first().waitFor({ timeout: SHOWN_MS_MAX })
  return watched
}

async function chartShown(page: Page): Promise<void> {
  await page.locator('.result[aria-busy="false"] .plot canvas').first().waitFor({ timeout: SHOWN_MS_MAX })
}

function errorCodeOf(page: Page): Promise<string> {
  return page.locator('.code-panel pre').innerText()
}

async function addFilter(page: Page, tag: string, condition: string, value: string): Promise<void> {
  await page.getByRole('button', { name: '+ Add filter' }).click()
  await page.getByRole('combobox', { name: 'Tag', exact: true }).selectOption(tag)
  await page.getByRole('combobox', { name: 'Condition' }).selectOption(condition)
  await page.getByRole('combobox', { name: 'Value', exact: true }).fill(value)
  await page.getByRole('button', { name: 'Add', exact: true }).click()
}

async function setRange(page: Page, from: string, to: string): Promise<void> {
  await page.locator('label', { hasText: /^Custom$/ }).click()
  await page.getByLabel('From').fill(from)
  await page.getByLabel('To', { exact: true }).fill(to)
  await page.getByRole('button', { name: 'Apply' }).click()
}

function overflowOf(page: Page): Promise<number> {
  return page.evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth')
}

async function ask(query: string): Promise<{ data: Json }> {
  const response = await fetch(`${demo.url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query }),
  })
  return (await response.json()) as { data: Json }
}
