import type { ItemError } from '../model/errors.ts'
import type { QueryMeta } from '../query/compute/result.ts'

/**
 * The interface by which other components report their work, for the metrics of the gateway itself. No method is called
 * once per point. The metrics never contain a name, a tag or a value of a project.
 */
export interface Telemetry {
  /**
   * Creates the counter of the responses of a route. The returned function must be called with the method and the
   * status of each response.
   */
  createResponseCounter(route: string): (method: string, status: number) => void
  /** Reports the rejected items of a batch. They are counted by error code. */
  countRejectedItems(errors: readonly ItemError[]): void
  /**
   * Reports that one step of a round has ended, whether its commits were stored or not. `durationMs` is the time since
   * they were sent to the store.
   */
  observeCommitStep(durationMs: number): void
  observeQuery(meta: QueryMeta): void
  /** Reports acknowledged points that the store lost and that can no longer be replayed. */
  countLostPoints(points: number): void
  /** Returns all metrics as Prometheus text. */
  readMetricsText(): Promise<string>
}

/** The samples of one metric, in a form that can be sent to another process. */
export interface MetricFamily {
  readonly name: string
  readonly help: string
  readonly type: string
  /** How prom-client combines the samples of several processes. */
  readonly aggregator: string
  readonly values: readonly {
    readonly value: number
    readonly labels: Readonly<Record<string, string | number | undefined>>
    /** Set if the name of the sample is not that of the metric: a histogram has samples such as `NAME_bucket`. */
    readonly metricName?: string
  }[]
}

/**
 * Type of a function that makes the metrics of one process, which `readOwn` returns, available to the other processes.
 * It returns a function that reads the metrics of all processes as Prometheus text.
 */
export type ShareMetrics = (readOwn: () => Promise<readonly MetricFamily[]>) => () => Promise<string>

/** Functions that return figures of other parts of the gateway. They are called whenever the metrics are read. */
export interface PolledFigures {
  /** Number of points, with end markers, that were acknowledged since the process started. `events`: of events. */
  points(): number
  events(): number
  /** Estimated memory of points that wait for a commit, and of new metrics and series that wait for the store. */
  pendingBytes(): number
  /** Estimated memory of acknowledged commits that are kept for replay. */
  retainedBytes(): number
  /** Estimated memory of the decoded blocks and digests in the block cache, in bytes. */
  cacheBytes(): number
  /** Number of rate-limit counters in memory: of keys and networks, in all classes of requests. */
  rateCounters(): number
  folds(): FoldCounts
  /** Number and bytes of inbox entries that wait to be folded, of all gateways on the store. */
  backlog(): Promise<{ readonly entries: number; readonly bytes: number }>
}

/** All but `waitedMs` count from the start of the process. `FoldTotals` in `write/fold/` describes each count. */
interface FoldCounts {
  readonly steps: number
  readonly failures: number
  readonly merges: number
  readonly seals: number
  readonly expired: number
  readonly bytesWritten: number
  readonly rowsOmitted: number
  readonly blocksOmitted: number
  /** The time that the oldest inbox entry has waited, as far as this gateway knows. */
  readonly waitedMs: number
}
