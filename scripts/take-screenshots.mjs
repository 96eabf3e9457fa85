import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { chromium } from 'playwright-core'

/**
 * Takes the pictures of README.md from the demo: `npm run build && npx tsc -p tsconfig.demo.json && node
 * scripts/take-screenshots.mjs [CHROMIUM]`. Each picture is as a person sees the page, with the mouse on the chart.
 */
const [, , executablePath = '/usr/bin/chromium'] = process.argv
const WINDOW = { width: 1360, height: 850 }
const DRAWN_MS_MAX = 30_000

const demo = spawn(process.execPath, ['dist/demo/run.js'], {
  env: { ...process.env, PORT: '0' },
  stdio: ['ignore', 'pipe', 'inherit'],
})
try {
  const url = await addressOfDemo()
  const browser = await chromium.launch({ executablePath, chromiumSandbox: process.getuid?.() !== 0 })
  try {
    const question = 'metric=api.response_time&show=P95&by=endpoint&top=4&other=1&last=24h&zone=UTC'
    await take(browser, `${url.replace('#', `?${question}#`)}`, 'docs/explorer.png')
    await take(browser, url.replace('/explore', '/graphql'), 'docs/graphiql.png')
  } finally {
    await browser.close()
  }
} finally {
  demo.kill('SIGTERM')
  await once(demo, 'exit')
}

/** The link that the demo prints, once its data is there. */
async function addressOfDemo() {
  let link = ''
  for await (const line of createInterface({ input: demo.stdout })) {
    link ||= /^Open it\s+(\S+)/.exec(line)?.[1] ?? ''
    if (line.startsWith('The days between are stored')) return link
  }
  throw new Error('the demo ended')
}

async function take(browser, address, path) {
  const context = await browser.newContext({ viewport: WINDOW, colorScheme: 'light' })
  const page = await context.newPage()
  await page.goto(address)
  const chart = page.locator('.plot .u-over').first()
  await chart.waitFor({ timeout: DRAWN_MS_MAX })
  await page.locator('.progress').waitFor({ state: 'detached', timeout: DRAWN_MS_MAX })
  const { x, y, width, height } = await chart.boundingBox()
  await page.mouse.move(x + width * 0.62, y + height * 0.5)
  await page.locator('.tooltip').waitFor({ timeout: DRAWN_MS_MAX })
  await page.screenshot({ path })
  await context.close()
}
