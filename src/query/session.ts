import { formatId } from '../model/id.ts'
import type { Block } from '../rollup/block.ts'
import type { MetricRow } from '../store/store.ts'
import type { QueryAnswer } from './compute/result.ts'
import type { Aggregation } from './plan/aggregation.ts'

/** What one asker wants of a run beyond the question it shares with others. */
export interface Wants {
  readonly computed: readonly Aggregation[]
  readonly totals: boolean
  /** The last values before the range. */
  readonly before: boolean
}

/**
 * What the queries of one request share: one clock, a number of rollups they may read together, the blocks they have read, and
 * their answers, so that each block is read once and the same question is answered once, however often a document asks it.
 * Blocks are held for as long as the request lives; what it may read bounds them.
 */
export class QuerySession {
  readonly rollupsMax: number
  readonly #now: () => number
  #nowMs: number | undefined
  #rollupsLeft: number
  #step: string | number | undefined
  #turn = Promise.resolve()
  readonly #metrics = new Map<string, Promise<MetricRow | undefined>>()
  readonly #runs = new Map<string, Run>()
  readonly #blocks = new Map<string, Block>()

  constructor(rollupsMax: number, now: () => number) {
    this.rollupsMax = rollupsMax
    this.#rollupsLeft = rollupsMax
    this.#now = now
  }

  /** The instant as of which everything is answered. */
  get nowMs(): number {
    this.#nowMs ??= this.#now()
    return this.#nowMs
  }

  get rollupsLeft(): number {
    return this.#rollupsLeft
  }

  /** Blocks by name that some query of the request has read. */
  get blocks(): Map<string, Block> {
    return this.#blocks
  }

  /** What was answered before this step of a request that also writes is forgotten: it must see what has been written since. */
  enter(step: string | number): void {
    if (step === this.#step) return
    this.#step = step
    this.#nowMs = undefined
    this.#metrics.clear()
    this.#runs.clear()
  }

  /**
   * Resolves when the caller may plan: the callers of one request take turns, a turn of the event loop each. A plan may have tens
   * of thousands of buckets and a request a hundred queries, whose index snapshots arrive all at once.
   */
  turn(): Promise<void> {
    const turn = this.#turn
    this.#turn = turn.then(() => new Promise((resolve) => setImmediate(resolve)))
    return turn
  }

  charge(rollups: number): void {
    this.#rollupsLeft -= rollups
  }

  metric(name: string, read: () => Promise<MetricRow | undefined>): Promise<MetricRow | undefined> {
    let row = this.#metrics.get(name)
    if (row === undefined) this.#metrics.set(name, (row = read()))
    return row
  }

  /** The answer to a question: of the run that is about to answer it or has done so, else of a new one. */
  ask(
    metric: MetricRow,
    question: string,
    wants: Wants,
    answer: (run: Run) => Promise<QueryAnswer>,
  ): Promise<QueryAnswer> {
    const key = `${formatId(metric.metricId)} ${question}`
    const running = this.#runs.get(key)
    if (running?.join(wants) === true) return running.answer
    const run = new Run(wants, answer)
    this.#runs.set(key, run)
    return run.answer
  }
}

/** One answer under way, for everybody who asks the same question before its reading begins, or nothing that it does not compute. */
export class Run {
  readonly answer: Promise<QueryAnswer>
  readonly #computed = new Map<string, Aggregation>()
  #totals = false
  #before = false
  #aggregationsMax = 0
  #rollups = 0
  #isClosed = false

  constructor(wants: Wants, answer: (run: Run) => Promise<QueryAnswer>) {
    this.#add(wants)
    this.answer = answer(this)
  }

  join(wants: Wants): boolean {
    const isCovered =
      wants.computed.every(({ name }) => this.#computed.has(name)) &&
      (this.#totals || !wants.totals) &&
      (this.#before || !wants.before)
    if (this.#isClosed && !isCovered) return false
    this.#add(wants)
    return true
  }

  /** From now on nobody can join who wants more. */
  close(): Wants & { /** Of the asker who wants most. */ readonly aggregationsMax: number } {
    this.#isClosed = true
    return {
      computed: [...this.#computed.values()],
      totals: this.#totals,
      before: this.#before,
      aggregationsMax: Math.max(1, this.#aggregationsMax),
    }
  }

  /** Rollups charged for so far: an attempt that begins again is not charged twice. */
  get rollups(): number {
    return this.#rollups
  }

  charge(session: QuerySession, rollups: number): void {
    session.charge(rollups - this.#rollups)
    this.#rollups = rollups
  }

  #add({ computed, totals, before }: Wants): void {
    for (const aggregation of computed) this.#computed.set(aggregation.name, aggregation)
    this.#totals ||= totals
    this.#before ||= before
    if (!this.#isClosed) this.#aggregationsMax = Math.max(this.#aggregationsMax, computed.length)
  }
}
