import { formatId } from '../model/id.ts'
import type { Block } from '../rollup/block.ts'
import type { MetricRow } from '../store/store.ts'
import type { QueryResult } from './compute/result.ts'
import type { Aggregation } from './plan/aggregation.ts'

/** What to compute from the data read. Queries that read the same data share a run, each with its own outputs. */
export interface RunOutputs {
  readonly computed: readonly Aggregation[]
  readonly totals: boolean
  /** The last values before the range. */
  readonly before: boolean
}

/**
 * Shared by all queries of one request: one clock, one budget of rollups, the blocks read so far, and results. Each
 * block is read once and equal queries run once, however often a document repeats them. Blocks stay in memory as long
 * as the request; the budget bounds them.
 */
export class QuerySession {
  readonly rollupsMax: number
  readonly #now: () => number
  #nowMs: number | undefined
  #rollupsLeft: number
  #step: string | number | undefined
  #lastPause = Promise.resolve()
  readonly #metrics = new Map<string, Promise<MetricRow | undefined>>()
  readonly #runs = new Map<string, Run>()
  /** The blocks read by the queries of the request, by name. */
  readonly blocks = new Map<string, Block>()

  constructor(rollupsMax: number, now: () => number) {
    this.rollupsMax = rollupsMax
    this.#rollupsLeft = rollupsMax
    this.#now = now
  }

  /** The time of all queries in the session. */
  get nowMs(): number {
    this.#nowMs ??= this.#now()
    return this.#nowMs
  }

  get rollupsLeft(): number {
    return this.#rollupsLeft
  }

  /** Begins a step of a request that also writes: drops earlier results, because the step must see earlier writes. */
  enter(step: string | number): void {
    if (step === this.#step) return
    this.#step = step
    this.#nowMs = undefined
    this.#metrics.clear()
    this.#runs.clear()
  }

  /**
   * Yields to the event loop; of several callers one resumes in each iteration. Called before planning: a plan may have
   * tens of thousands of buckets, and the index snapshots of a hundred queries may arrive at once.
   */
  pause(): Promise<void> {
    const pause = this.#lastPause
    this.#lastPause = pause.then(() => new Promise((resolve) => setImmediate(resolve)))
    return pause
  }

  charge(rollups: number): void {
    this.#rollupsLeft -= rollups
  }

  metric(name: string, read: () => Promise<MetricRow | undefined>): Promise<MetricRow | undefined> {
    let row = this.#metrics.get(name)
    if (row === undefined) this.#metrics.set(name, (row = read()))
    return row
  }

  /** The result of an earlier run with the same key, if it has or can still add the outputs; else of a new run. */
  run(
    metric: MetricRow,
    runKey: string,
    outputs: RunOutputs,
    execute: (run: Run) => Promise<QueryResult>,
  ): Promise<QueryResult> {
    const key = `${formatId(metric.metricId)} ${runKey}`
    const earlier = this.#runs.get(key)
    if (earlier?.join(outputs) === true) return earlier.result
    const run = new Run(outputs, execute)
    this.#runs.set(key, run)
    return run.result
  }
}

/** One execution of a query, shared by equal queries. Until it is planned, later queries may add outputs. */
export class Run {
  readonly result: Promise<QueryResult>
  readonly #computed = new Map<string, Aggregation>()
  #totals = false
  #before = false
  #aggregationsMax = 0
  #rollups = 0
  #isClosed = false

  constructor(outputs: RunOutputs, execute: (run: Run) => Promise<QueryResult>) {
    this.#add(outputs)
    this.result = execute(this)
  }

  /** False: the run is closed and lacks some of the outputs. */
  join(outputs: RunOutputs): boolean {
    const isCovered =
      outputs.computed.every(({ name }) => this.#computed.has(name)) &&
      (this.#totals || !outputs.totals) &&
      (this.#before || !outputs.before)
    if (this.#isClosed && !isCovered) return false
    this.#add(outputs)
    return true
  }

  /** Ends the time in which outputs can be added, and returns them. */
  close(): RunOutputs & { /** The most aggregations of any single query. */ readonly aggregationsMax: number } {
    this.#isClosed = true
    return {
      computed: [...this.#computed.values()],
      totals: this.#totals,
      before: this.#before,
      aggregationsMax: Math.max(1, this.#aggregationsMax),
    }
  }

  /** Rollups charged so far. A second attempt is not charged again. */
  get rollups(): number {
    return this.#rollups
  }

  charge(session: QuerySession, rollups: number): void {
    session.charge(rollups - this.#rollups)
    this.#rollups = rollups
  }

  #add({ computed, totals, before }: RunOutputs): void {
    for (const aggregation of computed) this.#computed.set(aggregation.name, aggregation)
    this.#totals ||= totals
    this.#before ||= before
    if (!this.#isClosed) this.#aggregationsMax = Math.max(this.#aggregationsMax, computed.length)
  }
}
