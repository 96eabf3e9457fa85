import type { ItemError } from '../model/errors.ts'
import type { QueryMeta } from '../query/compute/result.ts'

/**
 * The interface by which other components report their work, for the metrics of the gateway itself. No method is called
 * once per point, and no argument contains a name, a tag or a value of a project.
 */
export interface Telemetry {
  /**
   * Creates the counter of the responses of a route. The returned function must be called with the method and the
   * status of each response.
   */
  createResponseCounter(route: string): (method: string, status: number) => void
  /** Reports items that were not stored. */
  countRejectedItems(errors: readonly ItemError[]): void
  /** Reports that the outcome of all commits of a round is known, whether they were stored or not. */
  observeCommitRound(durationMs: number): void
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
    /** The name of the sample; set only for samples of a histogram. */
    readonly metricName?: string
  }[]
}

/**
 * Makes the metrics of one process available to the others. Returns a function that reads the metrics of all processes
 * as Prometheus text.
 */
export type ShareMetrics = (readOwn: () => Promise<readonly MetricFamily[]>) => () => Promise<string>

/** Functions that return figures of other parts of the gateway. They are called whenever the metrics are read. */
export interface PolledFigures {
  points(): number
  events(): number
  pendingBytes(): number
  retainedBytes(): number
  cacheBytes(): number
  rateCounters(): number
  folds(): FoldCounts
  /** Number and bytes of inbox entries that wait to be folded, of all gateways on the store. */
  backlog(): Promise<{ readonly entries: number; readonly bytes: number }>
}

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
