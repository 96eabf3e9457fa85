import { type Aggregator, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { ErrorCode, ItemError } from '../model/errors.ts'
import { withTimeout } from '../model/with-timeout.ts'
import type { QueryMeta } from '../query/compute/result.ts'
import type { ShareMetrics, Telemetry, TelemetrySources } from './telemetry-interface.ts'
import { familiesOf } from './worker-metrics.ts'

/**
 * How long a read of the metrics waits for figures from the store. If the store does not respond, these metrics are
 * omitted.
 */
const STORE_WAIT_MS = 2_000
/** How often the delay of the event loop is sampled. */
const LOOP_SAMPLE_MS = 50

const COMMIT_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const QUERY_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

type Labels = Readonly<Record<string, string | number>>
type Sample = readonly [labels: Labels, value: number]

/**
 * The gateway's own metrics for Prometheus. Frequent reports are added to plain numbers, which are copied to
 * prom-client only when the metrics are read: prom-client looks up labels by an object at each call, which would cost
 * more than the counted work.
 */
export class GatewayMetrics implements Telemetry {
  readonly #sources: TelemetrySources
  readonly #registry = new Registry()
  readonly #routes: { readonly route: string; readonly counts: Map<string, Map<number, number>> }[] = []
  readonly #rejected = new Map<ErrorCode, number>()
  readonly #commits: Histogram
  readonly #queries: Histogram
  #rollupsRead = 0
  #blocksRead = 0
  #cacheHits = 0
  #lost = 0
  #backlog: { readonly entries: number; readonly bytes: number } | undefined
  #reading: Promise<string> | undefined
  #readsProcess = false
  readonly #readText: () => Promise<string>

  /** `share` is set if the gateway has several processes. */
  constructor(sources: TelemetrySources, share?: ShareMetrics) {
    this.#sources = sources
    this.#readText =
      share?.(async () => familiesOf(await this.#collected())) ?? (async () => (await this.#collected()).metrics())
    this.#commits = this.#histogram(
      'gaugeql_commit_seconds',
      'Time from sending a round of commits to the store until its outcome was known.',
      COMMIT_SECONDS,
    )
    this.#queries = this.#histogram(
      'gaugeql_query_seconds',
      'Time from reading the index to the result of a query.',
      QUERY_SECONDS,
    )
    this.#gauge('gaugeql_processes', 'Processes that responded to this reading.', () => 1)
    this.#defineIngest()
    this.#defineQueries()
    this.#defineFolds()
  }

  countRoute(route: string): (method: string, status: number) => void {
    const counts = new Map<string, Map<number, number>>()
    this.#routes.push({ route, counts })
    return (method, status) => {
      let byStatus = counts.get(method)
      if (byStatus === undefined) {
        byStatus = new Map()
        counts.set(method, byStatus)
      }
      byStatus.set(status, (byStatus.get(status) ?? 0) + 1)
    }
  }

  rejected(errors: readonly ItemError[]): void {
    for (const { code } of errors) this.#rejected.set(code, (this.#rejected.get(code) ?? 0) + 1)
  }

  roundEnded(durationMs: number): void {
    this.#commits.observe(durationMs / 1_000)
  }

  queried({ durationMs, rollupsRead, blocksRead, cacheHits }: QueryMeta): void {
    this.#queries.observe(durationMs / 1_000)
    this.#rollupsRead += rollupsRead
    this.#blocksRead += blocksRead
    this.#cacheHits += cacheHits
  }

  lost(points: number): void {
    this.#lost += points
  }

  /** Returns the metrics as Prometheus text. Concurrent calls share one reading. */
  read(): Promise<string> {
    this.#reading ??= this.#readText().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #collected(): Promise<Registry> {
    if (!this.#readsProcess) {
      // Process metrics watch the event loop and the garbage collector, which costs CPU, so they start with the first
      // reading.
      this.#readsProcess = true
      collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: LOOP_SAMPLE_MS })
    }
    this.#backlog = await withTimeout(STORE_WAIT_MS, () => this.#sources.backlog()).catch(() => undefined)
    return this.#registry
  }

  #defineIngest(): void {
    const sources = this.#sources
    this.#counter(
      'gaugeql_http_requests_total',
      'Responses by route, method and status.',
      () =>
        this.#routes.flatMap(({ route, counts }) =>
          [...counts].flatMap(([method, byStatus]) =>
            [...byStatus].map(([status, count]): Sample => [{ route, method, status }, count]),
          ),
        ),
      'route',
      'method',
      'status',
    )
    this.#counter('gaugeql_points_total', 'Points accepted.', () => sources.points())
    this.#counter('gaugeql_events_total', 'Events accepted.', () => sources.events())
    this.#counter(
      'gaugeql_rejected_items_total',
      'Items that were not stored, by error code.',
      () => [...this.#rejected].map(([code, count]): Sample => [{ code }, count]),
      'code',
    )
    this.#counter('gaugeql_lost_points_total', 'Acknowledged points that the store lost for good.', () => this.#lost)
    this.#gauge('gaugeql_pending_bytes', 'Rollups waiting for a commit.', () => sources.pendingBytes())
    this.#gauge('gaugeql_retained_bytes', 'Acknowledged commits kept for replay.', () => sources.retainedBytes())
    this.#gauge('gaugeql_rate_counters', 'Keys and addresses with a rate-limit counter.', () => sources.rateCounters())
  }

  #defineQueries(): void {
    this.#counter('gaugeql_rollups_read_total', 'Rollups that queries have read.', () => this.#rollupsRead)
    this.#counter('gaugeql_blocks_read_total', 'Blocks that queries have read.', () => this.#blocksRead)
    this.#counter(
      'gaugeql_block_cache_hits_total',
      'Blocks that queries found decoded in the cache.',
      () => this.#cacheHits,
    )
    this.#gauge('gaugeql_block_cache_bytes', 'Decoded blocks in the cache.', () => this.#sources.cacheBytes())
  }

  #defineFolds(): void {
    const { folds } = this.#sources
    this.#gauge(
      'gaugeql_fold_backlog_bytes',
      'Inbox bytes that wait to be folded, of all gateways on the store; absent while the store does not respond.',
      () => this.#backlog?.bytes,
      'max',
    )
    this.#gauge(
      'gaugeql_fold_backlog_entries',
      'Inbox commits that wait to be folded.',
      () => this.#backlog?.entries,
      'max',
    )
    this.#gauge(
      'gaugeql_fold_backlog_age_seconds',
      'How long the oldest inbox commit has waited, as far as this gateway knows.',
      () => folds().waitedMs / 1_000,
      'max',
    )
    this.#counter('gaugeql_folds_total', 'Fold steps.', () => folds().steps)
    this.#counter('gaugeql_fold_failures_total', 'Fold steps that failed and were postponed.', () => folds().failures)
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
        [{ kind: 'rollups' }, folds().rowsSetAside],
        [{ kind: 'blocks' }, folds().blocksSetAside],
      ],
      'kind',
    )
    this.#counter(
      'gaugeql_fold_written_bytes_total',
      'Bytes of blocks written by folds and merges.',
      () => folds().bytesWritten,
    )
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, buckets, registers: [this.#registry] })
  }

  #counter(name: string, help: string, samples: () => number | readonly Sample[], ...labelNames: string[]): void {
    new Counter({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset()
        const current = samples()
        if (typeof current === 'number') this.inc(current)
        else for (const [labels, value] of current) this.inc(labels, value)
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
        const current = value()
        if (current === undefined) this.remove()
        else this.set(current)
      },
    })
  }
}
