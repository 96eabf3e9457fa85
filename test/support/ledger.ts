import { partitionOf } from '../../src/model/metric.ts'
import { encodeOtlp, requestOf } from './otlp-request.ts'
import { COUNTER, snappyLiterals, writeRequestV2 } from './remote-write.ts'

/**
 * Load of which is known afterwards what became of every request. Each request is a batch under a tag of its own and
 * says the same of several metrics of every kind and has events; what was answered is written down, and what the
 * gateway counts is held against it: an acknowledged batch is there once and whole, one that was refused is not, and of
 * one whose outcome nobody knows each metric is there once or not at all. With an idempotency key a batch is sent until
 * it is acknowledged, and then there once.
 *
 * Counters can also be sent as deltas by OTLP and as running totals by remote write. Such a batch needs no key: it is
 * sent again as it is, and is there once.
 */

export const LEDGER_KEY = 'ledger-key-0123456789'
export const LEDGER_ENV = {
  PORT: '0',
  API_KEYS: `${LEDGER_KEY}:ledger:ingest+query`,
  RATE_LIMITS: 'off',
  QUERY_VALUES_MAX: '10000000',
} as const

const PROJECT = 'ledger'
const DAY = '2024-01-15'
/** Points of each metric, and events of each name, in a batch. */
const POINTS = 3
const REQUEST_MS_MAX = 20_000

export type Outcome = 'acknowledged' | 'refused' | 'unknown'

/** How a batch is sent. The last two send the counters alone. */
export const DOORS = ['flux', 'otlp', 'write'] as const
export type Door = (typeof DOORS)[number]

export interface SendOptions {
  /** Which of the metrics; all by default. */
  readonly names?: readonly string[]
  readonly door?: Door
  readonly key?: string
  /** The batch, when it is sent once more. */
  readonly batch?: string
}

interface Batch {
  readonly names: readonly string[]
  readonly door: Door
  outcome: Outcome
}

/** One disagreement between what was answered and what is counted. */
export type Fault = `${'lost' | 'doubled or cut' | 'invented'}: ${string}`

export class Ledger {
  /** When its events happened. */
  readonly #timestamp = new Date().toISOString()
  readonly #batches = new Map<string, Batch>()
  readonly #names: readonly string[]
  #drawn = 0
  #last: { readonly status: number; readonly body: string } | undefined

  /** With metrics of these names. */
  constructor(names: readonly string[]) {
    this.#names = names
  }

  /** Names whose metrics lie in a partition. */
  static namesIn(partition: number, partitions: number, number: number): string[] {
    const names: string[] = []
    for (let i = 0; names.length < number; i++) {
      const all = [...KINDS.map(({ suffix }) => suffix), 'done']
      const isAll = all.every((suffix) => partitionOf(PROJECT, `m${i}.${suffix}`, partitions) === partition)
      if (isAll) names.push(`m${i}`)
    }
    return names
  }

  /** A batch that was not sent before. */
  newBatch(): string {
    return `b${this.#drawn++}`
  }

  count(outcome: Outcome): number {
    return [...this.#batches.values()].filter((batch) => batch.outcome === outcome).length
  }

  /** Status and body of the answer that came last. */
  get last(): { readonly status: number; readonly body: string } | undefined {
    return this.#last
  }

  async send(url: string, options: SendOptions = {}) {
    const { names = this.#names, door = 'flux', key, batch = this.newBatch() } = options
    const earlier = this.#batches.get(batch)
    // Until it is answered nobody knows.
    this.#batches.set(batch, { names, door, outcome: 'unknown' })
    const outcome = await this.#request(url, names, door, batch, key)
    // What is refused now may be there from the time before.
    if (earlier === undefined || outcome === 'acknowledged') this.#batches.set(batch, { names, door, outcome })
    return outcome
  }

  /**
   * Sends a batch until it is acknowledged, to any of the gateways in turn. Through the door of Flux it needs an
   * idempotency key.
   */
  async insist(urls: () => readonly string[], key: string | undefined, options: SendOptions = {}): Promise<void> {
    const batch = options.batch ?? this.newBatch()
    for (let attempt = 0; ; attempt++) {
      const all = urls()
      const url = all[attempt % all.length]!
      const outcome = await this.send(url, { ...options, ...(key !== undefined && { key }), batch })
      if (outcome === 'acknowledged') return
      if (attempt > 600) throw new Error(`${batch} is not acknowledged: ${this.#last?.status} ${this.#last?.body}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** What a gateway counts otherwise than was answered, of all batches or of one, sorted; empty when all is well. */
  async faults(url: string, only?: string): Promise<readonly Fault[]> {
    const faults: Fault[] = []
    await Promise.all(
      this.#names.flatMap((name) => [
        ...KINDS.flatMap(({ suffix, counted }) =>
          counted.map(async ([aggregation, expected]) => {
            const metric = `${name}.${suffix}`
            const found = await countsOf(url, metric, aggregation, only)
            faults.push(...this.#compare(name, suffix, `${metric} ${aggregation}`, found, expected, only))
          }),
        ),
        eventsOf(url, `${name}.done`, this.#timestamp, only).then((found) => {
          faults.push(...this.#compare(name, 'done', `${name}.done`, found, POINTS, only))
        }),
      ]),
    )
    return faults.sort()
  }

  #compare(
    name: string,
    suffix: string,
    what: string,
    found: ReadonlyMap<string, number>,
    expected: number,
    only: string | undefined,
  ): Fault[] {
    const faults: Fault[] = []
    for (const [batch, { names, door, outcome }] of this.#batches) {
      if (only !== undefined && batch !== only) continue
      const count = found.get(batch)
      const is = `${what} of ${batch}, ${outcome}, is ${count}` as const
      const isExpected = names.includes(name) && (door === 'flux' || suffix === 'hits')
      if (count === undefined && outcome === 'acknowledged' && isExpected) faults.push(`lost: ${is}`)
      else if (count !== undefined && (outcome === 'refused' || !isExpected)) faults.push(`invented: ${is}`)
      else if (count !== undefined && count !== expected) faults.push(`doubled or cut: ${is}`)
    }
    for (const batch of found.keys()) if (!this.#batches.has(batch)) faults.push(`invented: ${what} of ${batch}`)
    return faults
  }

  async #request(
    url: string,
    names: readonly string[],
    door: Door,
    batch: string,
    key: string | undefined,
  ): Promise<Outcome> {
    const { path, headers, body, status } = requestThrough(door, names, batch, this.#timestamp)
    try {
      const response = await fetch(`${url}${path}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${LEDGER_KEY}`,
          ...headers,
          ...(key === undefined ? {} : { 'idempotency-key': key }),
        },
        body,
        signal: AbortSignal.timeout(REQUEST_MS_MAX),
      })
      const text = await response.text()
      this.#last = { status: response.status, body: text }
      if (response.status === status) {
        if (!isWhole(door, names, text)) throw new Error(`accepted otherwise: ${text}`)
        return 'acknowledged'
      }
      // OTLP and remote write have no word for an outcome that nobody knows: their clients send again.
      if (door !== 'flux' && response.status < 500) throw new Error(`refused for good: ${response.status} ${text}`)
      return door !== 'flux' || text.includes('"unknown"') ? 'unknown' : 'refused'
    } catch (error) {
      // The connection was cut: `fetch failed` or a body that ends early.
      if (error instanceof TypeError || (error instanceof DOMException && error.name === 'TimeoutError'))
        return 'unknown'
      throw error
    }
  }
}

interface DoorRequest {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array<ArrayBuffer>
  /** Of a request that is stored. */
  readonly status: number
}

function requestThrough(door: Door, names: readonly string[], batch: string, timestamp: string): DoorRequest {
  if (door === 'otlp') {
    const headers = { 'content-type': 'application/x-protobuf' }
    return { path: '/v1/metrics', headers, body: deltasOf(names, batch), status: 200 }
  }
  if (door === 'write') {
    const type = 'application/x-protobuf;proto=io.prometheus.write.v2.Request'
    const headers = { 'content-type': type, 'content-encoding': 'snappy' }
    return { path: '/api/v1/write', headers, body: totalsOf(names, batch), status: 204 }
  }
  const body = JSON.stringify({
    metrics: names.flatMap((name) => itemsOf(name, batch)),
    events: names.flatMap((name) =>
      Array.from({ length: POINTS }, (_, value) => ({ name: `${name}.done`, value, timestamp, tags: { batch } })),
    ),
  })
  return { path: '/api/v1/flux/batch', headers: { 'content-type': 'application/json' }, body, status: 201 }
}

function isWhole(door: Door, names: readonly string[], response: string): boolean {
  if (door !== 'flux') return response === ''
  const { data } = JSON.parse(response) as { data: Record<'events' | 'metrics', { accepted: number }> }
  const { events, metrics } = data
  return metrics.accepted === names.length * KINDS.length * POINTS && events.accepted === names.length * POINTS
}

const timeOfPoint = (i: number): number => Date.parse(`${DAY}T10:${String(i * 7).padStart(2, '0')}:00Z`)

/** The counters of a batch, as deltas of 1. */
function deltasOf(names: readonly string[], batch: string): Uint8Array<ArrayBuffer> {
  const metrics = names.map((name) => ({
    name: `${name}.hits`,
    sum: {
      aggregationTemporality: 1,
      isMonotonic: true,
      dataPoints: Array.from({ length: POINTS }, (_, i) => ({
        ...{ startTimeUnixNano: `${timeOfPoint(i) - 60_000}000000`, timeUnixNano: `${timeOfPoint(i)}000000`, asInt: 1 },
        attributes: [{ key: 'batch', value: { stringValue: batch } }],
      })),
    },
  }))
  return Uint8Array.from(encodeOtlp(requestOf(...metrics)))
}

/** The counters of a batch, as running totals of a series that was created a minute before. */
function totalsOf(names: readonly string[], batch: string): Uint8Array<ArrayBuffer> {
  const series = names.map((name) => ({
    labels: { __name__: `${name}.hits`, batch },
    samples: Array.from({ length: POINTS }, (_, i) => [i + 1, timeOfPoint(i)] as const),
    type: COUNTER,
    createdMs: timeOfPoint(0) - 60_000,
  }))
  return Uint8Array.from(snappyLiterals(writeRequestV2(series)))
}

interface Kind {
  readonly suffix: string
  readonly type: 'counter' | 'distribution' | 'set'
  pointOf(i: number, batch: string): number | string
  /** What is asked of a batch, and the answer. */
  readonly counted: readonly (readonly [aggregation: string, expected: number])[]
}

const KINDS: readonly Kind[] = [
  { suffix: 'hits', type: 'counter', pointOf: () => 1, counted: [['sum', POINTS]] },
  {
    suffix: 'ms',
    type: 'distribution',
    pointOf: (i) => i + 1,
    counted: [
      ['count', POINTS],
      ['sum', (POINTS * (POINTS + 1)) / 2],
    ],
  },
  { suffix: 'users', type: 'set', pointOf: (i, batch) => `${batch}-${i}`, counted: [['count', POINTS]] },
]

function itemsOf(name: string, batch: string): object[] {
  return KINDS.flatMap(({ suffix, type, pointOf }) =>
    Array.from({ length: POINTS }, (_, i) => ({
      name: `${name}.${suffix}`,
      type,
      value: pointOf(i, batch),
      timestamp: `${DAY}T10:${String(i * 7).padStart(2, '0')}:00Z`,
      tags: { batch },
    })),
  )
}

/** One number for each batch of which there is anything. */
async function countsOf(url: string, metric: string, aggregation: string, only?: string): Promise<Map<string, number>> {
  const query = `aggregation=${aggregation}&from=${DAY}T00:00:00Z&to=${DAY}T23:00:00Z&interval=1d&group_by=tags.batch${only === undefined ? '' : `&tags[batch]=${only}`}`
  const response = await fetch(`${url}/api/v1/metrics/${metric}/query?${query}`, {
    headers: { authorization: `Bearer ${LEDGER_KEY}` },
  })
  if (response.status === 404) return new Map()
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${metric}: ${response.status} ${text}`)
  const { data } = JSON.parse(text) as { data: { groups: Record<string, [{ value: number }]> } }
  return new Map(Object.entries(data.groups).map(([batch, [row]]) => [batch, row.value]))
}

/** How many events of a name there are of each batch, page by page. */
async function eventsOf(url: string, name: string, timestamp: string, only?: string): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for (let after = ''; ; ) {
    const query = `name=${name}&from=${timestamp}&to=${timestamp}&limit=1000${after === '' ? '' : `&after=${after}`}${only === undefined ? '' : `&tags[batch]=${only}`}`
    const response = await fetch(`${url}/api/v1/events?${query}`, {
      headers: { authorization: `Bearer ${LEDGER_KEY}` },
    })
    const text = await response.text()
    if (response.status !== 200) throw new Error(`${name}: ${response.status} ${text}`)
    const { data, next } = JSON.parse(text) as { data: { tags: { batch: string } }[]; next?: string }
    for (const { tags } of data) found.set(tags.batch, (found.get(tags.batch) ?? 0) + 1)
    if (next === undefined) return found
    after = next
  }
}
