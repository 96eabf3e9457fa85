import type { MetricType } from '../../src/model/metric.ts'
import type { PointSink } from '../../src/model/point.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/model/time.ts'
import type { QueryResult } from '../../src/query/compute/result.ts'
import type { QueryInput } from '../../src/query/plan/request.ts'
import { Querier, type QuerierSettings } from '../../src/query/querier.ts'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import type { Store } from '../../src/store/store.ts'
import { Writer, type WriterEvents, type WriterSettings } from '../../src/write/commit/writer.ts'
import type { FoldSettings } from '../../src/write/fold/fold.ts'

/** The parts of the gateway below HTTP, one by one, on a real store. */

export const FOLD_SETTINGS: FoldSettings = {
  resolutions: [
    { bucketWidthMs: 10_000, keptMs: 6 * HOUR_MS },
    { bucketWidthMs: MINUTE_MS, keptMs: 7 * DAY_MS },
    { bucketWidthMs: HOUR_MS, keptMs: 400 * DAY_MS },
    { bucketWidthMs: DAY_MS, keptMs: 1_825 * DAY_MS },
  ],
  setResolutions: [
    { bucketWidthMs: MINUTE_MS, keptMs: 6 * HOUR_MS },
    { bucketWidthMs: DAY_MS, keptMs: 400 * DAY_MS },
  ],
  stepBytesMax: 1 << 20,
}

export function openStore(folder: string, partitions = 2): Promise<Store> {
  const { resolutions, setResolutions } = FOLD_SETTINGS
  return openEmbeddedStore({ folder, partitions, resolutions, setResolutions })
}

export function openWriter(
  store: Store,
  settings: Partial<WriterSettings> = {},
  events: Partial<WriterEvents> = {},
  now: () => number = Date.now,
): Writer {
  return new Writer(
    store,
    {
      baseResolutionMs: 10_000,
      baseSetResolutionMs: MINUTE_MS,
      pendingBytesMax: 1 << 26,
      storeWaitMsMax: 5_000,
      registryEntriesMax: 100_000,
      seriesPerMetricMax: 1_000,
      tagKeysPerMetricMax: 100,
      metricsPerProjectMax: 100_000,
      newMetricsPerRequestMax: 1_000,
      itemCacheBytesMax: 1 << 24,
      retainedBytesMax: 1 << 26,
      retainedMsMax: 30_000,
      lossCheckIntervalMs: 1_000,
      ...settings,
    },
    {
      committed: () => {},
      writesLost: () => {},
      pointsLost: () => {},
      stepEnded: () => {},
      warn: () => {},
      ...events,
    },
    now,
  )
}

export function openQuerier(
  store: Store,
  settings: Partial<QuerierSettings> = {},
  now: () => number = Date.now,
): Querier {
  const { resolutions, setResolutions } = FOLD_SETTINGS
  return new Querier(
    store,
    {
      resolutionsMs: resolutions.map(({ bucketWidthMs }) => bucketWidthMs),
      setResolutionsMs: setResolutions.map(({ bucketWidthMs }) => bucketWidthMs),
      valuesMax: 1_000_000,
      rollupsMax: 10_000_000,
      blockCacheBytesMax: 1 << 24,
      ...settings,
    },
    now,
  )
}

export const PROJECT = 'test'
/** A Monday noon; every point of these tests lies around it. */
export const T0_MS = Date.UTC(2024, 0, 15, 12)

export interface TestPoint {
  readonly name: string
  readonly type: MetricType
  readonly value: number | string
  readonly timeMs?: number
  readonly tags?: Readonly<Record<string, string>>
  /** The value of a counter is a running total. */
  readonly total?: boolean
}

/** A decoder of these points. Its items are their positions. */
export function decoderOf(points: readonly TestPoint[]): (sink: PointSink) => void {
  return (sink) => {
    for (const [item, { name, type, value, timeMs = T0_MS, tags = {}, total }] of points.entries()) {
      const series = sink.resolve(name, type, Object.entries(tags))
      if ('code' in series) sink.reject(item, series)
      else if (typeof value === 'string') sink.addMember(item, series, timeMs, value)
      else if (total === true) sink.addTotal(item, series, timeMs, value)
      else sink.add(item, series, timeMs, value)
    }
  }
}

/** Asks the store about a metric over the day of `T0_MS`, with a querier that remembers nothing. */
export async function ask(store: Store, metric: string, input: Partial<QueryInput> = {}): Promise<QueryResult> {
  const row = await store.readMetric(PROJECT, metric)
  if (row === undefined) throw new Error(`there is no metric ${metric}`)
  return openQuerier(store).query(row, {
    metric,
    from: T0_MS - HOUR_MS,
    to: T0_MS + 11 * HOUR_MS,
    interval: '1m',
    ...input,
  })
}

/** One number about a metric over that day, 0 where there is no point. */
export async function totalOf(store: Store, metric: string, aggregation: string): Promise<number> {
  const { groups } = await ask(store, metric, { aggregations: [aggregation] })
  const total = groups[0]!.totals.get(aggregation)!
  return Number.isNaN(total) ? 0 : total
}
