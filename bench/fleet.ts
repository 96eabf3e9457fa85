import { encode } from '@msgpack/msgpack'
import { postBytes } from './load.ts'
import { latency, randomNumbers } from './random.ts'
import { API_KEY } from './server-process.ts'

/**
 * The load of a fleet of hosts: the same series again and again, with new values and times. Bodies are built in
 * advance, several for each group of series, and only the seconds of their timestamps are replaced.
 */
export interface FleetOptions {
  readonly series: number
  readonly metrics: number
  readonly batch: number
  /**
   * `now`: points have the current time, so under a heavy load a series has many points in a bucket. A number: the
   * milliseconds between two points of a series, as in a real fleet; the clock advances as fast as points are sent.
   */
  readonly clock: 'now' | number
  /** Flux, or a format of the Better Stack dialect, which has only gauges and running totals here. */
  readonly dialect?: Dialect
  /** All metrics have this type. */
  readonly type?: FleetType
  /** The fleet has other series each time all have reported. */
  readonly isNewEachTime?: boolean
}

export type FleetType = 'distribution' | 'gauge' | 'counter' | 'set'

export type Dialect = 'flux' | 'json' | 'ndjson' | 'msgpack'

const TYPES = ['distribution', 'gauge', 'counter'] as const
const NAMES = [
  'http.request.duration',
  'process.memory.usage',
  'http.requests.total',
  'db.query.duration',
  'node.cpu.utilization',
  'cache.hits.total',
  'queue.wait.duration',
  'queue.depth.current',
  'orders.created.total',
  'payment.request.duration',
  'disk.usage.percent',
  'emails.sent.total',
  'search.query.duration',
  'pool.connections.open',
  'errors.raised.total',
  'render.page.duration',
  'heap.used.megabytes',
  'retries.made.total',
  'rpc.client.duration',
  'threads.active.count',
]
const REGIONS = ['eu-west-1', 'us-east-1', 'ap-south-1']
const VARIANTS_BYTES = 24_000_000
const STAMP = '2026-01-01T00:00:00.'
const SECONDS_LENGTH = STAMP.length
/** Part of a tag; it is replaced by the number of earlier passes over all series. */
const PASS = 'pass-0000'

interface Template {
  readonly bytes: Buffer
  /** The positions of the timestamps, and of the numbers of passes. */
  readonly stamps: Uint32Array
  readonly passes: Uint32Array
}

export interface Fleet {
  /** Requests until every series has reported once. */
  readonly groups: number
  readonly pointBytes: number
  next(): Uint8Array
  metricNames(): readonly string[]
  /** The type of the metric with this index among the names. */
  typeOf(index: number): string
}

export function createFleet(options: FleetOptions): Fleet {
  const { series, batch, clock } = options
  const random = randomNumbers(7)
  const groups = Math.ceil(series / batch)
  const variants = Math.max(2, Math.min(16, Math.floor(VARIANTS_BYTES / (series * 200))))
  const templates = Array.from({ length: groups * variants }, (_, i) => buildTemplate(options, i % groups, random))
  let sent = 0
  let timeMs = typeof clock === 'number' ? Date.now() - 3_600_000 : 0
  return {
    groups,
    pointBytes: templates[0]!.bytes.length / batch,
    next() {
      const { bytes, stamps, passes } = templates[sent % templates.length]!
      if (clock === 'now') timeMs = Date.now()
      else if (sent % groups === 0) timeMs += clock
      const pass = Buffer.from(`pass-${String(Math.floor(sent / groups)).padStart(4, '0')}`, 'latin1')
      sent++
      // A copy, because the socket may not have written the earlier bytes yet.
      const request = Buffer.from(bytes)
      const seconds = Buffer.from(new Date(timeMs).toISOString().slice(0, SECONDS_LENGTH), 'latin1')
      for (let i = 0; i < stamps.length; i++) request.set(seconds, stamps[i]!)
      for (let i = 0; i < passes.length; i++) request.set(pass, passes[i]!)
      return request
    },
    metricNames: () => NAMES.slice(0, options.metrics),
    typeOf: (index) => options.type ?? TYPES[index % TYPES.length]!,
  }
}

function buildTemplate(options: FleetOptions, group: number, random: () => number): Template {
  const { series, batch, dialect = 'flux' } = options
  const first = group * batch
  const itemOf = dialect === 'flux' ? fluxItem : betterStackItem
  const items = Array.from({ length: batch }, (_, i) => itemOf((first + i) % series, options, random))
  const bytes = requestOf(dialect, items)
  return { bytes, stamps: positionsOf(STAMP, bytes), passes: positionsOf(PASS, bytes) }
}

function positionsOf(text: string, bytes: Buffer): Uint32Array {
  const positions: number[] = []
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) positions.push(at)
  return Uint32Array.from(positions)
}

function requestOf(dialect: Dialect, items: readonly string[]): Buffer {
  switch (dialect) {
    case 'flux':
      return items.length === 1
        ? postBytes('/api/v1/metrics', API_KEY, items[0]!)
        : postBytes('/api/v1/metrics/batch', API_KEY, `{"metrics":[${items.join(',')}]}`)
    case 'json':
      return postBytes('/metrics', API_KEY, `[${items.join(',')}]`)
    case 'ndjson':
      return postBytes('/metrics', API_KEY, items.join('\n'), 'application/x-ndjson')
    case 'msgpack':
      return postBytes('/metrics', API_KEY, encode(JSON.parse(`[${items.join(',')}]`)), 'application/msgpack')
  }
}

/** About 170 bytes. The milliseconds of its timestamp stay the same. */
function fluxItem(series: number, options: FleetOptions, random: () => number): string {
  const type = options.type ?? TYPES[(series % options.metrics) % TYPES.length]!
  const { name, time, tags } = commonOf(series, options, random)
  return `{"name":"${name}","type":"${type}","value":${pointValue(type, random)},"timestamp":"${time}","tags":${tags}}`
}

const MEMBERS = 50_000

function pointValue(type: FleetType, random: () => number): number | string {
  switch (type) {
    case 'distribution':
      return latency(random)
    case 'gauge':
      return Math.round(random() * 10_000) / 100
    case 'counter':
      return 1 + Math.floor(random() * 50)
    case 'set':
      return `"user-${Math.floor(random() * MEMBERS)}"`
  }
}

function betterStackItem(series: number, options: FleetOptions, random: () => number): string {
  const isCounter = TYPES[(series % options.metrics) % TYPES.length] === 'counter'
  // Times within a second are unordered, and a decreasing total would be a reset, so totals stay constant.
  const value = isCounter ? 1_000 + series : Math.round(random() * 10_000) / 100
  const { name, time, tags } = commonOf(series, options, random)
  return `{"name":"${name}","${isCounter ? 'counter' : 'gauge'}":{"value":${value}},"dt":"${time}","tags":${tags}}`
}

function commonOf(series: number, { metrics, isNewEachTime = false }: FleetOptions, random: () => number) {
  const member = Math.floor(series / metrics)
  const host = `${isNewEachTime ? PASS : 'web'}-${String(Math.floor(member / 50)).padStart(4, '0')}`
  return {
    name: NAMES[series % metrics]!,
    time: `${STAMP}${String(Math.floor(random() * 1_000)).padStart(3, '0')}Z`,
    tags: `{"endpoint":"/api/v1/r${member % 50}","region":"${REGIONS[member % 3]!}","host":"${host}"}`,
  }
}
