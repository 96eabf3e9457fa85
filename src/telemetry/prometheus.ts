import { type Aggregator, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { ErrorCode, ItemError } from '../model/errors.ts'
import type { QueryMeta } from '../query/compute/result.ts'
import { familiesOf, undefinedAfter } from './process-metrics.ts'
import type { ShareMetrics, Telemetry, TelemetrySources } from './telemetry.ts'

/** How long a reader waits for what only the store knows; without an answer that is left out. */
const STORE_WAIT_MS = 2_000
/** How often the delay of the event loop is sampled. */
const LOOP_SAMPLE_MS = 50

const COMMIT_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const QUERY_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

type Labels = Readonly<Record<string, string | number>>
type Sample = readonly [labels: Labels, value: number]

/**
 * The gateway's own metrics for Prometheus. What is told often is added to plain numbers and given to prom-client when somebody
 * reads: it looks its labels up by an object each time, which would cost more than what is counted.
 */
export class Prometheus implements Telemetry {
  readonly #sources: TelemetrySources
  readonly #registry = new Registry()
  readonly #routes: { readonly route: string; readonly answers: Map<string, Map<number, number>> }[] = []
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

  /** `share`: of one process among several. */
  constructor(sources: TelemetrySources, share?: ShareMetrics) {
    this.#sources = sources
    this.#readText =
      share?.(async () => familiesOf(await this.#collected())) ?? (async () => (await this.#collected()).metrics())
    this.#commits = this.#histogram(
      'gaugeql_commit_seconds',
      'Time from offering a round of commits to the store until its outcome was known.',
      COMMIT_SECONDS,
    )
    this.#queries = this.#histogram(
      'gaugeql_query_seconds',
      'Time from asking the store for an index to the answer of a query.',
      QUERY_SECONDS,
    )
    this.#gauge('gaugeql_processes', 'Processes that answered this reading.', () => 1)
    this.#defineIngest()
    this.#defineQueries()
    this.#defineFolds()
  }

  countRoute(route: string): (method: string, status: number) => void {
    const answers = new Map<string, Map<number, number>>()
    this.#routes.push({ route, answers })
    return (method, status) => {
      let byStatus = answers.get(method)
      if (byStatus === undefined) {
        byStatus = new Map()
        answers.set(method, byStatus)
      }
      byStatus.set(status, (byStatus.get(status) ?? 0) + 1)
    }
  }

  rejected(errors: readonly ItemError[]): void {
    for (const { code } of errors) this.#rejected.set(code, (this.#rejected.get(code) ?? 0) + 1)
  }

  roundSettled(durationMs: number): void {
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

  /** Readers that come together share one answer. */
  read(): Promise<string> {
    this.#reading ??= this.#readText().finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #collected(): Promise<Registry> {
    if (!this.#readsProcess) {
      // It watches the event loop and the garbage collector: nobody pays for that who does not read.
      this.#readsProcess = true
      collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: LOOP_SAMPLE_MS })
    }
    this.#backlog = await undefinedAfter(
      STORE_WAIT_MS,
      this.#sources.backlog().catch(() => undefined),
    )
    return this.#registry
  }

  #defineIngest(): void {
    const sources = this.#sources
    this.#counter(
      'gaugeql_http_requests_total',
      'Answers by route, method and status.',
      () =>
        this.#routes.flatMap(({ route, answers }) =>
          [...answers].flatMap(([method, byStatus]) =>
            [...byStatus].map(([status, count]): Sample => [{ route, method, status }, count]),
          ),
        ),
      'route',
      'method',
      'status',
    )
    this.#counter('gaugeql_points_total', 'Points accepted.', () => [[{}, sources.points()]])
    this.#counter('gaugeql_events_total', 'Events accepted.', () => [[{}, sources.events()]])
    this.#counter(
      'gaugeql_rejected_items_total',
      'Items that were left out, by the code of the error.',
      () => [...this.#rejected].map(([code, count]): Sample => [{ code }, count]),
      'code',
    )
    this.#counter('gaugeql_lost_points_total', 'Acknowledged points that the store has forgotten for good.', () => [
      [{}, this.#lost],
    ])
    this.#gauge('gaugeql_pending_bytes', 'Rollups that wait for a commit.', () => sources.pendingBytes())
    this.#gauge('gaugeql_retained_bytes', 'Acknowledged commits kept in case the store forgets them.', () =>
      sources.retainedBytes(),
    )
    this.#gauge('gaugeql_rate_counters', 'Keys and addresses whose requests are being counted.', () =>
      sources.rateCounters(),
    )
  }

  #defineQueries(): void {
    this.#counter('gaugeql_rollups_read_total', 'Rollups that queries have read.', () => [[{}, this.#rollupsRead]])
    this.#counter('gaugeql_blocks_read_total', 'Blocks that queries have read.', () => [[{}, this.#blocksRead]])
    this.#counter('gaugeql_block_cache_hits_total', 'Of those the ones that were already decoded.', () => [
      [{}, this.#cacheHits],
    ])
    this.#gauge('gaugeql_block_cache_bytes', 'Decoded blocks held for queries.', () => this.#sources.cacheBytes())
  }

  #defineFolds(): void {
    const { folds } = this.#sources
    this.#gauge(
      'gaugeql_fold_backlog_bytes',
      'What waits to be folded, of all gateways on the store; absent while the store does not answer.',
      () => this.#backlog?.bytes,
      'max',
    )
    this.#gauge('gaugeql_fold_backlog_entries', 'The same in commits.', () => this.#backlog?.entries, 'max')
    this.#gauge(
      'gaugeql_fold_backlog_age_seconds',
      'How long the oldest of it has waited, as far as this gateway knows.',
      () => folds().waitedMs / 1_000,
      'max',
    )
    this.#counter('gaugeql_folds_total', 'Steps of folding.', () => [[{}, folds().steps]])
    this.#counter('gaugeql_fold_failures_total', 'Times that folding failed and was put off.', () => [
      [{}, folds().failures],
    ])
    this.#counter(
      'gaugeql_merges_total',
      'Windows merged: in part, or whole once they are over.',
      () => [
        [{ kind: 'part' }, folds().merges],
        [{ kind: 'whole' }, folds().seals],
      ],
      'kind',
    )
    this.#counter('gaugeql_windows_expired_total', 'Windows let go at the end of their time.', () => [
      [{}, folds().expired],
    ])
    this.#counter(
      'gaugeql_fold_set_aside_total',
      'What folding left out for good because it cannot be read or written: rollups, and blocks of which nothing is known.',
      () => [
        [{ kind: 'rollups' }, folds().rowsSetAside],
        [{ kind: 'blocks' }, folds().blocksSetAside],
      ],
      'kind',
    )
    this.#counter('gaugeql_fold_written_bytes_total', 'Blocks written by folding and merging.', () => [
      [{}, folds().bytesWritten],
    ])
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, buckets, registers: [this.#registry] })
  }

  #counter(name: string, help: string, samples: () => readonly Sample[], ...labelNames: string[]): void {
    new Counter({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset()
        for (const [labels, value] of samples()) this.inc(labels, value)
      },
    })
  }

  /** `aggregator`: what becomes of the values of several processes. */
  #gauge(name: string, help: string, value: () => number | undefined, aggregator: Aggregator = 'sum'): void {
    new Gauge({
      name,
      help,
      aggregator,
      registers: [this.#registry],
      collect() {
        const now = value()
        if (now === undefined) this.remove()
        else this.set(now)
      },
    })
  }
}
