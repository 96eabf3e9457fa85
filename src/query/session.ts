import { formatId } from '../model/id.ts'
import type { Block } from '../rollup/block/block.ts'
import type { MetricRow } from '../store/store.ts'
import type { QueryResult } from './compute/result.ts'
import type { Aggregation } from './plan/aggregation.ts'

/**
 * What a query computes from the data of its run. Queries that read the same data share one run; each adds its outputs.
 */
export interface RunOutputs {
  readonly computed: readonly Aggregation[]
  readonly totals: boolean
  /** Whether the last value of each group before the range is needed. */
  readonly before: boolean
}

/**
 * The state that all queries of one request share: one clock, one budget of rollups, the blocks read so far, and
 * results. Each block is read once and equal queries run once, however often a document repeats them. Blocks stay in
 * memory until the request ends; the budget bounds them.
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

  /** The time that all queries of the session take as now. */
  get nowMs(): number {
    this.#nowMs ??= this.#now()
    return this.#nowMs
  }

  get rollupsLeft(): number {
    return this.#rollupsLeft
  }

  /** Begins a step of a request that also writes. Drops earlier results, because the step must see earlier writes. */
  enter(step: string | number): void {
    if (step === this.#step) return
    this.#step = step
    this.#nowMs = undefined
    this.#metrics.clear()
    this.#runs.clear()
  }

  /**
   * Yields to the event loop. If several queries wait, one resumes in each iteration. Called before planning: a plan
   * may have tens of thousands of buckets, and the index snapshots of a hundred queries may arrive at once.
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

  /**
   * Returns the result of an earlier run with the same key, if this run has the outputs or can still add them.
   * Otherwise starts a run.
   */
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

/** One execution of a query, shared by equal queries. Later queries may add outputs until the query is planned. */
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

  /** Adds outputs. Returns false if the run is closed and lacks some of them. */
  join(outputs: RunOutputs): boolean {
    const isCovered =
      outputs.computed.every(({ name }) => this.#computed.has(name)) &&
      (this.#totals || !outputs.totals) &&
      (this.#before || !outputs.before)
    if (this.#isClosed && !isCovered) return false
    this.#add(outputs)
    return true
  }

  /** Closes the run to new outputs and returns all of them. `aggregationsMax` is the maximum of any single query. */
  close(): RunOutputs & { readonly aggregationsMax: number } {
    this.#isClosed = true
    return {
      computed: [...this.#computed.values()],
      totals: this.#totals,
      before: this.#before,
      aggregationsMax: Math.max(1, this.#aggregationsMax),
    }
  }

  /** Rollups charged for this run. A second attempt replaces the charge of the first. */
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
