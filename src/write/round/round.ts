import { formatId, type Id64 } from '../../model/id.ts'
import { Pacer } from '../../model/pacer.ts'
import type { Steps } from '../../model/steps.ts'
import { BLOCK_BYTES_MAX, type EncodedBlock, encodeBlock, encodeBlocks } from '../../rollup/block.ts'
import { mergeRows } from '../../rollup/merge-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { RollupTable } from '../../rollup/rollup-table.ts'
import type { StoredEvent } from '../../store/events.ts'
import type { CommitPart, Marker, MetricTouch, SeriesTouch, SetMembers } from '../../store/store.ts'
import { MEMBER, type PointBatch, TOTAL, VALUE, WEIGHTED } from './point-batch.ts'
import type { Metric, Registry, Series } from './registry.ts'
import type { TablePool } from './table-pool.ts'

/** Rows of one block, so that it stays below `BLOCK_BYTES_MAX` in all but odd cases, and a fold need not divide it for its rows. */
const BLOCK_ROWS_MAX = 8_192

/** Metrics of one block: a fold takes whole blocks, and writes each metric at every resolution. */
const BLOCK_METRICS_MAX = 512

/** What a metric, a point, a row and a set member take in memory, about. A metric has a table; a point may open a bin of a sketch. */
const METRIC_BYTES = 4_096
const POINT_BYTES = 64
const ROW_BYTES = 128
const MEMBER_BYTES = 64
const EVENT_BYTES = 256

/** Points that are folded before the event loop runs other work. */
export const POINTS_PER_STEP = 10_000

/** What one metric received in a round. */
interface MetricRound {
  readonly metric: Metric
  readonly table: RollupTable
  points: number
  firstMs: number
  lastMs: number
  cumulative: boolean
  /** All its series when the round keeps them, else those not registered yet. A series may occur twice. */
  readonly series: Series[]
  readonly members: Map<Series, Map<number, Set<string>>>
  /** Which requests of the round brought some of it, the latest last. */
  readonly requests: number[]
}

export interface RoundSettings {
  readonly baseMs: number
  readonly setBaseMs: number
}

export interface RoundContext {
  readonly settings: RoundSettings
  readonly registry: Registry
  readonly tables: TablePool
  /** Whether parts know all their series: to be offered again to a store that forgot some. */
  readonly keepsSeries: boolean
}

/** A part of a commit and what the writer has to know of it. */
export interface RoundPart {
  /** Announces the series that no applied commit of ours has. */
  readonly part: CommitPart
  readonly announced: readonly Series[]
  /** Every series that the part holds points of, when the round keeps them; else those announced. */
  readonly series: readonly Series[]
  /** Events counted as one each. */
  readonly points: number
}

/** A metric of which a round holds something that cannot be encoded, which is a defect: the requests that brought points of it fail alone. */
export interface RoundFault {
  readonly requests: readonly number[]
  readonly cause: unknown
}

export interface EncodedRound {
  /** By partition. */
  readonly parts: ReadonlyMap<number, RoundPart[]>
  readonly faults: readonly RoundFault[]
}

/** An event and the partition that keeps it. */
export interface PlacedEvent {
  readonly partition: number
  readonly event: StoredEvent
  /** Of a request with a key: the id by the time of the marker, which is not known before the commit. */
  readonly idAt?: (acceptedMs: number) => string
}

/**
 * The points of all requests that ride in one commit, folded into rollups as they come: the hot path. A series remembers its
 * latest row, so a point of a known series in a known bucket is a comparison and an addition.
 */
export class Round {
  readonly epoch: number
  readonly #context: RoundContext
  readonly #marker: Marker | undefined
  readonly #metrics: MetricRound[] = []
  /** Where a metric is in `#metrics`; asked when it was in another round meanwhile. */
  readonly #slots = new Map<Metric, number>()
  readonly #events = new Map<number, PlacedEvent[]>()
  /** Memory held by the round, about: what back-pressure counts. */
  bytes = 0
  /** How many requests were folded into it. */
  requests = 0

  /** With a marker it is of one request. `epoch` is of this round alone. */
  constructor(epoch: number, context: RoundContext, marker?: Marker) {
    this.epoch = epoch
    this.#context = context
    this.#marker = marker
  }

  /** Folds the points of a batch, or those at `positions`, except those of refused items; returns their number. */
  fold(batch: PointBatch, refused: ReadonlySet<number>, positions?: readonly number[]): number {
    return this.#fold(batch, refused, positions, this.requests++, 0, positions?.length ?? batch.length)
  }

  /** The same for a batch of many points, in steps. The round must take no other request. */
  *foldInSteps(batch: PointBatch, refused: ReadonlySet<number>, positions?: readonly number[]): Steps<number> {
    const request = this.requests++
    const length = positions?.length ?? batch.length
    let points = 0
    for (let from = 0; from < length; from += POINTS_PER_STEP) {
      points += this.#fold(batch, refused, positions, request, from, Math.min(length, from + POINTS_PER_STEP))
      yield
    }
    return points
  }

  #fold(
    batch: PointBatch,
    refused: ReadonlySet<number>,
    positions: readonly number[] | undefined,
    request: number,
    from: number,
    to: number,
  ): number {
    const { keepsSeries, registry, settings } = this.#context
    const { baseMs, setBaseMs } = settings
    const { generation } = registry
    const { series: all, timeMs: times, value: values, mode: modes, weight: weights } = batch
    const checked = refused.size > 0
    let skipped = 0
    let bytes = (to - from) * POINT_BYTES
    for (let k = from; k < to; k++) {
      const i = positions === undefined ? k : positions[k]!
      if (checked && refused.has(batch.item[i]!)) {
        skipped++
        continue
      }
      const series = all[i]!
      const { metric } = series
      const slot = metric.epoch === this.epoch ? this.#metrics[metric.slot]! : this.#begin(metric)
      if (slot.requests[slot.requests.length - 1] !== request) slot.requests.push(request)
      const timeMs = times[i]!
      const mode = modes[i]!
      const stepMs = mode === MEMBER ? setBaseMs : baseMs
      const bucketMs = timeMs - mod(timeMs, stepMs)
      let row: number
      if (series.epoch === this.epoch && series.bucketMs === bucketMs) row = series.row
      else {
        const id = series.id!
        row = slot.table.addRow(id.hi, id.lo, bucketMs)
        bytes += ROW_BYTES
        if (series.epoch !== this.epoch) {
          series.epoch = this.epoch
          if (keepsSeries || series.registeredIn !== generation) slot.series.push(series)
        }
        series.bucketMs = bucketMs
        series.row = row
      }
      if (mode === VALUE) slot.table.addValue(row, timeMs, values[i]!)
      else if (mode === WEIGHTED) slot.table.addWeighted(row, timeMs, values[i]!, weights[i]!)
      else if (mode === TOTAL) {
        slot.table.addTotal(row, timeMs, values[i]!)
        slot.cumulative = true
      } else if (mode === MEMBER) {
        slot.table.addMember(row)
        const member = batch.members[values[i]!]!
        addMember(slot.members, series, bucketMs, member)
        bytes += MEMBER_BYTES + 2 * member.length
      }
      slot.points++
      if (timeMs < slot.firstMs) slot.firstMs = timeMs
      if (timeMs > slot.lastMs) slot.lastMs = timeMs
    }
    this.bytes += bytes
    return to - from - skipped
  }

  addEvents(placed: readonly PlacedEvent[]): void {
    for (const one of placed) {
      const ofPartition = this.#events.get(one.partition)
      if (ofPartition === undefined) this.#events.set(one.partition, [one])
      else ofPartition.push(one)
      this.bytes += EVENT_BYTES + 2 * one.event.json.length
    }
  }

  /** The parts to commit; no point may follow. `blockName` answers a name never used before. Requests have their turn in between. */
  async encode(nowMs: number, blockName: (partition: number) => string): Promise<EncodedRound> {
    const byPartition = new Map<number, MetricRound[]>()
    for (const round of this.#metrics) {
      const partition = round.metric.row!.partition
      const list = byPartition.get(partition)
      if (list === undefined) byPartition.set(partition, [round])
      else list.push(round)
    }
    const { settings, tables } = this.#context
    const parts = new Map<number, RoundPart[]>()
    const faults: RoundFault[] = []
    const pacer = new Pacer()
    const refuse = (failed: readonly MetricRound[], cause: unknown): void => {
      for (const { requests } of failed) faults.push({ requests, cause })
    }
    for (const [partition, rounds] of byPartition) {
      const ofPartition: RoundPart[] = []
      for (const kind of ['values', 'sets'] as const) {
        const stepMs = kind === 'sets' ? settings.setBaseMs : settings.baseMs
        let position = 0
        const ofKind = rounds.filter(({ metric }) => (metric.kind === 'set') === (kind === 'sets'))
        for (const { block, touched } of await encodeRounds(stepMs, ofKind, refuse, pacer)) {
          const { scalars, sketches } = block
          const series = touched.length === 1 ? touched[0]!.series : touched.flatMap((round) => round.series)
          const announced = this.#unregistered(series)
          const part: CommitPart = {
            ...(this.#marker === undefined ? {} : { marker: partMarker(this.#marker, kind, position++) }),
            block: { name: blockName(partition), scalars, sketches },
            metrics: metricTouches(touched),
            series: seriesTouches(announced),
            members: setMembers(touched),
            events: [],
            nowMs,
          }
          ofPartition.push({ part, announced, series, points: touched.reduce((sum, { points }) => sum + points, 0) })
        }
      }
      parts.set(partition, ofPartition)
    }
    for (const { table } of this.#metrics) tables.give(table)
    for (const [partition, events] of this.#events) {
      const part: CommitPart = {
        ...(this.#marker === undefined ? {} : { marker: eventsMarker(this.#marker) }),
        metrics: [],
        series: [],
        members: [],
        events: events.map(({ event, idAt }) => (idAt === undefined ? event : { ...event, id: idAt(nowMs) })),
        nowMs,
      }
      const ofEvents: RoundPart = { part, announced: [], series: [], points: events.length }
      const ofPartition = parts.get(partition)
      if (ofPartition === undefined) parts.set(partition, [ofEvents])
      else ofPartition.push(ofEvents)
    }
    return { parts, faults }
  }

  #unregistered(series: readonly Series[]): readonly Series[] {
    const { keepsSeries, registry } = this.#context
    return keepsSeries ? series.filter((one) => !registry.isRegistered(one)) : series
  }

  #begin(metric: Metric): MetricRound {
    metric.epoch = this.epoch
    const slot = this.#slots.get(metric)
    if (slot !== undefined) {
      metric.slot = slot
      return this.#metrics[slot]!
    }
    this.bytes += METRIC_BYTES
    const table = this.#context.tables.take(metric.kind)
    const round: MetricRound = {
      metric,
      table,
      points: 0,
      firstMs: Number.POSITIVE_INFINITY,
      lastMs: Number.NEGATIVE_INFINITY,
      cumulative: false,
      series: [],
      members: new Map(),
      requests: [],
    }
    metric.slot = this.#metrics.push(round) - 1
    this.#slots.set(metric, metric.slot)
    return round
  }
}

/** Remainder towards minus infinity: times before 1970 lie in buckets too. */
function mod(value: number, step: number): number {
  const rest = value % step
  return rest < 0 ? rest + step : rest
}

function addMember(members: MetricRound['members'], series: Series, bucketMs: number, member: string): void {
  let buckets = members.get(series)
  if (buckets === undefined) members.set(series, (buckets = new Map()))
  let set = buckets.get(bucketMs)
  if (set === undefined) buckets.set(bucketMs, (set = new Set()))
  set.add(member)
}

interface EncodedRounds {
  readonly block: EncodedBlock
  /** Each metric is named by the first block that holds some of it. */
  readonly touched: readonly MetricRound[]
}

interface MetricRows {
  readonly metricId: Id64
  readonly rows: RollupRows
  readonly rounds: readonly MetricRound[]
}

/** Told of metrics that cannot be encoded. */
type Refuse = (rounds: readonly MetricRound[], cause: unknown) => void

/** Packs metrics into blocks: small ones share a block, large ones have several of their own. */
async function encodeRounds(
  stepMs: number,
  rounds: readonly MetricRound[],
  refuse: Refuse,
  pacer: Pacer,
): Promise<EncodedRounds[]> {
  const encoded: EncodedRounds[] = []
  let packed: MetricRows[] = []
  let packedRows = 0
  const flush = (): void => {
    if (packed.length === 0) return
    const block = encodePacked(stepMs, packed)
    if (block !== undefined) encoded.push({ block, touched: packed.flatMap(({ rounds: of }) => of) })
    else for (const metric of packed) encodeAlone(metric)
    packed = []
    packedRows = 0
  }
  const encodeAlone = ({ metricId, rows, rounds: of }: MetricRows): void => {
    try {
      for (const [i, block] of encodeBlocks(stepMs, metricId, rows, { rowsMax: BLOCK_ROWS_MAX }).entries())
        encoded.push({ block, touched: i === 0 ? of : [] })
    } catch (cause) {
      refuse(of, cause)
    }
  }
  for (const metric of rowsByMetric(stepMs, rounds, refuse)) {
    await pacer.pause()
    if (metric.rows.length > BLOCK_ROWS_MAX) {
      encodeAlone(metric)
      continue
    }
    if (packed.length >= BLOCK_METRICS_MAX || packedRows + metric.rows.length > BLOCK_ROWS_MAX) flush()
    packed.push(metric)
    packedRows += metric.rows.length
  }
  flush()
  return encoded
}

/** Undefined: not all of them fit into one block, or some metric cannot be encoded. */
function encodePacked(stepMs: number, packed: readonly MetricRows[]): EncodedBlock | undefined {
  try {
    const block = encodeBlock(stepMs, packed)
    const fits = block.scalars.length <= BLOCK_BYTES_MAX && (block.sketches?.length ?? 0) <= BLOCK_BYTES_MAX
    return fits ? block : undefined
  } catch {
    // Each is tried by itself, which tells whose fault it is.
    return undefined
  }
}

/** One entry a metric, even where the registry was cleared meanwhile and knows it by two objects. */
function* rowsByMetric(stepMs: number, rounds: readonly MetricRound[], refuse: Refuse): Generator<MetricRows> {
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
      refuse(same, cause)
    }
  }
}

function metricTouches(rounds: readonly MetricRound[]): MetricTouch[] {
  return rounds.map(({ metric, points, firstMs, lastMs, cumulative }) => {
    const { metricId, generation } = metric.row!
    return { metricId, generation, definition: metric.definition, points, firstMs, lastMs, cumulative }
  })
}

export function seriesTouches(series: readonly Series[]): SeriesTouch[] {
  return series.map(({ metric, id, tags }) => ({ metricId: metric.row!.metricId, seriesId: id!, tags }))
}

function setMembers(rounds: readonly MetricRound[]): SetMembers[] {
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
 * A request may need several parts in a partition, and each needs a marker of its own. They differ by what lies in them, not by
 * their order, so that a retry of which less or more is rejected meets the same ones. No key holds a line feed.
 */
function partMarker({ project, key }: Marker, kind: 'values' | 'sets' | 'events', position: number): Marker {
  const suffix = kind === 'values' && position === 0 ? '' : `\n${kind}${position === 0 ? '' : position}`
  return { project, key: key + suffix }
}

/** The marker of a request's events in a partition. */
export function eventsMarker(marker: Marker): Marker {
  return partMarker(marker, 'events', 0)
}
