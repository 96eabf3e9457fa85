import type { ItemError } from '../model/errors.ts'
import type { QueryMeta } from '../query/compute/result.ts'

/**
 * What the parts of the gateway tell about their work, for whoever runs it. Nothing here is asked for each point, and nothing carries
 * a name, a tag or a value of a project.
 */
export interface Telemetry {
  /** Makes the counter of a route: to be called with the method and the status of each answer. */
  countRoute(route: string): (method: string, status: number) => void
  /** Items that were left out. */
  rejected(errors: readonly ItemError[]): void
  /** A round of commits has met its fate, stored or not. */
  roundSettled(durationMs: number): void
  queried(meta: QueryMeta): void
  /** Acknowledged points that the store has forgotten for good. */
  lost(points: number): void
  /** All of it as Prometheus text. */
  read(): Promise<string>
}

/** The samples of one metric, as they are told to another process. */
export interface MetricFamily {
  readonly name: string
  readonly help: string
  readonly type: string
  /** How prom-client makes one sample of those of several processes. */
  readonly aggregator: string
  readonly values: readonly {
    readonly value: number
    readonly labels: Readonly<Record<string, string | number | undefined>>
    /** Of a histogram, whose samples have names of their own. */
    readonly metricName?: string
  }[]
}

/** Tells the metrics of one process among several to the others; what it makes reads those of all as Prometheus text. */
export type ShareMetrics = (own: () => Promise<readonly MetricFamily[]>) => () => Promise<string>

/** What is looked up when somebody reads, rather than told. */
export interface TelemetrySources {
  points(): number
  events(): number
  pendingBytes(): number
  retainedBytes(): number
  cacheBytes(): number
  rateCounters(): number
  folds(): FoldFigures
  /** What waits to be folded, of all gateways on the store. */
  backlog(): Promise<{ readonly entries: number; readonly bytes: number }>
}

export interface FoldFigures {
  readonly steps: number
  readonly failures: number
  readonly merges: number
  readonly seals: number
  readonly expired: number
  readonly bytesWritten: number
  readonly rowsSetAside: number
  readonly blocksSetAside: number
  /** How long the oldest entry of an inbox has waited, as far as this gateway knows. */
  readonly waitedMs: number
}

/** For tests, and for whoever does not ask. */
export const NO_TELEMETRY: Telemetry = {
  countRoute: () => () => {},
  rejected() {},
  roundSettled() {},
  queried() {},
  lost() {},
  read: async () => '',
}
