import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HOURS, LOADING_ENV, lastDay, loadDay, readLoaded, SERIES, sendForAWhile, sendOtherMetrics } from './day.ts'
import { Connection, getBytes } from './load.ts'
import type { Options } from './options.ts'
import { type Added, emptyQuestion, NOTHING_ADDED, type Question, questionsOf } from './questions.ts'
import { measureRedisMemory } from './redis-memory.ts'
import { median, type Report } from './report.ts'
import { API_KEY, measureIdleShare, pause, type ServerProcess, settled, startGateway } from './server-process.ts'
import { type BenchStore, onStore, openStore, type StoreKind } from './store.ts'

const HOLD_MS = 5_000
/** Long enough that nothing is folded meanwhile. */
const HELD_ENV = { FOLD_INBOX_AGE_MS: '3600000', FOLD_INBOX_BYTES: '4000000000' }
/** So small that every query reads and decodes its blocks again. */
const UNCACHED_ENV = { BLOCK_CACHE_BYTES: '1' }
const OTHER_METRICS = 100
const START_WORK_MS = 1_500

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
  try {
    const store = await open(dataDir)
    let loaded = readLoaded(dataDir, Date.now())
    if (loaded === undefined) {
      const gateway = await startGateway({ entry, store, env: LOADING_ENV })
      loaded = await loadDay(gateway, dataDir, lastDay(Date.now()))
      await gateway.stop()
      report.add({
        section,
        name: 'loading the day',
        measured: loaded.cpuUsPerPoint,
        unit: 'µs/point',
        note: `${(loaded.points / 1e6).toFixed(2)} M points, folds included`,
      })
      const bytes = await store.bytes()
      report.add({
        section,
        name: kind === 'redis' ? 'memory of the server' : 'data folder',
        measured: bytes / loaded.points,
        unit: 'B/point',
        note: `${(bytes / 1e6).toFixed(0)} MB${kind === 'redis' ? '' : ' with free pages'}, all resolutions and the sets`,
      })
    }
    if (kind === 'redis' && 'memory'.includes(options.filter)) await measureRedisMemory(report, store)
    const questions = questionsOf(loaded.day).filter(({ name }) => name.includes(options.filter))
    const empty = emptyQuestion(loaded.day)
    const start = (state: string, on: BenchStore, env: Readonly<Record<string, string>> = {}): Promise<ServerProcess> =>
      startGateway({
        entry,
        store: on,
        env,
        profileDir: profileDir === undefined ? undefined : join(profileDir, state),
      })

    for (const question of questions) {
      const cold: Cost[] = []
      for (let round = 0; round < options.rounds; round++) {
        await using asker = await Asker.to(await start(`${question.name}, cold`, store), empty, kind)
        cold.push(await asker.first(question, NOTHING_ADDED))
      }
      report.add({
        section,
        name: `${question.name}, cold`,
        measured: median(cold.map(({ ms }) => ms)),
        unit: 'ms',
        ...bound(question.coldBudget),
        note: `least ${Math.min(...cold.map(({ ms }) => ms)).toFixed(1)}, fresh process${inRedis(kind, median(cold.map(({ storeMs }) => storeMs)))}`,
      })
    }
    for (const question of questions) {
      const warm = await Asker.to(await start(`${question.name}, repeated`, store), empty, kind)
      await askRepeatedly(report, section, '', [question], options, warm, NOTHING_ADDED)
    }
    for (const question of questions) {
      const uncached = await Asker.to(await start(`${question.name}, blocks cold`, store, UNCACHED_ENV), empty, kind)
      await askRepeatedly(
        report,
        section,
        ', blocks cold, code warm',
        [question],
        options,
        uncached,
        NOTHING_ADDED,
        false,
      )
    }

    await store.stop()
    // Of its files as they lie when nobody writes them.
    const copied = async (name: string): Promise<BenchStore> => {
      const folder = join(scratch, name)
      cpSync(dataDir, folder, { recursive: true, filter: (path) => !path.endsWith('lock.mdb') })
      return open(folder)
    }
    const other = await copied('other')
    const crowded = await start('other metrics', other, LOADING_ENV)
    const idleShare = await measureIdleShare(crowded)
    await sendOtherMetrics(crowded, loaded.day, OTHER_METRICS)
    await pause(4_000)
    await settled(crowded, idleShare)
    await askOnceAndRepeatedly(
      report,
      section,
      `, ${OTHER_METRICS} other metrics`,
      questions,
      options,
      await Asker.to(crowded, empty, kind),
      NOTHING_ADDED,
    )
    await other.stop()

    const held = await start('full inbox', await copied('held'), { ...LOADING_ENV, ...HELD_ENV })
    await pause(2_000)
    const { points, sum } = await sendForAWhile(held, loaded.day, HOLD_MS)
    await pause(500)
    report.add({ section, name: 'points held back from the fold', measured: points, unit: 'points' })
    await askOnceAndRepeatedly(report, section, ', full inbox', questions, options, await Asker.to(held, empty, kind), {
      sum,
      observations: points / 2,
    })
  } finally {
    for (const store of opened) await store.stop()
    rmSync(scratch, { recursive: true, force: true })
  }
}

async function askOnceAndRepeatedly(
  report: Report,
  section: string,
  suffix: string,
  questions: readonly Question[],
  options: Options,
  asker: Asker,
  added: Added,
): Promise<void> {
  for (const question of questions) {
    const { ms, storeMs } = await asker.first(question, added)
    report.add({
      section,
      name: `${question.name}${suffix}, first ask`,
      measured: ms,
      unit: 'ms',
      ...bound(question.coldBudget),
      note: `once${inRedis(asker.store, storeMs)}`,
    })
  }
  await askRepeatedly(report, section, suffix, questions, options, asker, added)
}

async function askRepeatedly(
  report: Report,
  section: string,
  suffix: string,
  questions: readonly Question[],
  options: Options,
  asker: Asker,
  added: Added,
  cached = true,
): Promise<void> {
  await using _stopping = asker
  // What the gateway does once after a start is not the queries'.
  await pause(START_WORK_MS)
  for (const question of questions) {
    const { ms, storeMs } = await asker.repeated(question, added, options.quick ? 10 : 40)
    const budget = cached ? bound(question.repeatedBudget) : {}
    report.add({
      section,
      name: `${question.name}${suffix}${cached ? ', repeated' : ''}`,
      measured: ms,
      unit: 'ms',
      ...budget,
      ...(asker.store === 'redis' ? { note: inRedis(asker.store, storeMs).slice(2) } : {}),
    })
  }
}

interface Cost {
  readonly ms: number
  /** The part of the store's server. */
  readonly storeMs: number
}

/** Asks a gateway over one connection and says what an answer cost beyond that of a query without data. */
class Asker implements AsyncDisposable {
  readonly store: StoreKind
  readonly #server: ServerProcess
  readonly #connection: Connection
  readonly #empty: Uint8Array
  #emptyMs = 0

  static async to(server: ServerProcess, empty: string, store: StoreKind): Promise<Asker> {
    const asker = new Asker(server, await Connection.open(server.port), getBytes(empty, API_KEY), store)
    const costs: number[] = []
    for (let ask = 0; ask < 5; ask++) costs.push((await asker.#cost(asker.#empty)).ms)
    asker.#emptyMs = median(costs.slice(2))
    return asker
  }

  private constructor(server: ServerProcess, connection: Connection, empty: Uint8Array, store: StoreKind) {
    this.#server = server
    this.#connection = connection
    this.#empty = empty
    this.store = store
  }

  async first({ path, name, check }: Question, added: Added): Promise<Cost> {
    const { ms, storeMs } = await this.#cost(getBytes(path, API_KEY), (body) => verify(name, check, body, added))
    return { ms: Math.max(0, ms - this.#emptyMs), storeMs }
  }

  /** The mean of so many asks after twenty that do not count. */
  async repeated({ path, name, check }: Question, added: Added, asks: number): Promise<Cost> {
    const bytes = getBytes(path, API_KEY)
    const meanOf = async (request: Uint8Array, count: number): Promise<Cost> => {
      const before = this.#read()
      for (let i = 0; i < count; i++) await this.#connection.request(request)
      await pause(20)
      const { ms, storeMs } = this.#since(before)
      return { ms: ms / count, storeMs: storeMs / count }
    }
    verify(name, check, (await this.#connection.request(bytes)).body, added)
    await meanOf(bytes, Math.ceil(asks / 2))
    await meanOf(this.#empty, asks)
    const empty = await meanOf(this.#empty, asks)
    const { ms, storeMs } = await meanOf(bytes, asks)
    return { ms: Math.max(0, ms - empty.ms), storeMs: Math.max(0, storeMs - empty.storeMs) }
  }

  async #cost(request: Uint8Array, check: (body: string) => void = () => undefined): Promise<Cost> {
    const before = this.#read()
    const { status, body } = await this.#connection.request(request)
    // The answer is out before its garbage is collected.
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
    const now = this.#read()
    return { ms: now.ms - before.ms, storeMs: now.storeMs - before.storeMs }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.close()
    await this.#server.stop()
  }
}

function inRedis(kind: StoreKind, ms: number): string {
  return kind === 'redis' ? `, ${ms.toFixed(2)} in Redis` : ''
}

function verify(name: string, check: Question['check'], body: string, added: Added): void {
  try {
    check(body, added)
  } catch (cause) {
    throw new Error(`${name} is answered wrongly: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

function bound(budget: number | undefined): { readonly budget?: number } {
  return budget === undefined ? {} : { budget }
}
