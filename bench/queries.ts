import { cpSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HOURS, LOADING_ENV, lastDay, loadDay, readLoaded, SERIES, sendForAWhile, sendOtherMetrics } from './day.ts'
import { Connection, getBytes } from './load.ts'
import type { Options } from './options.ts'
import { type Added, emptyQuestion, NOTHING_ADDED, type Question, questionsOf } from './questions.ts'
import { median, type Report } from './report.ts'
import { API_KEY, measureIdleShare, pause, type ServerProcess, settled, startGateway } from './server-process.ts'

const HOLD_MS = 5_000
/** Long enough that nothing is folded meanwhile. */
const HELD_ENV = { FOLD_INBOX_AGE_MS: '3600000', FOLD_INBOX_BYTES: '4000000000' }
/** So small that every query reads and decodes its blocks again. */
const UNCACHED_ENV = { BLOCK_CACHE_BYTES: '1' }
const OTHER_METRICS = 100
const START_WORK_MS = 1_500

/** Queries over a day of 1,000 series with a point every 15 s. */
export async function measureQueries(report: Report, options: Options, profileDir: string | undefined): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'bench-queries-'))
  const dataDir = options.day ?? join(scratch, 'data')
  const { entry } = options
  const section = `queries over ${HOURS} h of ${SERIES.toLocaleString('en-US')} series, a point every 15 s: CPU ms of a query`
  try {
    let loaded = readLoaded(dataDir, Date.now())
    if (loaded === undefined) {
      const gateway = await startGateway({ entry, dataDir, env: LOADING_ENV })
      loaded = await loadDay(gateway, dataDir, lastDay(Date.now()))
      await gateway.stop()
      report.add({
        section,
        name: 'loading the day',
        measured: loaded.cpuUsPerPoint,
        unit: 'µs/point',
        note: `${(loaded.points / 1e6).toFixed(2)} M points, folds included`,
      })
      const bytes = folderBytes(dataDir)
      report.add({
        section,
        name: 'data folder',
        measured: bytes / loaded.points,
        unit: 'B/point',
        note: `${(bytes / 1e6).toFixed(0)} MB with free pages, all resolutions and the sets`,
      })
    }
    const questions = questionsOf(loaded.day).filter(({ name }) => name.includes(options.filter))
    const empty = emptyQuestion(loaded.day)
    const start = (state: string, folder: string, env: Readonly<Record<string, string>> = {}): Promise<ServerProcess> =>
      startGateway({
        entry,
        dataDir: folder,
        env,
        profileDir: profileDir === undefined ? undefined : join(profileDir, state),
      })

    for (const question of questions) {
      const cold: number[] = []
      for (let round = 0; round < options.rounds; round++) {
        await using asker = await Asker.to(await start(`${question.name}, cold`, dataDir), empty)
        cold.push(await asker.first(question, NOTHING_ADDED))
      }
      report.add({
        section,
        name: `${question.name}, cold`,
        measured: median(cold),
        unit: 'ms',
        ...bound(question.coldBudget),
        note: `least ${Math.min(...cold).toFixed(1)}, fresh process`,
      })
    }
    for (const question of questions) {
      const warm = await Asker.to(await start(`${question.name}, repeated`, dataDir), empty)
      await askRepeatedly(report, section, '', [question], options, warm, NOTHING_ADDED)
    }
    for (const question of questions) {
      const uncached = await Asker.to(await start(`${question.name}, blocks cold`, dataDir, UNCACHED_ENV), empty)
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

    const otherDir = join(scratch, 'other')
    cpSync(dataDir, otherDir, { recursive: true, filter: (path) => !path.endsWith('lock.mdb') })
    const crowded = await start('other metrics', otherDir, LOADING_ENV)
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
      await Asker.to(crowded, empty),
      NOTHING_ADDED,
    )
    rmSync(otherDir, { recursive: true, force: true })

    const heldDir = join(scratch, 'held')
    cpSync(dataDir, heldDir, { recursive: true, filter: (path) => !path.endsWith('lock.mdb') })
    const held = await start('full inbox', heldDir, { ...LOADING_ENV, ...HELD_ENV })
    await pause(2_000)
    const { points, sum } = await sendForAWhile(held, loaded.day, HOLD_MS)
    await pause(500)
    report.add({ section, name: 'points held back from the fold', measured: points, unit: 'points' })
    await askOnceAndRepeatedly(report, section, ', full inbox', questions, options, await Asker.to(held, empty), {
      sum,
      observations: points / 2,
    })
  } finally {
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
    const ms = await asker.first(question, added)
    report.add({
      section,
      name: `${question.name}${suffix}, first ask`,
      measured: ms,
      unit: 'ms',
      ...bound(question.coldBudget),
      note: 'once',
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
    const ms = await asker.repeated(question, added, options.quick ? 10 : 40)
    const budget = cached ? bound(question.repeatedBudget) : {}
    report.add({
      section,
      name: `${question.name}${suffix}${cached ? ', repeated' : ''}`,
      measured: ms,
      unit: 'ms',
      ...budget,
    })
  }
}

/** Asks a gateway over one connection and says what an answer cost beyond that of a query without data. */
class Asker implements AsyncDisposable {
  readonly #server: ServerProcess
  readonly #connection: Connection
  readonly #empty: Uint8Array
  #emptyMs = 0

  static async to(server: ServerProcess, empty: string): Promise<Asker> {
    const asker = new Asker(server, await Connection.open(server.port), getBytes(empty, API_KEY))
    await asker.#cost(asker.#empty)
    await asker.#cost(asker.#empty)
    asker.#emptyMs = median([
      await asker.#cost(asker.#empty),
      await asker.#cost(asker.#empty),
      await asker.#cost(asker.#empty),
    ])
    return asker
  }

  private constructor(server: ServerProcess, connection: Connection, empty: Uint8Array) {
    this.#server = server
    this.#connection = connection
    this.#empty = empty
  }

  async first({ path, name, check }: Question, added: Added): Promise<number> {
    const ms = await this.#cost(getBytes(path, API_KEY), (body) => verify(name, check, body, added))
    return Math.max(0, ms - this.#emptyMs)
  }

  /** The mean of so many asks after twenty that do not count. */
  async repeated({ path, name, check }: Question, added: Added, asks: number): Promise<number> {
    const bytes = getBytes(path, API_KEY)
    const meanOf = async (request: Uint8Array, count: number): Promise<number> => {
      const before = this.#server.cpu.readMs()
      for (let i = 0; i < count; i++) await this.#connection.request(request)
      await pause(20)
      return (this.#server.cpu.readMs() - before) / count
    }
    verify(name, check, (await this.#connection.request(bytes)).body, added)
    await meanOf(bytes, Math.ceil(asks / 2))
    await meanOf(this.#empty, asks)
    const emptyMs = await meanOf(this.#empty, asks)
    return Math.max(0, (await meanOf(bytes, asks)) - emptyMs)
  }

  async #cost(request: Uint8Array, check: (body: string) => void = () => undefined): Promise<number> {
    const before = this.#server.cpu.readMs()
    const { status, body } = await this.#connection.request(request)
    // The answer is out before its garbage is collected.
    await pause(30)
    const usedMs = this.#server.cpu.readMs() - before
    if (status !== 200) throw new Error(`${status}: ${body}`)
    check(body)
    return usedMs
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#connection.close()
    await this.#server.stop()
  }
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

function folderBytes(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).blocks * 512, 0)
}
