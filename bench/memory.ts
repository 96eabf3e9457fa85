import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import { createFleet, type Fleet } from './fleet.ts'
import { Connection, get, getBytes } from './load.ts'
import { DelayMeter } from './machine-delay.ts'
import type { Options } from './options.ts'
import type { Report } from './report.ts'
import { API_KEY, pause, type ServerProcess, startFloor, startGateway } from './server-process.ts'
import { onStore, openStore, type StoreKind } from './store.ts'

/**
 * Memory of a gateway with default settings under a steady load: a fleet sends points at a fixed rate while dashboards
 * query the last hour. Measures the resident memory of the process, which is what an operator pays for, and how long
 * batches wait for their response. What the machine itself adds to that is shown by how late an idle thread wakes, by
 * how long a small synced write takes, and by the same batches to a server that only parses and syncs them.
 */
interface Scenario {
  readonly name: string
  readonly seriesPerMetric: number
  /** `half the peak`: half the rate at which the gateway takes points when they are sent as fast as it responds. */
  readonly pointsPerSecond: number | 'half the peak'
  readonly minutes: number
}

const SCENARIOS: readonly Scenario[] = [
  { name: 'many series', seriesPerMetric: 2_000, pointsPerSecond: 9_000, minutes: 6 },
  { name: 'half the peak rate', seriesPerMetric: 100, pointsPerSecond: 'half the peak', minutes: 30 },
]

const METRICS = 20
const BATCH = 500
const CONNECTIONS = 2
const QUERIES_PER_SECOND = 5
const LOAD_MS_QUICK = 30_000
const SAMPLE_MS = 30_000
const SAMPLE_MS_QUICK = 10_000
/** Memory and latencies are compared with the goals after this time, when caches are full and code is compiled. */
const WARM_UP_MS = 300_000
const PEAK_MS = 20_000
const PEAK_MS_QUICK = 3_000
const FLOOR_MS = 60_000
const FLOOR_MS_QUICK = 3_000
const RSS_MB_BUDGET = 400
/** The greatest resident memory after the warm-up, relative to that at its end. */
const GROWTH_BUDGET = 1.1
const P99_MS_BUDGET = 25
const STALL_MS_BUDGET = 100
const CLIENT_DELAY_RESOLUTION_MS = 5
const MB = 1e6

export async function measureMemory(
  report: Report,
  options: Options,
  kind: StoreKind,
  profileDir: string | undefined,
): Promise<void> {
  for (const scenario of SCENARIOS)
    if (scenario.name.includes(options.filter)) await measureScenario(report, options, kind, profileDir, scenario)
}

async function measureScenario(
  report: Report,
  options: Options,
  kind: StoreKind,
  profileDir: string | undefined,
  { name, seriesPerMetric, pointsPerSecond, minutes }: Scenario,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-memory-'))
  const store = await openStore(kind, folder)
  const gateway = await startGateway({ entry: options.entry, store, profileDir: profileDir && join(profileDir, name) })
  const machine = new MachineDelays(folder)
  // A response is read late if the thread of this client is busy. The intervals include the resolution.
  const clientDelay = monitorEventLoopDelay({ resolution: CLIENT_DELAY_RESOLUTION_MS })
  clientDelay.enable()
  try {
    const fleet = createFleet({ series: METRICS * seriesPerMetric, metrics: METRICS, batch: BATCH, clock: 'now' })
    const rate =
      pointsPerSecond === 'half the peak'
        ? (await peakRate(gateway, fleet, options.quick ? PEAK_MS_QUICK : PEAK_MS)) / 2
        : pointsPerSecond
    const section = `memory${onStore(kind)}, ${name}: ${Math.round(rate).toLocaleString('en-US')} points/s on ${METRICS} metrics × ${seriesPerMetric.toLocaleString('en-US')} series, ${QUERIES_PER_SECOND} queries/s`
    const loadMs = options.quick ? LOAD_MS_QUICK : minutes * 60_000
    const sampleMs = options.quick ? SAMPLE_MS_QUICK : SAMPLE_MS
    const warmUpMs = options.quick ? sampleMs : WARM_UP_MS
    const untilMs = performance.now() + loadMs
    const load = new Load(gateway, fleet, rate, QUERIES_PER_SECOND, untilMs)
    const running = load.run()
    let warmMb = 0
    let maximumMb = 0
    for (let atMs = sampleMs; atMs <= loadMs; atMs += sampleMs) {
      await Promise.race([running, pause(Math.max(0, untilMs - loadMs + atMs - performance.now()))])
      const memory = await readMemory(gateway)
      const journalMb = kind === 'embedded' ? journalBytesOf(folder) / MB : 0
      report.add({
        section,
        name: `after ${atMs / 1_000} s`,
        measured: memory.rssMb,
        unit: 'MB RSS',
        note: `${describe(memory)}, journal ${journalMb.toFixed(0)} MB; ${load.describe()}, ${machine.describe()}`,
      })
      if (atMs <= warmUpMs) warmMb = memory.rssMb
      if (atMs === warmUpMs) {
        load.batchLatencies.reset()
        machine.reset()
        clientDelay.reset()
      }
      maximumMb = Math.max(maximumMb, memory.rssMb)
    }
    await running
    report.add({ section, name: 'maximum', measured: maximumMb, unit: 'MB RSS', budget: RSS_MB_BUDGET })
    report.add({
      section,
      name: 'maximum, relative to the end of the warm-up',
      measured: maximumMb,
      unit: 'MB RSS',
      floor: warmMb,
      budget: GROWTH_BUDGET,
    })
    const { batchLatencies } = load
    const p99Ms = batchLatencies.percentile(99) / 1_000
    report.add({ section, name: 'batches, p99', measured: p99Ms, unit: 'ms', budget: P99_MS_BUDGET })
    report.add({
      section,
      name: 'batches, longest',
      measured: batchLatencies.max / 1_000,
      unit: 'ms',
      budget: STALL_MS_BUDGET,
      note: `the client's thread was busy for up to ${(clientDelay.max / 1e6 - CLIENT_DELAY_RESOLUTION_MS).toFixed(0)} ms, ${machine.describe()}`,
    })
    await gateway.stop()
    await measureFloor(report, section, fleet, rate, join(folder, 'floor'), options.quick)
  } finally {
    await machine.stop()
    await gateway.stop()
    await store.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Sends the same batches, without queries, to a server that parses each and syncs a part of it to disk. */
async function measureFloor(
  report: Report,
  section: string,
  fleet: Fleet,
  pointsPerSecond: number,
  path: string,
  isQuick: boolean,
): Promise<void> {
  const server = await startFloor('sync', path)
  try {
    const untilMs = performance.now() + (isQuick ? FLOOR_MS_QUICK : FLOOR_MS)
    const load = new Load(server, fleet, pointsPerSecond, 0, untilMs)
    await load.run()
    const note = 'a server that parses each batch and syncs a fifth of it to disk; no queries'
    const p99Ms = load.batchLatencies.percentile(99) / 1_000
    report.add({ section, name: 'floor: batches, p99', measured: p99Ms, unit: 'ms', note })
    report.add({ section, name: 'floor: batches, longest', measured: load.batchLatencies.max / 1_000, unit: 'ms' })
  } finally {
    await server.stop()
  }
}

/** Points per second when they are sent as fast as the gateway responds. */
async function peakRate(gateway: ServerProcess, fleet: Fleet, loadMs: number): Promise<number> {
  const startMs = performance.now()
  const load = new Load(gateway, fleet, Number.POSITIVE_INFINITY, QUERIES_PER_SECOND, startMs + loadMs)
  await load.run()
  return load.pointCount / ((performance.now() - startMs) / 1_000)
}

/** How long the machine itself lets any thread, and any synced write, wait. */
class MachineDelays {
  readonly #wake = new DelayMeter({ kind: 'wake' })
  readonly #sync: DelayMeter

  constructor(folder: string) {
    this.#sync = new DelayMeter({ kind: 'sync', path: join(folder, 'synced') })
  }

  describe(): string {
    return `an idle thread woke up to ${this.#wake.maximumMs().toFixed(0)} ms late, a synced write of 4 KB took up to ${this.#sync.maximumMs().toFixed(0)} ms`
  }

  reset(): void {
    this.#wake.reset()
    this.#sync.reset()
  }

  async stop(): Promise<void> {
    await Promise.all([this.#wake.stop(), this.#sync.stop()])
  }
}

/** The size of the journal of the embedded store. */
function journalBytesOf(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.includes('journal'))
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0)
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
  readonly #pointsPerSecond: number
  readonly #queriesPerSecond: number
  readonly #startMs = performance.now()
  readonly #untilMs: number
  pointCount = 0
  #queries = 0
  #queryMs = 0
  /** In microseconds. A histogram, because sorting many latencies would hold up the connections. */
  readonly batchLatencies = createHistogram()

  constructor(
    gateway: ServerProcess,
    fleet: Fleet,
    pointsPerSecond: number,
    queriesPerSecond: number,
    untilMs: number,
  ) {
    this.#gateway = gateway
    this.#fleet = fleet
    this.#pointsPerSecond = pointsPerSecond
    this.#queriesPerSecond = queriesPerSecond
    this.#untilMs = untilMs
  }

  async run(): Promise<void> {
    const connections = Array.from({ length: CONNECTIONS }, () =>
      this.#repeat(
        this.#pointsPerSecond / BATCH / CONNECTIONS,
        () => this.#fleet.next(),
        (tookMs) => {
          this.pointCount += BATCH
          this.batchLatencies.record(Math.ceil(tookMs * 1_000))
        },
      ),
    )
    if (this.#queriesPerSecond > 0)
      connections.push(
        this.#repeat(
          this.#queriesPerSecond,
          () => getBytes(this.#nextQuery(), API_KEY),
          (tookMs) => {
            this.#queryMs += tookMs
          },
        ),
      )
    await Promise.all(connections)
  }

  describe(): string {
    const seconds = (performance.now() - this.#startMs) / 1_000
    const { batchLatencies } = this
    const batches = `batches p99 ${(batchLatencies.percentile(99) / 1_000).toFixed(1)} ms, longest ${(batchLatencies.max / 1_000).toFixed(0)} ms`
    return `${Math.round(this.pointCount / seconds).toLocaleString('en-US')} points/s, ${batches}, ${this.#queries} queries of ${(this.#queryMs / this.#queries).toFixed(0)} ms`
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
