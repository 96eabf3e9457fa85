import { formatId, type Id64 } from '../../model/id.ts'
import type { Pace } from '../../model/steps.ts'
import { BLOCK_BYTES_MAX } from '../../rollup/block-format.ts'
import { type EncodedBlock, encodeBlock, encodeBlocks } from '../../rollup/encode-block.ts'
import { mergeRows } from '../../rollup/merge-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { RollupTable } from '../../rollup/rollup-table.ts'
import type { CommitPart, Marker, MetricTouch, SeriesTouch, SetMembers } from '../../store/store.ts'
import type { Metric, Series } from './cached-metric.ts'

/**
 * Encodes a round into parts of commits. Small metrics share a block, a large one has several blocks of its own. A
 * metric that cannot be encoded fails alone, with the requests that brought points of it.
 */

/**
 * Rows of one block: it stays below `BLOCK_BYTES_MAX` in nearly all cases, and a fold need not divide it for its rows.
 */
const BLOCK_ROWS_MAX = 8_192

/** Metrics of one block: a fold takes whole blocks, and writes each metric at every resolution. */
const BLOCK_METRICS_MAX = 512

/** What one metric received in a round. */
export interface MetricRound {
  readonly metric: Metric
  readonly table: RollupTable
  points: number
  firstMs: number
  lastMs: number
  cumulative: boolean
  /** All its series when the round keeps them, else those not registered yet. A series may occur twice. */
  readonly series: Series[]
  readonly members: Map<Series, Map<number, Set<string>>>
  /** Which requests of the round brought points of it, the latest last. */
  readonly requests: number[]
}

/** An encoded part of a commit, and what the writer has to know about it. */
export interface EncodedPart {
  /** Announces the series that no applied commit of this process has announced. */
  readonly part: CommitPart
  readonly announced: readonly Series[]
  /** Every series that the part holds points of, when the round keeps them; else those announced. */
  readonly series: readonly Series[]
  /** Events count as one each. */
  readonly points: number
}

/** A metric that cannot be encoded, which is a defect. */
export interface EncodingFault {
  /** The requests that brought points of it. */
  readonly requests: readonly number[]
  readonly cause: unknown
}

export interface EncodedMetrics {
  readonly block: EncodedBlock
  /** Each metric is listed with the first block that holds some of it. */
  readonly touched: readonly MetricRound[]
}

interface MetricRows {
  readonly metricId: Id64
  readonly rows: RollupRows
  readonly rounds: readonly MetricRound[]
}

/** Called with metrics that cannot be encoded. */
export type OnFault = (rounds: readonly MetricRound[], cause: unknown) => void

/** Packs metrics into blocks. */
export async function encodeMetrics(
  stepMs: number,
  rounds: readonly MetricRound[],
  onFault: OnFault,
  pacer: Pace,
): Promise<EncodedMetrics[]> {
  const encoded: EncodedMetrics[] = []
  let packed: MetricRows[] = []
  let packedRows = 0
  const flush = async (): Promise<void> => {
    if (packed.length === 0) return
    const block = encodePacked(stepMs, packed)
    if (block !== undefined) encoded.push({ block, touched: packed.flatMap((metric) => metric.rounds) })
    else for (const metric of packed) await encodeAlone(metric)
    packed = []
    packedRows = 0
  }
  const encodeAlone = async ({ metricId, rows, rounds: touched }: MetricRows): Promise<void> => {
    const blocks: EncodedBlock[] = []
    try {
      for (let from = 0; from < rows.length; from += BLOCK_ROWS_MAX) {
        const to = Math.min(rows.length, from + BLOCK_ROWS_MAX)
        for (const block of encodeBlocks(stepMs, metricId, rows, { rowsMax: BLOCK_ROWS_MAX, from, to }))
          blocks.push(block)
        await pacer.pause()
      }
    } catch (cause) {
      onFault(touched, cause)
      return
    }
    for (const [i, block] of blocks.entries()) encoded.push({ block, touched: i === 0 ? touched : [] })
  }
  for (const metric of rowsByMetric(stepMs, rounds, onFault)) {
    await pacer.pause()
    if (metric.rows.length > BLOCK_ROWS_MAX) {
      await encodeAlone(metric)
      continue
    }
    if (packed.length >= BLOCK_METRICS_MAX || packedRows + metric.rows.length > BLOCK_ROWS_MAX) await flush()
    packed.push(metric)
    packedRows += metric.rows.length
  }
  await flush()
  return encoded
}

/** Undefined: they do not fit into one block, or some metric cannot be encoded. */
function encodePacked(stepMs: number, packed: readonly MetricRows[]): EncodedBlock | undefined {
  try {
    const block = encodeBlock(stepMs, packed)
    const fits = block.scalars.length <= BLOCK_BYTES_MAX && (block.sketches?.length ?? 0) <= BLOCK_BYTES_MAX
    return fits ? block : undefined
  } catch {
    // Each metric is tried alone, which finds the one at fault.
    return undefined
  }
}

/** One entry a metric, even where the registry was cleared meanwhile and two objects stand for the metric. */
function* rowsByMetric(stepMs: number, rounds: readonly MetricRound[], onFault: OnFault): Generator<MetricRows> {
  const byId = new Map<string, MetricRound[]>()
  for (const round of rounds) {
    const id = formatId(round.metric.row!.metricId)
    const same = byId.get(id)
    if (same === undefined) byId.set(id, [round])
    else same.push(round)
  }
  for (const same of byId.values()) {
    try {
      const tables = same.map(({ table }) => table.sort())
      const rows = tables.length === 1 ? tables[0]! : mergeRows(tables, stepMs)
      yield { metricId: same[0]!.metric.row!.metricId, rows, rounds: same }
    } catch (cause) {
      onFault(same, cause)
    }
  }
}

export function metricTouches(rounds: readonly MetricRound[]): MetricTouch[] {
  return rounds.map(({ metric, points, firstMs, lastMs, cumulative }) => {
    const { metricId, generation } = metric.row!
    return { metricId, generation, definition: metric.definition, points, firstMs, lastMs, cumulative }
  })
}

export function seriesTouches(series: readonly Series[]): SeriesTouch[] {
  return series.map(({ metric, id, tags }) => ({ metricId: metric.row!.metricId, seriesId: id!, tags }))
}

export function setMembers(rounds: readonly MetricRound[]): SetMembers[] {
  const members: SetMembers[] = []
  for (const { metric, members: sets } of rounds) {
    const { metricId } = metric.row!
    for (const [{ id }, buckets] of sets) {
      for (const [bucketMs, set] of buckets) members.push({ metricId, seriesId: id!, bucketMs, members: [...set] })
    }
  }
  return members
}

/**
 * The marker of one part of a request. A request may need several parts in a partition. Their markers differ by what
 * the parts hold and not by their order, so that a retry meets the same markers even when more or fewer of its items
 * are rejected. No idempotency key holds a line feed.
 */
export function partMarker({ project, key }: Marker, kind: 'values' | 'sets' | 'events', position: number): Marker {
  const suffix = kind === 'values' && position === 0 ? '' : `\n${kind}${position === 0 ? '' : position}`
  return { project, key: key + suffix }
}

/** The marker of a request's events in a partition. */
export function eventsMarker(marker: Marker): Marker {
  return partMarker(marker, 'events', 0)
}
