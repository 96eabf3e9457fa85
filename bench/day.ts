import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { drive, postBytes } from './load.ts'
import { latency, randomNumbers } from './random.ts'
import { API_KEY, measureIdleShare, pause, type ServerProcess, untilIdle } from './server-process.ts'

/**
 * The data that queries are measured on: the last 24 whole hours of 1,000 series with a point every 15 s, once as a
 * counter and once as a distribution, and sets of users. It is sent through the HTTP batch API with past times. Values
 * come from a seed, so the expected results are computed here and not read from the gateway.
 */
export const SERIES = 1_000
export const HOURS = 24
export const ENDPOINTS = 50
const EVERY_MS = 15_000
const HOUR_MS = 3_600_000
const STEPS_PER_HOUR = HOUR_MS / EVERY_MS
const BATCH_STEPS = 5
const CONNECTIONS = 3

export const COUNTER = 'http.requests.total'
export const DISTRIBUTION = 'http.request.duration'
export const USERS = 'http.users'
/** A metric with one point, for queries without data. */
export const ALONE = 'process.starts'
/** The series that is queried alone. */
export const ONE_SERIES = 417

const USERS_EVERY_MS = 15 * 60_000
const USERS_STEPS_PER_HOUR = HOUR_MS / USERS_EVERY_MS
const USERS_MAX = 50_000

export interface Day {
  readonly fromMs: number
  /** Exclusive. */
  readonly toMs: number
}

export function lastDay(nowMs: number): Day {
  const toMs = Math.floor(nowMs / HOUR_MS) * HOUR_MS
  return { fromMs: toMs - HOURS * HOUR_MS, toMs }
}

/** Settings to load large batches quickly. */
export const LOADING_ENV = { BATCH_ITEMS_MAX: String(BATCH_STEPS * SERIES), FOLD_INBOX_AGE_MS: '2000' }

export function tagsOf(series: number): Readonly<Record<'endpoint' | 'host' | 'region', string>> {
  return { endpoint: endpointOf(series), region: `r${series % 3}`, host: hostOf(series) }
}

export function endpointOf(series: number): string {
  return `/api/v1/r${series % ENDPOINTS}`
}

export function hostOf(series: number): string {
  return `web-${String(series).padStart(4, '0')}`
}

const VALUES = 1 << 16
const counterTable = tableOf(1, (random) => Math.floor(random() * 100))
const latencyTable = tableOf(2, latency)

function tableOf(seed: number, draw: (random: () => number) => number): Float64Array {
  const random = randomNumbers(seed)
  return Float64Array.from({ length: VALUES }, () => draw(random))
}

/** An index into a table of values, the same for the same point in every run. */
function indexOf(series: number, step: number): number {
  const mixed = Math.imul(series * 8_191 + step + 1, 0x9e3779b1)
  return (mixed ^ (mixed >>> 15)) & (VALUES - 1)
}

export function counterValue(series: number, step: number): number {
  return counterTable[indexOf(series, step)]!
}

export function latencyValue(series: number, step: number): number {
  return latencyTable[indexOf(series, step)]!
}

export function userOf(series: number, step: number): string {
  return `user-${(Math.imul(series * 4_093 + step + 1, 0x85ebca6b) >>> 0) % USERS_MAX}`
}

export const steps = { perHour: STEPS_PER_HOUR, usersPerHour: USERS_STEPS_PER_HOUR, everyMs: EVERY_MS }

export interface Loaded {
  readonly day: Day
  readonly points: number
  readonly cpuUsPerPoint: number
}

const FILE = 'day.json'

/** The day that an earlier run loaded into the folder. Undefined when there is none or it is too old. */
export function readLoaded(folder: string, nowMs: number): Loaded | undefined {
  const path = join(folder, FILE)
  if (!existsSync(path)) return undefined
  const loaded = JSON.parse(readFileSync(path, 'utf8')) as Loaded
  return nowMs - loaded.day.toMs < 4 * HOUR_MS ? loaded : undefined
}

export async function loadDay(gateway: ServerProcess, folder: string, day: Day): Promise<Loaded> {
  const idleShare = await measureIdleShare(gateway)
  const before = gateway.cpu.readMs()
  const startMs = performance.now()
  let points = 0
  points += await sendSeries(gateway, day, COUNTER, 'counter', counterValue)
  points += await sendSeries(gateway, day, DISTRIBUTION, 'distribution', latencyValue)
  await pause(4_000)
  await untilIdle(gateway, idleShare)
  const usedMs = gateway.cpu.readMs() - before - (performance.now() - startMs) * idleShare
  await sendUsers(gateway, day)
  await sendBatch(gateway, [itemText(ALONE, 'counter', '1', day.fromMs, 0)])
  await pause(4_000)
  await untilIdle(gateway, idleShare)
  const loaded = { day, points, cpuUsPerPoint: (usedMs * 1_000) / points }
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, FILE), JSON.stringify(loaded))
  return loaded
}

async function sendSeries(
  gateway: ServerProcess,
  { fromMs }: Day,
  name: string,
  type: string,
  valueAt: (series: number, step: number) => number,
): Promise<number> {
  const beginnings = Array.from(
    { length: SERIES },
    (_, series) => `{"name":"${name}","type":"${type}","tags":${JSON.stringify(tagsOf(series))},"timestamp":`,
  )
  const requests = (HOURS * STEPS_PER_HOUR) / BATCH_STEPS
  const next = (request: number): Uint8Array => {
    const items: string[] = []
    for (let step = request * BATCH_STEPS; step < (request + 1) * BATCH_STEPS; step++) {
      const timeMs = fromMs + step * EVERY_MS
      for (let series = 0; series < SERIES; series++)
        items.push(`${beginnings[series]!}${timeMs},"value":${valueAt(series, step)}}`)
    }
    return postBytes('/api/v1/metrics/batch', API_KEY, `[${items.join(',')}]`)
  }
  await drive(gateway.port, CONNECTIONS, requests, next, isAccepted)
  return requests * BATCH_STEPS * SERIES
}

async function sendUsers(gateway: ServerProcess, { fromMs }: Day): Promise<void> {
  const next = (step: number): Uint8Array => {
    const timeMs = fromMs + step * USERS_EVERY_MS
    const items = Array.from({ length: SERIES }, (_, series) =>
      itemText(USERS, 'set', JSON.stringify(userOf(series, step)), timeMs, series),
    )
    return postBytes('/api/v1/metrics/batch', API_KEY, `[${items.join(',')}]`)
  }
  await drive(gateway.port, CONNECTIONS, HOURS * USERS_STEPS_PER_HOUR, next, isAccepted)
}

/** Sends points into the last hour of the day for so long. Returns how many, and what they add to the counter's sum. */
export async function sendForAWhile(
  gateway: ServerProcess,
  { toMs }: Day,
  forMs: number,
): Promise<{ points: number; sum: number }> {
  const items = Array.from({ length: SERIES }, (_, series) => [
    itemText(COUNTER, 'counter', '1', toMs - 1 - series, series),
    itemText(DISTRIBUTION, 'distribution', '100', toMs - 1 - series, series),
  ]).flat()
  const bodies = Array.from({ length: items.length / 500 }, (_, i) =>
    postBytes('/api/v1/metrics/batch', API_KEY, `[${items.slice(i * 500, (i + 1) * 500).join(',')}]`),
  )
  const startMs = performance.now()
  let rounds = 0
  while (performance.now() - startMs < forMs) {
    await drive(gateway.port, CONNECTIONS, bodies.length, (i) => bodies[i]!, isAccepted)
    rounds++
  }
  return { points: rounds * items.length, sum: rounds * SERIES }
}

/** Sends further small metrics. */
export async function sendOtherMetrics(gateway: ServerProcess, { fromMs }: Day, metrics: number): Promise<void> {
  for (let metric = 0; metric < metrics; metric++) {
    const items: string[] = []
    for (let step = 0; step < HOURS; step++) {
      for (let series = 0; series < 20; series++) {
        items.push(
          itemText(
            `other.metric.${metric}`,
            'gauge',
            String(counterValue(series, step)),
            fromMs + step * HOUR_MS,
            series,
          ),
        )
      }
    }
    await sendBatch(gateway, items)
  }
}

async function sendBatch(gateway: ServerProcess, items: readonly string[]): Promise<void> {
  const bytes = postBytes('/api/v1/metrics/batch', API_KEY, `[${items.join(',')}]`)
  await drive(gateway.port, 1, 1, () => bytes, isAccepted)
}

function itemText(name: string, type: string, value: string, timeMs: number, series: number): string {
  return `{"name":"${name}","type":"${type}","tags":${JSON.stringify(tagsOf(series))},"timestamp":${timeMs},"value":${value}}`
}

function isAccepted({ status, body }: { readonly status: number; readonly body: string }): boolean {
  return status === 201 && !body.includes('"errors"')
}
