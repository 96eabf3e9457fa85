import { type Aggregator, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { ErrorCode, ItemError } from '../model/errors.ts'
import { withTimeout } from '../model/with-timeout.ts'
import type { QueryMeta } from '../query/compute/result.ts'
import type { PolledFigures, ShareMetrics, Telemetry } from './telemetry-interface.ts'
import { metricFamiliesOf } from './worker-metrics.ts'

/**
 * Maximum time that a read of the metrics waits for the store to count the inbox backlog. If the store fails or does
 * not respond in time, the entries and bytes of the backlog are omitted.
 */
const BACKLOG_WAIT_MS = 2_000
/** How often the delay of the event loop is sampled. */
const EVENT_LOOP_SAMPLE_INTERVAL_MS = 50

const COMMIT_SECONDS_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const QUERY_SECONDS_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

type Labels = Readonly<Record<string, string | number>>
type LabelledValue = readonly [labels: Labels, value: number]

/**
 * The gateway's own metrics for Prometheus. Most counts are plain numbers, which are copied to prom-client only when
 * the metrics are read. This is faster, because prom-client looks up a labels object at each call.
 */
export class GatewayMetrics implements Telemetry {
  readonly #figures: PolledFigures
  readonly #registry = new Registry()
  readonly #routeCounts: { readonly route: string; readonly counts: Map<string, Map<number, number>> }[] = []
  readonly #rejectedItemsByCode = new Map<ErrorCode, number>()
  readonly #commitSeconds: Histogram
  readonly #querySeconds: Histogram
  #rollupsRead = 0
  #blocksRead = 0
  #cacheHits = 0
  #lostPoints = 0
  #backlog: { readonly entries: number; readonly bytes: number } | undefined
  #readInProgress: Promise<string> | undefined
  #hasProcessMetrics = false
  readonly #readMetrics: () => Promise<string>

  /** `shareMetrics` is given if the gateway has several processes. */
  constructor(figures: PolledFigures, shareMetrics?: ShareMetrics) {
    this.#figures = figures
    this.#readMetrics =
      shareMetrics?.(async () => metricFamiliesOf(await this.#collectMetrics())) ??
      (async () => (await this.#collectMetrics()).metrics())
    this.#commitSeconds = this.#histogram(
      'gaugeql_commit_seconds',
      'Time from sending the commits of one step of a round to the store until all outcomes were known.',
      COMMIT_SECONDS_BUCKETS,
    )
    this.#querySeconds = this.#histogram(
      'gaugeql_query_seconds',
      'Time from reading series and index to the result, in the last attempt of a query.',
      QUERY_SECONDS_BUCKETS,
    )
    this.#gauge('gaugeql_processes', 'Processes that responded to this reading.', () => 1)
    this.#defineIngest()
    this.#defineQueries()
    this.#defineFolds()
  }

  createResponseCounter(route: string): (method: string, status: number) => void {
    const counts = new Map<string, Map<number, number>>()
    this.#routeCounts.push({ route, counts })
    return (method, status) => {
      let byStatus = counts.get(method)
      if (byStatus === undefined) {
        byStatus = new Map()
        counts.set(method, byStatus)
      }
      byStatus.set(status, (byStatus.get(status) ?? 0) + 1)
    }
  }

  countRejectedItems(errors: readonly ItemError[]): void {
    for (const { code } of errors) this.#rejectedItemsByCode.set(code, (this.#rejectedItemsByCode.get(code) ?? 0) + 1)
  }

  observeCommitStep(durationMs: number): void {
    this.#commitSeconds.observe(durationMs / 1_000)
  }

  observeQuery({ durationMs, rollupsRead, blocksRead, cacheHits }: QueryMeta): void {
    this.#querySeconds.observe(durationMs / 1_000)
    this.#rollupsRead += rollupsRead
    this.#blocksRead += blocksRead
    this.#cacheHits += cacheHits
  }

  countLostPoints(points: number): void {
    this.#lostPoints += points
  }

  /** Returns the metrics as Prometheus text. Concurrent calls share one read. */
  readMetricsText(): Promise<string> {
    this.#readInProgress ??= this.#readMetrics().finally(() => {
      this.#readInProgress = undefined
    })
    return this.#readInProgress
  }

  async #collectMetrics(): Promise<Registry> {
    if (!this.#hasProcessMetrics) {
      // Process metrics watch the event loop and the garbage collector, which costs CPU. So they start with the first
      // read of the metrics.
      this.#hasProcessMetrics = true
      collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: EVENT_LOOP_SAMPLE_INTERVAL_MS })
    }
    this.#backlog = await withTimeout(BACKLOG_WAIT_MS, () => this.#figures.backlog()).catch(() => undefined)
    return this.#registry
  }

  #defineIngest(): void {
    const figures = this.#figures
    this.#counter(
      'gaugeql_http_requests_total',
      'Responses by route, method and status.',
      () =>
        this.#routeCounts.flatMap(({ route, counts }) =>
          [...counts].flatMap(([method, byStatus]) =>
            [...byStatus].map(([status, count]): LabelledValue => [{ route, method, status }, count]),
          ),
        ),
      'route',
      'method',
      'status',
    )
    this.#counter('gaugeql_points_total', 'Points accepted.', () => figures.points())
    this.#counter('gaugeql_events_total', 'Events accepted.', () => figures.events())
    this.#counter(
      'gaugeql_rejected_items_total',
      'Rejected items, by error code.',
      () => [...this.#rejectedItemsByCode].map(([code, count]): LabelledValue => [{ code }, count]),
      'code',
    )
    this.#counter(
      'gaugeql_lost_points_total',
      'Acknowledged points that the store lost for good.',
      () => this.#lostPoints,
    )
    this.#gauge(
      'gaugeql_pending_bytes',
      'Memory of points that wait for a commit, and of new metrics and series that wait for the store.',
      () => figures.pendingBytes(),
    )
    this.#gauge('gaugeql_retained_bytes', 'Acknowledged commits kept for replay.', () => figures.retainedBytes())
    this.#gauge('gaugeql_rate_counters', 'Rate-limit counters in memory, of all classes of requests.', () =>
      figures.rateCounters(),
    )
  }

  #defineQueries(): void {
    this.#counter('gaugeql_rollups_read_total', 'Rollups that queries have read.', () => this.#rollupsRead)
    this.#counter('gaugeql_blocks_read_total', 'Blocks that queries have read.', () => this.#blocksRead)
    this.#counter(
      'gaugeql_block_cache_hits_total',
      'Blocks read that were in memory already, themselves or in a digest of inbox blocks.',
      () => this.#cacheHits,
    )
    this.#gauge('gaugeql_block_cache_bytes', 'Decoded blocks and digests in the cache.', () =>
      this.#figures.cacheBytes(),
    )
  }

  #defineFolds(): void {
    const { folds } = this.#figures
    this.#gauge(
      'gaugeql_fold_backlog_bytes',
      'Inbox bytes that wait to be folded, of all gateways on the store; absent while the store does not respond.',
      () => this.#backlog?.bytes,
      'max',
    )
    this.#gauge(
      'gaugeql_fold_backlog_entries',
      'Inbox entries that wait to be folded.',
      () => this.#backlog?.entries,
      'max',
    )
    this.#gauge(
      'gaugeql_fold_backlog_age_seconds',
      'How long the oldest inbox entry has waited, as far as this gateway knows.',
      () => folds().waitedMs / 1_000,
      'max',
    )
    this.#counter('gaugeql_folds_total', 'Fold steps.', () => folds().steps)
    this.#counter(
      'gaugeql_fold_failures_total',
      'Folds, merges and removals of expired or deleted data that failed; they are retried.',
      () => folds().failures,
    )
    this.#counter(
      'gaugeql_merges_total',
      'Merges of windows: of some runs (part), or of all once the window is closed (whole).',
      () => [
        [{ kind: 'part' }, folds().merges],
        [{ kind: 'whole' }, folds().seals],
      ],
      'kind',
    )
    this.#counter('gaugeql_windows_expired_total', 'Windows that expired.', () => folds().expired)
    this.#counter(
      'gaugeql_fold_set_aside_total',
      'Rollups and unreadable blocks that a fold dropped because they cannot be read or written.',
      () => [
        [{ kind: 'rollups' }, folds().rowsOmitted],
        [{ kind: 'blocks' }, folds().blocksOmitted],
      ],
      'kind',
    )
    this.#counter(
      'gaugeql_fold_written_bytes_total',
      'Bytes of the blocks that folds and merges added to timelines.',
      () => folds().bytesWritten,
    )
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, buckets, registers: [this.#registry] })
  }

  #counter(
    name: string,
    help: string,
    samples: () => number | readonly LabelledValue[],
    ...labelNames: string[]
  ): void {
    new Counter({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset()
        const sampled = samples()
        if (typeof sampled === 'number') this.inc(sampled)
        else for (const [labels, value] of sampled) this.inc(labels, value)
      },
    })
  }

  /** `aggregator` says how the values of several processes are combined. */
  #gauge(name: string, help: string, value: () => number | undefined, aggregator: Aggregator = 'sum'): void {
    new Gauge({
      name,
      help,
      aggregator,
      registers: [this.#registry],
      collect() {
        const sampled = value()
        if (sampled === undefined) this.remove()
        else this.set(sampled)
      },
    })
  }
}
