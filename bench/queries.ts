import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Day,
  HOURS,
  LOADING_ENV,
  type Loaded,
  lastDay,
  loadDay,
  readLoaded,
  SERIES,
  sendForAWhile,
  sendOtherMetrics,
} from './day.ts'
import { type Added, type DayQuery, emptyQuery, NOTHING_ADDED, queriesOf } from './day-queries.ts'
import { Connection, get, getBytes } from './load.ts'
import type { Options } from './options.ts'
import { measureRedisMemory } from './redis-memory.ts'
import { median, type Report } from './report.ts'
import { API_KEY, measureIdleShare, pause, type ServerProcess, startGateway, untilIdle } from './server-process.ts'
import { type BenchStore, onStore, openStore, type StoreKind } from './store.ts'

const FILL_MS = 5_000
/** Only inboxes with as many entries as a fold step takes are folded during the measurement. */
const UNFOLDED_ENV = { FOLD_INBOX_AGE_MS: '3600000', FOLD_INBOX_BYTES: '4000000000' }
/** A cache so small that every query reads and decodes its blocks again. */
const UNCACHED_ENV = { BLOCK_CACHE_BYTES: '1' }
const OTHER_METRICS = 100
const START_WORK_MS = 1_500

/** The state of one run of {@link measureQueries}. */
interface QueryRun {
  readonly report: Report
  readonly options: Options
  readonly section: string
  readonly kind: StoreKind
  readonly queries: readonly DayQuery[]
  /** A query without data. */
  readonly empty: string
  /** Starts a gateway; `state` names its profiles. */
  start(state: string, store: BenchStore, env?: Readonly<Record<string, string>>): Promise<ServerProcess>
}

/** Queries over a day of 1,000 series with a point every 15 s. */
export async function measureQueries(
  report: Report,
  options: Options,
  kind: StoreKind,
  profileDir: string | undefined,
): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'bench-queries-'))
  const dataDir = join(options.day ?? scratch, kind)
  const { entry } = options
  const section = `queries${onStore(kind)} over ${HOURS} h of ${SERIES.toLocaleString('en-US')} series, a point every 15 s: CPU ms of a query`
  const opened: BenchStore[] = []
  const open = async (folder: string): Promise<BenchStore> => {
    const store = await openStore(kind, folder)
    opened.push(store)
    return store
  }
  /** A copy of the day's files, made while nobody writes them. */
  const openCopy = (name: string): Promise<BenchStore> => {
    const folder = join(scratch, name)
    cpSync(dataDir, folder, { recursive: true, filter: (path) => !path.endsWith('lock.mdb') })
    return open(folder)
  }
  try {
    const store = await open(dataDir)
    const loaded = readLoaded(dataDir, Date.now()) ?? (await load(report, section, store, dataDir, entry))
    if (kind === 'redis' && 'memory'.includes(options.filter)) await measureRedisMemory(report, store)
    const run: QueryRun = {
      report,
      options,
      section,
      kind,
      queries: queriesOf(loaded.day).filter(({ name }) => name.includes(options.filter)),
      empty: emptyQuery(loaded.day),
      start: (state, on, env = {}) =>
        startGateway({ entry, store: on, env, profileDir: profileDir && join(profileDir, state) }),
    }
    await measureCold(run, store)
    await measureWarm(run, store)
    await store.stop()
    const crowded = await openCopy('other')
    await measureCrowded(run, crowded, loaded.day)
    await crowded.stop()
    await measureFullInbox(run, await openCopy('held'), loaded.day)
  } finally {
    for (const store of opened) await store.stop()
    rmSync(scratch, { recursive: true, force: true })
  }
}

async function load(
  report: Report,
  section: string,
  store: BenchStore,
  dataDir: string,
  entry: string,
): Promise<Loaded> {
  const gateway = await startGateway({ entry, store, env: LOADING_ENV })
  const loaded = await loadDay(gateway, dataDir, lastDay(Date.now()))
  await gateway.stop()
  report.add({
    section,
    name: 'loading the day',
    measured: loaded.cpuUsPerPoint,
    unit: 'µs/point',
    note: `${(loaded.points / 1e6).toFixed(2)} M points, folds included`,
  })
  const bytes = await store.bytes()
  const isRedis = store.kind === 'redis'
  report.add({
    section,
    name: isRedis ? 'memory of the server' : 'data folder',
    measured: bytes / loaded.points,
    unit: 'B/point',
    note: `${(bytes / 1e6).toFixed(0)} MB${isRedis ? '' : ' with free pages'}, all resolutions and the sets`,
  })
  return loaded
}

/** The first query of a new process, for each query. */
async function measureCold({ report, options, section, kind, queries, empty, start }: QueryRun, store: BenchStore) {
  for (const query of queries) {
    const costs: Cost[] = []
    for (let round = 0; round < options.rounds; round++) {
      await using client = await QueryClient.to(await start(`${query.name}, cold`, store), empty)
      costs.push(await client.first(query, NOTHING_ADDED))
    }
    report.add({
      section,
      name: `${query.name}, cold`,
      measured: median(costs.map(({ ms }) => ms)),
      unit: 'ms',
      ...bound(query.coldBudget),
      note: `minimum ${Math.min(...costs.map(({ ms }) => ms)).toFixed(1)}, new process${inRedis(kind, median(costs.map(({ storeMs }) => storeMs)))}`,
    })
  }
}

/** The same query again and again, with and without the cache of blocks. */
async function measureWarm(run: QueryRun, store: BenchStore): Promise<void> {
  const { queries, empty, start } = run
  for (const query of queries) {
    const client = await QueryClient.to(await start(`${query.name}, repeated`, store), empty)
    await queryRepeatedly(run, '', [query], client, NOTHING_ADDED)
  }
  for (const query of queries) {
    const client = await QueryClient.to(await start(`${query.name}, blocks cold`, store, UNCACHED_ENV), empty)
    await queryRepeatedly(run, ', blocks cold, code warm', [query], client, NOTHING_ADDED, false)
  }
}

async function measureCrowded(run: QueryRun, store: BenchStore, day: Day): Promise<void> {
  const gateway = await run.start('other metrics', store, LOADING_ENV)
  const idleShare = await measureIdleShare(gateway)
  await sendOtherMetrics(gateway, day, OTHER_METRICS)
  await pause(4_000)
  await untilIdle(gateway, idleShare)
  const client = await QueryClient.to(gateway, run.empty)
  await queryOnceAndRepeatedly(run, `, ${OTHER_METRICS} other metrics`, client, NOTHING_ADDED)
}

async function measureFullInbox(run: QueryRun, store: BenchStore, day: Day): Promise<void> {
  const { report, section, empty } = run
  const gateway = await run.start('full inbox', store, { ...LOADING_ENV, ...UNFOLDED_ENV })
  await pause(2_000)
  const { points, sum } = await sendForAWhile(gateway, day, FILL_MS)
  await pause(500)
  const { body } = await get(gateway.port, API_KEY, '/metrics')
  report.add({
    section,
    name: 'inbox entries that are not folded',
    measured: Number(/^gaugeql_fold_backlog_entries (\S+)$/m.exec(body)![1]),
    unit: 'entries',
    note: `${points.toLocaleString('en-US')} points were sent in ${FILL_MS / 1_000} s`,
  })
  const client = await QueryClient.to(gateway, empty)
  await queryOnceAndRepeatedly(run, ', full inbox', client, { sum, observations: points / 2 })
}

async function queryOnceAndRepeatedly(run: QueryRun, suffix: string, client: QueryClient, added: Added): Promise<void> {
  const { report, section, queries, kind } = run
  for (const query of queries) {
    const { ms, storeMs } = await client.first(query, added)
    report.add({
      section,
      name: `${query.name}${suffix}, first run`,
      measured: ms,
      unit: 'ms',
      ...bound(query.coldBudget),
      note: `once${inRedis(kind, storeMs)}`,
    })
  }
  await queryRepeatedly(run, suffix, queries, client, added)
}

async function queryRepeatedly(
  { report, section, options, kind }: QueryRun,
  suffix: string,
  queries: readonly DayQuery[],
  client: QueryClient,
  added: Added,
  isCached = true,
): Promise<void> {
  await using _stopping = client
  // The gateway's own work after its start is not part of a query.
  await pause(START_WORK_MS)
  for (const query of queries) {
    const { ms, storeMs } = await client.repeated(query, added, options.quick ? 10 : 40)
    report.add({
      section,
      name: `${query.name}${suffix}${isCached ? ', repeated' : ''}`,
      measured: ms,
      unit: 'ms',
      ...(isCached ? bound(query.repeatedBudget) : {}),
      ...(kind === 'redis' ? { note: inRedis(kind, storeMs).slice(2) } : {}),
    })
  }
}

interface Cost {
  readonly ms: number
  /** The part that the store's server used. */
  readonly storeMs: number
}

/** Queries a gateway over one connection and measures what a query costs beyond one without data. */
class QueryClient implements AsyncDisposable {
  readonly #server: ServerProcess
  readonly #connection: Connection
  readonly #empty: Uint8Array
  #emptyMs = 0

  static async to(server: ServerProcess, empty: string): Promise<QueryClient> {
    const client = new QueryClient(server, await Connection.open(server.port), getBytes(empty, API_KEY))
    const costs: number[] = []
    for (let i = 0; i < 5; i++) costs.push((await client.#cost(client.#empty)).ms)
    client.#emptyMs = median(costs.slice(2))
    return client
  }

  private constructor(server: ServerProcess, connection: Connection, empty: Uint8Array) {
    this.#server = server
    this.#connection = connection
    this.#empty = empty
  }

  async first({ path, name, check }: DayQuery, added: Added): Promise<Cost> {
    const { ms, storeMs } = await this.#cost(getBytes(path, API_KEY), (body) => verify(name, check, body, added))
    return { ms: Math.max(0, ms - this.#emptyMs), storeMs }
  }

  /** The mean of so many runs, after half as many that do not count. */
  async repeated({ path, name, check }: DayQuery, added: Added, runs: number): Promise<Cost> {
    const bytes = getBytes(path, API_KEY)
    const meanOf = async (request: Uint8Array, count: number): Promise<Cost> => {
      const before = this.#read()
      for (let i = 0; i < count; i++) await this.#connection.request(request)
      await pause(20)
      const { ms, storeMs } = this.#since(before)
      return { ms: ms / count, storeMs: storeMs / count }
    }
    verify(name, check, (await this.#connection.request(bytes)).body, added)
    await meanOf(bytes, Math.ceil(runs / 2))
    await meanOf(this.#empty, runs)
    const empty = await meanOf(this.#empty, runs)
    const { ms, storeMs } = await meanOf(bytes, runs)
    return { ms: Math.max(0, ms - empty.ms), storeMs: Math.max(0, storeMs - empty.storeMs) }
  }

  async #cost(request: Uint8Array, check: (body: string) => void = () => undefined): Promise<Cost> {
    const before = this.#read()
    const { status, body } = await this.#connection.request(request)
    // The garbage of a response is collected after it was sent.
    await pause(30)
    const used = this.#since(before)
    if (status !== 200) throw new Error(`${status}: ${body}`)
    check(body)
    return used
  }

  #read(): Cost {
    return { ms: this.#server.cpu.readMs(), storeMs: this.#server.storeCpu.readMs() }
  }

  #since(before: Cost): Cost {
    const { ms, storeMs } = this.#read()
    return { ms: ms - before.ms, storeMs: storeMs - before.storeMs }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.close()
    await this.#server.stop()
  }
}

function inRedis(kind: StoreKind, ms: number): string {
  return kind === 'redis' ? `, ${ms.toFixed(2)} in Redis` : ''
}

function verify(name: string, check: DayQuery['check'], body: string, added: Added): void {
  try {
    check(body, added)
  } catch (cause) {
    throw new Error(`${name} has a wrong result: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

function bound(budget: number | undefined): { readonly budget?: number } {
  return budget === undefined ? {} : { budget }
}
