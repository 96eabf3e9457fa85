import { formatId, type Id64 } from '../../model/id.ts'
import type { Pace } from '../../model/steps.ts'
import { BLOCK_BYTES_MAX } from '../../rollup/block/block-format.ts'
import { type EncodedBlock, encodeBlock, encodeBlocks } from '../../rollup/block/encode-block.ts'
import { mergeRows } from '../../rollup/merge-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { RollupTable } from '../../rollup/rollup-table.ts'
import type { CommitPart, IdempotencyMarker, MetricUpdate, SeriesRegistration, SetMembers } from '../../store/store.ts'
import type { Metric, Series } from './cached-metric.ts'

/**
 * Encodes a round into parts of commits. Small metrics share a block; a large metric has one or more blocks of its own.
 * If a metric cannot be encoded, only the requests with points of this metric fail.
 */

/**
 * Maximum number of rows in a block. Such a block is nearly always smaller than `BLOCK_BYTES_MAX`, and it has fewer
 * rows than one fold step can fold.
 */
const ROUND_BLOCK_ROWS_MAX = 8_192

/**
 * Maximum number of metrics in a block. A fold reads whole blocks, and writes each of their metrics at every
 * resolution.
 */
const ROUND_BLOCK_METRICS_MAX = 512

/** One metric of a round, with its points in the round. */
export interface RoundMetric {
  readonly metric: Metric
  readonly table: RollupTable
  points: number
  /** Earliest and latest time of the points. */
  firstMs: number
  lastMs: number
  /** Whether any of the points was a running total. */
  cumulative: boolean
  /**
   * All series with points if `RoundContext.keepsSeries`, otherwise only unregistered ones. A series may occur twice.
   */
  readonly series: Series[]
  /** The distinct members of each series, by start of the bucket. Undefined unless the metric is a set. */
  readonly members: Map<Series, Map<number, Set<string>>> | undefined
  /** Indexes of the requests of the round that have points of this metric, in order of arrival. */
  readonly requestIndexes: number[]
}

/** An encoded part of a commit, with the data that the writer needs about it. */
export interface EncodedPart {
  readonly part: CommitPart
  /**
   * The series that the part registers. Encoding chooses those of `series` that are not registered
   * (`Registry.isRegistered`), or all of `series` without `RoundContext.keepsSeries`.
   */
  readonly seriesToRegister: readonly Series[]
  /**
   * The series that a replay of the part registers. Encoding chooses all `RoundMetric.series` of the part's metrics.
   */
  readonly series: readonly Series[]
  /** Number of points, without end markers. Each event counts as one point. */
  readonly points: number
}

/** A metric that could not be encoded, because of a defect of the gateway. */
export interface EncodingFault {
  /** Indexes of the requests of the round that have points of this metric. */
  readonly requestIndexes: readonly number[]
  readonly cause: unknown
}

export interface EncodedMetrics {
  readonly block: EncodedBlock
  /** The metrics of the block. A metric with several blocks is listed only with the first of them. */
  readonly roundMetrics: readonly RoundMetric[]
}

interface MetricRows {
  readonly metricId: Id64
  readonly rows: RollupRows
  readonly roundMetrics: readonly RoundMetric[]
}

/** Called with a metric that could not be encoded. Several `RoundMetric`s may be of one metric: see `rowsByMetric`. */
export type OnEncodingFault = (roundMetrics: readonly RoundMetric[], cause: unknown) => void

/** Encodes the metrics as blocks of one resolution. Small metrics share a block. */
export async function encodeMetrics(
  resolutionMs: number,
  roundMetrics: readonly RoundMetric[],
  onFault: OnEncodingFault,
  pace: Pace,
): Promise<EncodedMetrics[]> {
  const encoded: EncodedMetrics[] = []
  let smallMetrics: MetricRows[] = []
  let smallMetricRows = 0
  const flush = async (): Promise<void> => {
    if (smallMetrics.length === 0) return
    const block = encodeTogether(resolutionMs, smallMetrics)
    if (block !== undefined)
      encoded.push({ block, roundMetrics: smallMetrics.flatMap((metric) => metric.roundMetrics) })
    else for (const metric of smallMetrics) await encodeInOwnBlocks(metric)
    smallMetrics = []
    smallMetricRows = 0
  }
  const encodeInOwnBlocks = async ({ metricId, rows, roundMetrics }: MetricRows): Promise<void> => {
    const blocks: EncodedBlock[] = []
    try {
      for (let from = 0; from < rows.length; from += ROUND_BLOCK_ROWS_MAX) {
        const to = Math.min(rows.length, from + ROUND_BLOCK_ROWS_MAX)
        for (const block of encodeBlocks(resolutionMs, metricId, rows, { rowsMax: ROUND_BLOCK_ROWS_MAX, from, to }))
          blocks.push(block)
        await pace.pause()
      }
    } catch (cause) {
      onFault(roundMetrics, cause)
      return
    }
    for (const [i, block] of blocks.entries()) encoded.push({ block, roundMetrics: i === 0 ? roundMetrics : [] })
  }
  for (const metric of rowsByMetric(resolutionMs, roundMetrics, onFault)) {
    await pace.pause()
    if (metric.rows.length > ROUND_BLOCK_ROWS_MAX) {
      await encodeInOwnBlocks(metric)
      continue
    }
    if (smallMetrics.length >= ROUND_BLOCK_METRICS_MAX || smallMetricRows + metric.rows.length > ROUND_BLOCK_ROWS_MAX)
      await flush()
    smallMetrics.push(metric)
    smallMetricRows += metric.rows.length
  }
  await flush()
  return encoded
}

/** Encodes several metrics into one block. Returns undefined if they do not fit or if a metric cannot be encoded. */
function encodeTogether(resolutionMs: number, metrics: readonly MetricRows[]): EncodedBlock | undefined {
  try {
    const block = encodeBlock(resolutionMs, metrics)
    const fits = block.scalars.length <= BLOCK_BYTES_MAX && (block.sketches?.length ?? 0) <= BLOCK_BYTES_MAX
    return fits ? block : undefined
  } catch {
    // The caller then encodes each metric alone, which identifies the faulty one.
    return undefined
  }
}

/**
 * Yields the merged rows of each metric. There may be several `Metric` objects for one metric, if the registry evicted
 * it while the round was open.
 */
function* rowsByMetric(
  resolutionMs: number,
  roundMetrics: readonly RoundMetric[],
  onFault: OnEncodingFault,
): Generator<MetricRows> {
  const byId = new Map<string, RoundMetric[]>()
  for (const roundMetric of roundMetrics) {
    const id = formatId(roundMetric.metric.row!.metricId)
    const sameMetric = byId.get(id)
    if (sameMetric === undefined) byId.set(id, [roundMetric])
    else sameMetric.push(roundMetric)
  }
  for (const sameMetric of byId.values()) {
    try {
      const tables = sameMetric.map(({ table }) => table.toSortedRows())
      const rows = tables.length === 1 ? tables[0]! : mergeRows(tables, resolutionMs)
      yield { metricId: sameMetric[0]!.metric.row!.metricId, rows, roundMetrics: sameMetric }
    } catch (cause) {
      onFault(sameMetric, cause)
    }
  }
}

export function metricUpdates(roundMetrics: readonly RoundMetric[]): MetricUpdate[] {
  return roundMetrics.map(({ metric, points, firstMs, lastMs, cumulative }) => {
    const { metricId, generation } = metric.row!
    return { metricId, generation, definition: metric.definition, points, firstMs, lastMs, cumulative }
  })
}

export function seriesRegistrations(series: readonly Series[]): SeriesRegistration[] {
  return series.map(({ metric, id, tags }) => ({ metricId: metric.row!.metricId, seriesId: id!, tags }))
}

export function setMembers(roundMetrics: readonly RoundMetric[]): SetMembers[] {
  const members: SetMembers[] = []
  for (const { metric, members: sets } of roundMetrics) {
    if (sets === undefined) continue
    const { metricId } = metric.row!
    for (const [{ id }, buckets] of sets) {
      for (const [bucketMs, set] of buckets) members.push({ metricId, seriesId: id!, bucketMs, members: [...set] })
    }
  }
  return members
}

/**
 * Returns the idempotency marker of one part of a request. A request may have several parts in a partition. A marker
 * depends on the kind of content and on the position among the parts of this kind, but not on the points. So a retry
 * gets the same markers if it has as many parts of each kind, even if other items are rejected. The line feed cannot
 * occur in an idempotency key.
 */
export function partMarker(
  { project, key }: IdempotencyMarker,
  kind: 'values' | 'sets' | 'events',
  position: number,
): IdempotencyMarker {
  const suffix = kind === 'values' && position === 0 ? '' : `\n${kind}${position === 0 ? '' : position}`
  return { project, key: key + suffix }
}

/** Returns the idempotency marker of the part with the events of a request. */
export function eventsMarker(marker: IdempotencyMarker): IdempotencyMarker {
  return partMarker(marker, 'events', 0)
}
