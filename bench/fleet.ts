import { postBytes } from './load.ts'
import { latency, randomNumbers } from './random.ts'
import { API_KEY } from './server-process.ts'

/**
 * What a fleet of hosts sends: the same series over and over, with new values and times. Bodies are built beforehand, several
 * of each group of series with different values, and only the seconds of their timestamps are written anew.
 */
export interface FleetOptions {
  readonly series: number
  readonly metrics: number
  readonly batch: number
  /**
   * `now`: points carry the time they are sent at, so a series has many in a bucket when the load is far beyond what such a fleet
   * would send. A number: each series reports at this distance, as the fleet would, and time passes as fast as it is sent.
   */
  readonly clock: 'now' | number
}

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
const SECONDS_LENGTH = '2026-01-01T00:00:00.'.length

interface Template {
  readonly bytes: Buffer
  /** Where the timestamps begin. */
  readonly stamps: Uint32Array
}

export interface Fleet {
  /** Requests until every series has reported once. */
  readonly groups: number
  readonly pointBytes: number
  next(): Uint8Array
  metricNames(): readonly string[]
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
      const { bytes, stamps } = templates[sent % templates.length]!
      if (clock === 'now') timeMs = Date.now()
      else if (sent % groups === 0) timeMs += clock
      sent++
      // A copy, because the bytes sent before may still be on their way.
      const request = Buffer.from(bytes)
      const seconds = Buffer.from(new Date(timeMs).toISOString().slice(0, SECONDS_LENGTH), 'latin1')
      for (let i = 0; i < stamps.length; i++) request.set(seconds, stamps[i]!)
      return request
    },
    metricNames: () => NAMES.slice(0, options.metrics),
  }
}

function buildTemplate({ series, metrics, batch }: FleetOptions, group: number, random: () => number): Template {
  const stamps: number[] = []
  let body = ''
  for (let i = 0; i < batch; i++) {
    const item = itemText((group * batch + i) % series, metrics, random)
    body += body === '' ? item.text : `,${item.text}`
    stamps.push(body.length - item.text.length + item.stamp)
  }
  const alone = batch === 1
  const text = alone ? body : `{"metrics":[${body}]}`
  const bytes = postBytes(alone ? '/api/v1/metrics' : '/api/v1/metrics/batch', API_KEY, text)
  const bodyStart = bytes.length - text.length + (alone ? 0 : '{"metrics":['.length)
  return { bytes, stamps: Uint32Array.from(stamps, (stamp) => bodyStart + stamp) }
}

/** About 170 bytes; the milliseconds of its timestamp are its own. */
function itemText(series: number, metrics: number, random: () => number): { text: string; stamp: number } {
  const metric = series % metrics
  const type = TYPES[metric % TYPES.length]!
  const value =
    type === 'distribution'
      ? latency(random)
      : type === 'gauge'
        ? Math.round(random() * 10_000) / 100
        : 1 + Math.floor(random() * 50)
  const head = `{"name":"${NAMES[metric]!}","type":"${type}","value":${value},"timestamp":"`
  const millis = String(Math.floor(random() * 1_000)).padStart(3, '0')
  const member = Math.floor(series / metrics)
  const tags = `{"endpoint":"/api/v1/r${member % 50}","region":"${REGIONS[member % 3]!}","host":"web-${String(Math.floor(member / 50)).padStart(4, '0')}"}`
  return { text: `${head}2026-01-01T00:00:00.${millis}Z","tags":${tags}}`, stamp: head.length }
}
