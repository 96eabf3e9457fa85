import { type Random, randomOf } from './random.ts'

/**
 * A small web shop as a pure function of a seed and the time: a time range always gives the same points, whether
 * imported as history or sent live. It has quiet nights, busy afternoons, better and worse weeks, returning customers,
 * and incidents.
 */
export interface Point {
  readonly name: string
  readonly type: 'gauge' | 'counter' | 'distribution' | 'set'
  readonly value: number | string
  /** UNIX milliseconds. */
  readonly timestamp: number
  readonly tags: Readonly<Record<string, string>>
}

/** An event. Unlike points, events are stored as they are, without aggregation. */
export interface ShopEvent {
  readonly name: 'order.placed' | 'user.signed_up' | 'deploy.finished' | 'incident.opened' | 'incident.closed'
  readonly timestamp: number
  readonly value?: number
  readonly user_id?: string
  readonly tags: Readonly<Record<string, string>>
  readonly properties?: Readonly<Record<string, string | number>>
}

export type Happening = Point | ShopEvent

export interface Incident {
  readonly kind: 'payment provider slow' | 'search index down'
  readonly fromMs: number
  readonly toMs: number
  /** The factor by which responses of its endpoint take longer. */
  readonly slownessFactor: number
  /** The share of these responses that fail. */
  readonly failureShare: number
}

/** Unit and description of each metric. */
export const METRICS: Readonly<Record<string, { readonly unit?: string; readonly description: string }>> = {
  'api.response_time': { unit: 'ms', description: 'Time to serve one request' },
  'api.requests': { unit: 'requests', description: 'Requests served' },
  'users.online': { unit: 'users', description: 'Visitors with an open page' },
  daily_active_users: { unit: 'users', description: 'Visitors who did something, each counted once' },
  orders: { unit: 'orders', description: 'Orders placed' },
  'order.value': { unit: 'EUR', description: 'Value of one order' },
  'cpu.load': { description: 'Share of busy CPU time' },
}

const SECOND_MS = 1_000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** Points are generated step by step. Each step has its own random numbers. */
const STEP_MS = 10 * SECOND_MS
/** At the busiest time of an ordinary day. */
const PEAK_REQUESTS_PER_SECOND = 1
/** Time is divided into slots of this length. Each has one incident or none. */
const INCIDENT_SLOT_MS = 4 * HOUR_MS
/** The share of slots that have an incident. */
const INCIDENT_SHARE = 0.8
/** The time between two deployments. */
const DEPLOY_INTERVAL_MS = 8 * HOUR_MS
/** Number of accounts: a few come daily, most rarely. */
const USER_COUNT = 5_000

interface Route {
  readonly endpoint: string
  readonly method: string
  /** The weight of this route among all requests. */
  readonly share: number
  readonly medianMs: number
  /** Standard deviation of the logarithm: a larger one has a longer tail. */
  readonly spread: number
  readonly successStatus: string
}

const ROUTES: readonly Route[] = [
  { endpoint: '/products', method: 'GET', share: 26, medianMs: 64, spread: 0.4, successStatus: '200' },
  { endpoint: '/products/:id', method: 'GET', share: 24, medianMs: 48, spread: 0.4, successStatus: '200' },
  { endpoint: '/search', method: 'GET', share: 14, medianMs: 118, spread: 0.7, successStatus: '200' },
  { endpoint: '/', method: 'GET', share: 12, medianMs: 31, spread: 0.3, successStatus: '200' },
  { endpoint: '/recommendations', method: 'GET', share: 8, medianMs: 92, spread: 0.5, successStatus: '200' },
  { endpoint: '/cart', method: 'GET', share: 6, medianMs: 42, spread: 0.4, successStatus: '200' },
  { endpoint: '/cart', method: 'POST', share: 4, medianMs: 71, spread: 0.5, successStatus: '201' },
  { endpoint: '/users', method: 'GET', share: 3, medianMs: 57, spread: 0.4, successStatus: '200' },
  { endpoint: '/login', method: 'POST', share: 3, medianMs: 165, spread: 0.3, successStatus: '200' },
  { endpoint: '/checkout', method: 'POST', share: 2, medianMs: 290, spread: 0.6, successStatus: '201' },
]

const REGIONS = [
  { region: 'eu', users: 220, utcOffsetMs: HOUR_MS },
  { region: 'us', users: 140, utcOffsetMs: -6 * HOUR_MS },
  { region: 'asia', users: 60, utcOffsetMs: 8 * HOUR_MS },
]
const HOSTS = ['web-1', 'web-2', 'web-3']
const PLATFORMS = ['web', 'ios', 'android']
const PAYMENTS = [
  { payment: 'card', share: 60, worthEur: 62 },
  { payment: 'paypal', share: 30, worthEur: 44 },
  { payment: 'invoice', share: 10, worthEur: 118 },
]

/**
 * Yields the points and events from `fromMs` to `toMs` (exclusive), step by step, within a step in no order. Adjacent
 * ranges give the same as one long range.
 */
export function* shopBetween(seed: number, fromMs: number, toMs: number): Generator<Happening> {
  for (let stepMs = Math.floor(fromMs / STEP_MS) * STEP_MS; stepMs < toMs; stepMs += STEP_MS) {
    for (const happening of step(seed, stepMs)) {
      if (happening.timestamp >= fromMs && happening.timestamp < toMs) yield happening
    }
  }
}

function* step(seed: number, stepMs: number): Generator<Happening> {
  const random = randomOf(seed, stepMs)
  const incident = incidentAt(seed, stepMs)
  const traffic = trafficAt(seed, stepMs)
  for (const { region, users, utcOffsetMs } of REGIONS) {
    const localTraffic = trafficAt(seed, stepMs + utcOffsetMs) * wobble(seed + users, stepMs, 5 * MINUTE_MS, 0.06)
    const value = Math.round(users * localTraffic + 3 * random.normal())
    yield { name: 'users.online', type: 'gauge', value: Math.max(0, value), timestamp: stepMs, tags: { region } }
  }
  for (const [i, host] of HOSTS.entries()) {
    const load = (0.12 + 0.5 * traffic + (incident === undefined ? 0 : 0.2)) * wobble(seed + i, stepMs, MINUTE_MS, 0.2)
    const value = round(Math.min(1, load), 3)
    yield { name: 'cpu.load', type: 'gauge', value, timestamp: stepMs, tags: { host } }
  }
  yield* rareEvents(seed, stepMs)
  const requests = random.poisson((PEAK_REQUESTS_PER_SECOND * traffic * STEP_MS) / SECOND_MS)
  for (let i = 0; i < requests; i++) {
    yield* request(random, stepMs + Math.floor(((i + random.next()) / requests) * STEP_MS), incident)
  }
}

/** Events that occur a few times a day. */
function* rareEvents(seed: number, stepMs: number): Generator<ShopEvent> {
  for (const atMs of [stepMs, stepMs - STEP_MS]) {
    const incident = incidentAt(seed, atMs)
    if (incident === undefined) continue
    const { kind, fromMs, toMs } = incident
    const isNew = atMs === stepMs
    const timestamp = isNew ? fromMs : toMs
    if (timestamp < stepMs || timestamp >= stepMs + STEP_MS) continue
    const name = isNew ? 'incident.opened' : 'incident.closed'
    yield { name, timestamp, tags: { endpoint: ENDPOINT_OF[kind] }, properties: { kind } }
  }
  const release = stepMs / DEPLOY_INTERVAL_MS
  if (!Number.isInteger(release)) return
  const properties = {
    version: `1.${release % 1_000}.0`,
    commit: randomOf(seed, release)
      .integer(2 ** 32)
      .toString(16),
  }
  yield { name: 'deploy.finished', timestamp: stepMs, tags: { service: 'shop' }, properties }
}

function* request(random: Random, timestamp: number, incident: Incident | undefined): Generator<Happening> {
  const route = choose(ROUTES, random)
  const { endpoint, method } = route
  const ownIncident = incident !== undefined && endpoint === ENDPOINT_OF[incident.kind] ? incident : undefined
  const fails = random.next() < (ownIncident?.failureShare ?? 0.003)
  const refused = !fails && random.next() < (method === 'POST' ? 0.06 : 0.012)
  const status = fails ? '503' : refused ? (method === 'POST' ? '422' : '404') : route.successStatus
  const tags = { endpoint, method, status }
  const usualMs = route.medianMs * (refused ? 0.4 : 1) * Math.exp(route.spread * random.normal())
  const value = round(usualMs * (ownIncident?.slownessFactor ?? 1), 1)
  yield { name: 'api.response_time', type: 'distribution', value, timestamp, tags }
  yield { name: 'api.requests', type: 'counter', value: 1, timestamp, tags }
  // Squared, so that some users come more often.
  const user = Math.floor(USER_COUNT * random.next() ** 2)
  const userId = `user-${user}`
  const platform = PLATFORMS[user % PLATFORMS.length]!
  if (random.next() < 0.3) {
    yield { name: 'daily_active_users', type: 'set', value: userId, timestamp, tags: { platform } }
  }
  if (endpoint === '/login' && status === route.successStatus && random.next() < 0.1) {
    yield { name: 'user.signed_up', timestamp, user_id: userId, tags: { platform } }
  }
  if (endpoint !== '/checkout' || status !== route.successStatus) return
  const { payment, worthEur } = choose(PAYMENTS, random)
  const worth = round(worthEur * Math.exp(0.5 * random.normal()), 2)
  yield { name: 'orders', type: 'counter', value: 1, timestamp, tags: { payment } }
  yield { name: 'order.value', type: 'distribution', value: worth, timestamp, tags: { payment } }
  const properties = { items: 1 + random.poisson(1.5), currency: 'EUR' }
  yield { name: 'order.placed', timestamp, value: worth, user_id: userId, tags: { payment, platform }, properties }
}

const ENDPOINT_OF: Readonly<Record<Incident['kind'], string>> = {
  'payment provider slow': '/checkout',
  'search index down': '/search',
}

/** Returns the incident at a time, if any. */
export function incidentAt(seed: number, atMs: number): Incident | undefined {
  const slotMs = Math.floor(atMs / INCIDENT_SLOT_MS) * INCIDENT_SLOT_MS
  const random = randomOf(seed, slotMs, 1)
  if (random.next() >= INCIDENT_SHARE) return undefined
  const durationMs = (8 + random.integer(18)) * MINUTE_MS
  // Aligned to steps, so that its first and last steps are complete.
  const fromMs = slotMs + random.integer((INCIDENT_SLOT_MS - durationMs) / STEP_MS) * STEP_MS
  if (atMs < fromMs || atMs >= fromMs + durationMs) return undefined
  const range = { fromMs, toMs: fromMs + durationMs }
  return random.next() < 0.5
    ? { kind: 'payment provider slow', slownessFactor: 5, failureShare: 0.12, ...range }
    : { kind: 'search index down', slownessFactor: 3, failureShare: 0.35, ...range }
}

/** Returns the traffic relative to an ordinary peak: about 0.15 at night and 1 in the afternoon. */
function trafficAt(seed: number, atMs: number): number {
  const hour = (atMs % DAY_MS) / HOUR_MS
  const rhythm = 0.15 + 0.85 * ((1 - Math.cos((2 * Math.PI * (hour - 3)) / 24)) / 2) ** 1.3
  const weekday = new Date(atMs).getUTCDay()
  const weekend = weekday === 0 || weekday === 6 ? 1.15 : 1
  return rhythm * weekend * wobble(seed, atMs, 7 * DAY_MS, 0.2) * wobble(seed, atMs, 20 * MINUTE_MS, 0.1)
}

/** Returns a smooth random factor around 1, at most `amount` away, with one random target per period. */
function wobble(seed: number, atMs: number, periodMs: number, amount: number): number {
  const period = Math.floor(atMs / periodMs)
  const fraction = atMs / periodMs - period
  const targetOf = (n: number): number => randomOf(seed, n, periodMs).next() * 2 - 1
  const eased = fraction * fraction * (3 - 2 * fraction)
  return 1 + amount * (targetOf(period) * (1 - eased) + targetOf(period + 1) * eased)
}

function choose<Choice extends { readonly share: number }>(choices: readonly Choice[], random: Random): Choice {
  let remaining = random.next() * choices.reduce((sum, { share }) => sum + share, 0)
  for (const choice of choices) {
    remaining -= choice.share
    if (remaining < 0) return choice
  }
  return choices[0]!
}

function round(value: number, digits: number): number {
  const scale = 10 ** digits
  return Math.round(value * scale) / scale
}
