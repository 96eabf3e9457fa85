import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createFeed, type Feed } from './feed.ts'
import { shopBetween } from './shop.ts'

/**
 * `npm run demo`: starts a gateway with a new embedded store, and a simulated web shop that sends to it like any
 * client. Imports the past eight days and sends new points every second, until Ctrl-C. Deletes the store at the end.
 */

/**
 * A public key, which gives access to the demo's data only. It is constant, so that an open page still works after a
 * restart.
 */
const KEY = 'demo-shop-key'
const SEED = 20_240_115
const DAY_MS = 86_400_000
const LIVE_PAUSE_MS = 1_000

const ending = new AbortController()
const { signal } = ending
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => ending.abort())

const folder = await mkdtemp(join(tmpdir(), 'gaugeql-demo-'))
const gateway = spawn(process.execPath, [fileURLToPath(new URL('../main.js', import.meta.url))], {
  env: {
    LOG_LEVEL: 'warn',
    ...process.env,
    DATA_DIR: folder,
    REDIS_URL: '',
    REDIS_CLUSTER_NODES: '',
    API_KEYS: `${KEY}:shop:ingest+query`,
    // The import of eight days in a few seconds exceeds the default limits.
    RATE_LIMITS: 'off',
  },
  stdio: ['ignore', 'pipe', 'inherit'],
})
const exited = new Promise<number>((resolve) => {
  gateway.once('error', () => resolve(1))
  gateway.once('exit', (code) => resolve(code ?? 0))
})
exited.then(() => ending.abort())

try {
  const url = await addressOf(gateway)
  if (url !== undefined) {
    printGreeting(url)
    const feed = createFeed(url, KEY)
    const startMs = Date.now()
    await Promise.all([follow(feed, startMs), importHistory(feed, startMs)])
  }
} catch (error) {
  if (!signal.aborted) process.stderr.write(`The demo stopped: ${error instanceof Error ? error.message : error}\n`)
} finally {
  const isStopRequested = signal.aborted && gateway.exitCode === null
  gateway.kill('SIGTERM')
  const code = await exited
  await rm(folder, { recursive: true, force: true })
  process.exitCode = isStopRequested ? code : 1
}

/** Returns the URL that the gateway prints when it listens. Undefined: the process exited before. */
async function addressOf({ stdout }: ChildProcess): Promise<string | undefined> {
  if (stdout === null) return undefined
  return new Promise((resolve) => {
    const lines = createInterface({ input: stdout })
    lines.on('line', (line) => {
      const url = /^GaugeQL listens on (http:\S+)$/.exec(line)?.[1]
      if (url !== undefined) resolve(url)
    })
    lines.on('close', () => resolve(undefined))
  })
}

function printGreeting(url: string): void {
  const lines = [
    `GaugeQL with a demo shop listens on ${url}`,
    `Open it           ${url}/explore#key=${KEY}`,
    `GraphiQL          ${url}/graphql#key=${KEY}`,
    `API key           ${KEY}   (only for this demo)`,
    '',
    'Query it:',
    `  curl "${url}/api/v1/metrics/api.response_time/query?aggregation=p50,p95&group_by=tags.endpoint" -H "Authorization: Bearer ${KEY}"`,
    '',
    'Ctrl-C stops it and deletes its data.',
    '',
  ]
  process.stdout.write(`\n${lines.join('\n')}\n`)
}

/** Imports first the last day and the same day of last week, which GraphiQL's tabs compare, then the days between. */
async function importHistory(feed: Feed, startMs: number): Promise<void> {
  const beganMs = performance.now()
  let sentCount = 0
  const importDays = async (days: readonly number[], message: string): Promise<void> => {
    for (const day of days) {
      const fromMs = startMs - day * DAY_MS
      sentCount += await feed.send(shopBetween(SEED, fromMs, fromMs + DAY_MS), signal)
    }
    const seconds = ((performance.now() - beganMs) / 1_000).toFixed(1)
    process.stdout.write(`${message}: ${sentCount} points and events after ${seconds} s.\n`)
  }
  await importDays([1, 8], 'The last 24 hours and the same day of last week are stored')
  await importDays([2, 3, 4, 5, 6, 7], 'The days between are stored')
}

/** Sends the points and events since the previous time, every second, until the demo ends. */
async function follow(feed: Feed, startMs: number): Promise<void> {
  let sentUntilMs = startMs
  while (!signal.aborted) {
    const nowMs = Date.now()
    // After the clock was set back, nothing is sent until it has passed the previous time.
    if (nowMs > sentUntilMs) {
      await feed.send(shopBetween(SEED, sentUntilMs, nowMs), signal)
      sentUntilMs = nowMs
    }
    await pause(LIVE_PAUSE_MS, undefined, { signal }).catch(() => {})
  }
}
