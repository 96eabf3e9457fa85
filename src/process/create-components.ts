import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import { ApiKeyAuthenticator } from '../access/api-keys.ts'
import { RATE_COUNTERS_PER_CLASS_MAX, RateLimiter } from '../access/rate-limiter.ts'
import type { Config } from '../config/config.ts'
import { createGateway, type Gateway, type GatewayOptions } from '../gateway.ts'
import { EventIdGenerator } from '../model/event-id.ts'
import { EventReader } from '../query/events.ts'
import { FIXED_LIVE_SETTINGS, LiveQueries, type LiveQueryBackend } from '../query/live/live-queries.ts'
import { Querier } from '../query/querier.ts'
import type { Store } from '../store/store.ts'
import { GatewayMetrics } from '../telemetry/gateway-metrics.ts'
import type { PolledFigures, ShareMetrics } from '../telemetry/telemetry-interface.ts'
import { FIXED_WRITER_SETTINGS, Writer, type WriterEvents } from '../write/commit/writer.ts'
import { FOLD_STEP_BYTES_MAX } from '../write/fold/fold.ts'
import { FoldLoop } from '../write/fold/fold-loop.ts'
import { Idempotency } from '../write/idempotency.ts'

interface ComponentDependencies {
  readonly store: Store
  readonly log: Logger
  readonly now: () => number
  /** Merges the metrics of all processes. Undefined if the gateway has only one. */
  readonly shareMetrics: ShareMetrics | undefined
}

export interface GatewayComponents extends GatewayOptions {
  readonly gateway: Gateway
}

/** Creates the components of a gateway on an open store, such as the writer and the querier, and connects them. */
export function createComponents(
  config: Config,
  { store, log, now, shareMetrics }: ComponentDependencies,
): GatewayComponents {
  const { resolutions, setResolutions } = config.store
  const retainsCommits = config.write.retainedBytesMax > 0

  const polledFigures: PolledFigures = {
    points: () => writer.totals.points,
    events: () => writer.totals.events,
    pendingBytes: () => writer.pendingBytes,
    retainedBytes: () => writer.retainedBytes,
    cacheBytes: () => querier.cacheBytes,
    rateCounters: () => limiter.counterCount,
    folds: () => ({ ...folds.totals, waitedMs: folds.oldestEntryAgeMs }),
    backlog: () => inboxBacklogOf(store),
  }
  const telemetry = new GatewayMetrics(polledFigures, shareMetrics)

  const folds = new FoldLoop(store, { ...config.store, ...config.fold, stepBytesMax: FOLD_STEP_BYTES_MAX }, log, now)
  const idempotency = new Idempotency(
    store,
    { ...FIXED_WRITER_SETTINGS, ...config.write, ...(retainsCommits ? {} : { retainedMsMax: 0 }) },
    now,
  )
  const writerEvents: WriterEvents = {
    committed: (partition, added) => folds.noteCommit(partition, added),
    writesLost: () => {
      querier.dropCachedSeries()
      idempotency.replayReceipts().catch((err: unknown) => log.warn({ err }, 'receipts could not be replayed'))
    },
    pointsLost: (points) => telemetry.countLostPoints(points),
    stepEnded: (durationMs) => telemetry.observeCommitStep(durationMs),
    warn: (message, details) => log.warn(details, message),
  }
  const baseResolutions = {
    baseResolutionMs: resolutions[0]!.bucketWidthMs,
    baseSetResolutionMs: setResolutions[0]!.bucketWidthMs,
  }
  const writer = new Writer(store, { ...FIXED_WRITER_SETTINGS, ...config.write, ...baseResolutions }, writerEvents, now)

  const resolutionsMs = resolutions.map(({ bucketWidthMs }) => bucketWidthMs)
  const setResolutionsMs = setResolutions.map(({ bucketWidthMs }) => bucketWidthMs)
  const querier = new Querier(store, { ...config.query, resolutionsMs, setResolutionsMs }, now)
  const events = new EventReader(store, now)
  const eventIdGenerator = new EventIdGenerator(now, randomBytes)
  const liveBackend: LiveQueryBackend = {
    query: (project, input) => gateway.query(project, input),
    onCommit: (listener) => store.onCommit(listener),
    now,
    startTimer,
  }
  const live = new LiveQueries(liveBackend, { ...FIXED_LIVE_SETTINGS, ...config.live })

  const keys = new ApiKeyAuthenticator(store, config.access.apiKeys, now)
  const limiter = new RateLimiter(
    store,
    { limits: config.access.rateLimits, countersPerClassMax: RATE_COUNTERS_PER_CLASS_MAX },
    now,
  )

  const components = {
    writer,
    idempotency,
    folds,
    querier,
    live,
    events,
    eventIdGenerator,
    store,
    keys,
    limiter,
    telemetry,
  }
  const gateway = createGateway(components)
  return { ...components, gateway }
}

/** Calls `run` after `ms` milliseconds. Returns a function that cancels the call. */
function startTimer(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms)
  return () => clearTimeout(timer)
}

async function inboxBacklogOf(store: Store): Promise<{ readonly entries: number; readonly bytes: number }> {
  const inboxes = await Promise.all(Array.from({ length: store.partitions }, (_, i) => store.inboxSize(i)))
  return {
    entries: inboxes.reduce((total, { entries }) => total + entries, 0),
    bytes: inboxes.reduce((total, { bytes }) => total + bytes, 0),
  }
}
