import type { GatewayError } from '../model/errors.ts'
import { formatId } from '../model/id.ts'
import { Pacer } from '../model/pacer.ts'
import type { Pace } from '../model/steps.ts'
import type { Block } from '../rollup/block/block.ts'
import type { MetricRow } from '../store/catalog.ts'
import type { Aggregation } from './aggregations.ts'
import type { QueryResult } from './compute/result.ts'
import { QuerySignal } from './query-signal.ts'

/**
 * What a query computes from the data that it reads. Queries that read the same data can share one execution, which
 * then computes the outputs of all of them.
 */
export interface QueryOutputs {
  readonly aggregations: readonly Aggregation[]
  readonly withTotals: boolean
  /** Whether the last value of each group before the range is needed. */
  readonly withValuesBefore: boolean
}

/**
 * The state that all queries of one request share: one clock, one budget of rollups, the blocks read so far, and
 * results. Equal queries usually run once (`executeShared`), however often a document repeats them; in a mutation once
 * in each step (`beginStep`). The blocks stay in memory as long as the session, so other queries of the request need
 * not read them again.
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
  /** Aborted when nobody waits for the results of the session any more. */
  readonly signal = new QuerySignal()
  /** The blocks and digests read by the queries of the request, by name. */
  readonly blocks = new Map<string, Block>()

  constructor(rollupsMax: number, now: () => number) {
    this.rollupsMax = rollupsMax
    this.#rollupsLeft = rollupsMax
    this.#now = now
  }

  /** The time that all queries of the session take as now, in each step anew. */
  get nowMs(): number {
    this.#nowMs ??= this.#now()
    return this.#nowMs
  }

  get rollupsLeft(): number {
    return this.#rollupsLeft
  }

  /** Stops all queries of the session between two steps. They reject with this error. */
  abort(reason: GatewayError): void {
    this.signal.abort(reason)
  }

  /** Returns a pace for a query of the session. It throws the reason of `abort` after a pause. */
  createPace(): Pace {
    const pacer = new Pacer()
    return {
      pause: async () => {
        await pacer.pause()
        this.signal.throwIfAborted()
      },
    }
  }

  /**
   * Begins a step of a request that also writes, such as a field of a mutation. Drops earlier results, because the step
   * must see the writes of earlier steps. Does nothing if this is the current step.
   */
  beginStep(step: string | number): void {
    if (step === this.#currentStep) return
    this.#currentStep = step
    this.#nowMs = undefined
    this.#metrics.clear()
    this.#executions.clear()
  }

  /**
   * Spreads concurrent queries over iterations of the event loop: if several wait, one resumes in each iteration. A
   * query that waits alone resumes without an iteration. Called before planning: a plan may have tens of thousands of
   * buckets, and the index snapshots of a hundred queries may arrive at once.
   */
  waitForTurn(): Promise<void> {
    const turn = this.#nextTurn
    this.#nextTurn = turn.then(() => new Promise((resolve) => setImmediate(resolve)))
    return turn
  }

  /** Takes rollups from the budget; a negative number returns them. */
  chargeRollups(rollupCount: number): void {
    this.#rollupsLeft -= rollupCount
  }

  /** Returns the promise that `read` returned at the first call for this name in this step. */
  findMetricOnce(name: string, read: () => Promise<MetricRow | undefined>): Promise<MetricRow | undefined> {
    let row = this.#metrics.get(name)
    if (row === undefined) this.#metrics.set(name, (row = read()))
    return row
  }

  /**
   * Returns the result of the latest execution in this step with the same metric and key, if that one computes these
   * outputs or can still add them. Otherwise starts a new execution.
   */
  executeShared(
    metric: MetricRow,
    executionKey: string,
    outputs: QueryOutputs,
    execute: (execution: SharedExecution) => Promise<QueryResult>,
  ): Promise<QueryResult> {
    const key = `${formatId(metric.metricId)} ${executionKey}`
    const earlierExecution = this.#executions.get(key)
    if (earlierExecution?.addOutputs(outputs) === true) return earlierExecution.result
    const execution = new SharedExecution(outputs, execute)
    this.#executions.set(key, execution)
    return execution.result
  }
}

/** One execution, shared by queries that read the same data. Queries may add outputs until planning begins. */
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

  /**
   * Refuses further outputs and returns all. `aggregationsMax` is the number of aggregations of the query that has
   * most, at least 1.
   */
  closeOutputs(): QueryOutputs & { readonly aggregationsMax: number } {
    this.#isClosed = true
    return {
      aggregations: [...this.#aggregationsByName.values()],
      withTotals: this.#withTotals,
      withValuesBefore: this.#withValuesBefore,
      aggregationsMax: Math.max(1, this.#aggregationsMax),
    }
  }

  /** Number of rollups that this execution has charged to the session. */
  get chargedRollups(): number {
    return this.#chargedRollups
  }

  /** Charges rollups to the session, in place of those that earlier attempts of this execution have charged. */
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
