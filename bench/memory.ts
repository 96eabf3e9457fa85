import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createFleet, type Fleet } from './fleet.ts'
import { Connection, get, getBytes } from './load.ts'
import type { Options } from './options.ts'
import type { Report } from './report.ts'
import { API_KEY, pause, type ServerProcess, startGateway } from './server-process.ts'
import { onStore, openStore, type StoreKind } from './store.ts'

/**
 * Memory of a gateway with default settings under a steady load: a fleet sends points at a fixed rate while dashboards
 * query the last hour. Measures the resident memory of the process, which is what an operator pays for.
 */
const METRICS = 20
const SERIES_PER_METRIC = 2_000
const BATCH = 500
const POINTS_PER_SECOND = 9_000
const CONNECTIONS = 2
const QUERIES_PER_SECOND = 5
const LOAD_MS = 360_000
const LOAD_MS_QUICK = 30_000
const SAMPLE_MS = 30_000
const SAMPLE_MS_QUICK = 10_000
const RSS_MB_BUDGET = 400
const MB = 1e6

export async function measureMemory(
  report: Report,
  options: Options,
  kind: StoreKind,
  profileDir: string | undefined,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-memory-'))
  const store = await openStore(kind, folder)
  const section = `memory${onStore(kind)}: ${POINTS_PER_SECOND.toLocaleString('en-US')} points/s on ${METRICS} metrics × ${SERIES_PER_METRIC.toLocaleString('en-US')} series, ${QUERIES_PER_SECOND} queries/s`
  const gateway = await startGateway({ entry: options.entry, store, profileDir })
  try {
    const fleet = createFleet({ series: METRICS * SERIES_PER_METRIC, metrics: METRICS, batch: BATCH, clock: 'now' })
    const loadMs = options.quick ? LOAD_MS_QUICK : LOAD_MS
    const untilMs = performance.now() + loadMs
    const load = new Load(gateway, fleet, untilMs)
    const running = load.run()
    const sampleMs = options.quick ? SAMPLE_MS_QUICK : SAMPLE_MS
    let maximum = 0
    for (let atMs = sampleMs; atMs <= loadMs; atMs += sampleMs) {
      await Promise.race([running, pause(Math.max(0, untilMs - loadMs + atMs - performance.now()))])
      const memory = await readMemory(gateway)
      maximum = Math.max(maximum, memory.rssMb)
      report.add({
        section,
        name: `after ${atMs / 1_000} s`,
        measured: memory.rssMb,
        unit: 'MB RSS',
        note: `${describe(memory)}; ${load.describe()}`,
      })
    }
    await running
    report.add({ section, name: 'maximum', measured: maximum, unit: 'MB RSS', budget: RSS_MB_BUDGET })
  } finally {
    await gateway.stop()
    await store.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

interface Memory {
  readonly rssMb: number
  /** The part of RSS that is mapped files, including the embedded store; the system can reclaim it. */
  readonly filesMb: number
  readonly heapMb: number
  readonly externalMb: number
  readonly cacheMb: number
}

async function readMemory(gateway: ServerProcess): Promise<Memory> {
  const status = readFileSync(`/proc/${gateway.pid}/status`, 'latin1')
  const statusMb = (name: string): number =>
    (Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)![1]) * 1024) / MB
  const { body } = await get(gateway.port, API_KEY, '/metrics')
  const gaugeMb = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(body)![1]) / MB
  return {
    rssMb: statusMb('VmRSS'),
    filesMb: statusMb('RssFile'),
    heapMb: gaugeMb('nodejs_heap_size_used_bytes'),
    externalMb: gaugeMb('nodejs_external_memory_bytes'),
    cacheMb: gaugeMb('gaugeql_block_cache_bytes'),
  }
}

function describe({ filesMb, heapMb, externalMb, cacheMb }: Memory): string {
  return `${filesMb.toFixed(0)} of files; heap ${heapMb.toFixed(0)}, external ${externalMb.toFixed(0)}, block cache ${cacheMb.toFixed(0)} MB`
}

/** Sends at a fixed rate, and catches up after a slow response. */
class Load {
  readonly #gateway: ServerProcess
  readonly #fleet: Fleet
  readonly #startMs = performance.now()
  readonly #untilMs: number
  #points = 0
  #queries = 0
  #queryMs = 0

  constructor(gateway: ServerProcess, fleet: Fleet, untilMs: number) {
    this.#gateway = gateway
    this.#fleet = fleet
    this.#untilMs = untilMs
  }

  async run(): Promise<void> {
    const writers = Array.from({ length: CONNECTIONS }, () =>
      this.#repeat(
        POINTS_PER_SECOND / BATCH / CONNECTIONS,
        () => this.#fleet.next(),
        () => {
          this.#points += BATCH
        },
      ),
    )
    const reader = this.#repeat(
      QUERIES_PER_SECOND,
      () => getBytes(this.#nextQuery(), API_KEY),
      (tookMs) => {
        this.#queryMs += tookMs
      },
    )
    await Promise.all([...writers, reader])
  }

  describe(): string {
    const seconds = (performance.now() - this.#startMs) / 1_000
    return `${Math.round(this.#points / seconds).toLocaleString('en-US')} points/s, ${this.#queries} queries of ${(this.#queryMs / this.#queries).toFixed(0)} ms`
  }

  async #repeat(perSecond: number, next: () => Uint8Array, onResponse: (tookMs: number) => void): Promise<void> {
    const connection = await Connection.open(this.#gateway.port)
    for (let sent = 0; ; sent++) {
      const waitMs = this.#startMs + (sent * 1_000) / perSecond - performance.now()
      if (waitMs > 0) await pause(waitMs)
      const nowMs = performance.now()
      if (nowMs >= this.#untilMs) break
      const { status, body } = await connection.request(next())
      // A metric does not exist before its first points.
      if (status >= 400 && status !== 404) throw new Error(`unexpected response ${status}: ${body.slice(0, 500)}`)
      onResponse(performance.now() - nowMs)
    }
    connection.close()
  }

  /** The metrics in turn: p95 of distributions, sums of the others, by endpoint. */
  #nextQuery(): string {
    const metrics = this.#fleet.metricNames()
    const index = this.#queries++ % metrics.length
    const nowMs = Date.now()
    const range = `from=${nowMs - 3_600_000}&to=${nowMs}&interval=1m`
    const aggregation = this.#fleet.typeOf(index) === 'distribution' ? 'p95' : 'sum'
    return `/api/v1/metrics/${metrics[index]!}/query?${range}&aggregation=${aggregation}&group_by=tags.endpoint`
  }
}
