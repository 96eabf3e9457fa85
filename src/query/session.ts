import { formatId } from '../model/id.ts'
import type { Block } from '../rollup/block/block.ts'
import type { MetricRow } from '../store/catalog.ts'
import type { QueryResult } from './compute/result.ts'
import type { Aggregation } from './plan/aggregation.ts'

/**
 * What a query computes from the data that it reads. Queries that read the same data share one execution, which
 * computes the outputs of all of them.
 */
export interface QueryOutputs {
  readonly aggregations: readonly Aggregation[]
  readonly withTotals: boolean
  /** Whether the last value of each group before the range is needed. */
  readonly withValuesBefore: boolean
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
  #currentStep: string | number | undefined
  #nextTurn = Promise.resolve()
  readonly #metrics = new Map<string, Promise<MetricRow | undefined>>()
  readonly #executions = new Map<string, SharedExecution>()
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
  beginStep(step: string | number): void {
    if (step === this.#currentStep) return
    this.#currentStep = step
    this.#nowMs = undefined
    this.#metrics.clear()
    this.#executions.clear()
  }

  /**
   * Yields to the event loop. If several queries wait, one resumes in each iteration. Called before planning: a plan
   * may have tens of thousands of buckets, and the index snapshots of a hundred queries may arrive at once.
   */
  waitForTurn(): Promise<void> {
    const turn = this.#nextTurn
    this.#nextTurn = turn.then(() => new Promise((resolve) => setImmediate(resolve)))
    return turn
  }

  chargeRollups(rollupCount: number): void {
    this.#rollupsLeft -= rollupCount
  }

  findMetricOnce(name: string, read: () => Promise<MetricRow | undefined>): Promise<MetricRow | undefined> {
    let row = this.#metrics.get(name)
    if (row === undefined) this.#metrics.set(name, (row = read()))
    return row
  }

  /**
   * Returns the result of an earlier execution with the same key, if that one computes these outputs or can still add
   * them. Otherwise starts a new execution.
   */
  executeShared(
    metric: MetricRow,
    executionKey: string,
    outputs: QueryOutputs,
    execute: (execution: SharedExecution) => Promise<QueryResult>,
  ): Promise<QueryResult> {
    const key = `${formatId(metric.metricId)} ${executionKey}`
    const earlier = this.#executions.get(key)
    if (earlier?.addOutputs(outputs) === true) return earlier.result
    const execution = new SharedExecution(outputs, execute)
    this.#executions.set(key, execution)
    return execution.result
  }
}

/** One execution, shared by queries that read the same data. Queries may add outputs until the reads are planned. */
export class SharedExecution {
  readonly result: Promise<QueryResult>
  readonly #aggregationsByName = new Map<string, Aggregation>()
  #withTotals = false
  #withValuesBefore = false
  #aggregationsMax = 0
  #chargedRollups = 0
  #isClosed = false

  constructor(outputs: QueryOutputs, execute: (execution: SharedExecution) => Promise<QueryResult>) {
    this.#add(outputs)
    this.result = execute(this)
  }

  /** Adds outputs. Returns false if the execution is closed and lacks some of them. */
  addOutputs(outputs: QueryOutputs): boolean {
    const isCovered =
      outputs.aggregations.every(({ name }) => this.#aggregationsByName.has(name)) &&
      (this.#withTotals || !outputs.withTotals) &&
      (this.#withValuesBefore || !outputs.withValuesBefore)
    if (this.#isClosed && !isCovered) return false
    this.#add(outputs)
    return true
  }

  /** Refuses further outputs and returns all. `aggregationsMax`: the most aggregations that a single query has. */
  closeOutputs(): QueryOutputs & { readonly aggregationsMax: number } {
    this.#isClosed = true
    return {
      aggregations: [...this.#aggregationsByName.values()],
      withTotals: this.#withTotals,
      withValuesBefore: this.#withValuesBefore,
      aggregationsMax: Math.max(1, this.#aggregationsMax),
    }
  }

  /** Number of rollups charged for this execution. */
  get chargedRollups(): number {
    return this.#chargedRollups
  }

  /** Charges rollups to the session, in place of those that an earlier attempt of this execution has charged. */
  charge(session: QuerySession, rollupCount: number): void {
    session.chargeRollups(rollupCount - this.#chargedRollups)
    this.#chargedRollups = rollupCount
  }

  #add({ aggregations, withTotals, withValuesBefore }: QueryOutputs): void {
    for (const aggregation of aggregations) this.#aggregationsByName.set(aggregation.name, aggregation)
    this.#withTotals ||= withTotals
    this.#withValuesBefore ||= withValuesBefore
    if (!this.#isClosed) this.#aggregationsMax = Math.max(this.#aggregationsMax, aggregations.length)
  }
}
