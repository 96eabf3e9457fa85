import type { Pace, Steps } from '../../model/steps.ts'
import type { StoredEvent } from '../../store/events.ts'
import type { CommitPart, IdempotencyMarker } from '../../store/store.ts'
import type { Metric, Series } from './cached-metric.ts'
import {
  type EncodedPart,
  type EncodingFault,
  encodeMetrics,
  eventsMarker,
  metricUpdates,
  type OnEncodingFault,
  partMarker,
  type RoundMetric,
  seriesRegistrations,
  setMembers,
} from './encode-round.ts'
import {
  COUNTER_START,
  END_MARKER,
  type PointBatch,
  RUNNING_TOTAL,
  SET_MEMBER,
  VALUE,
  WEIGHTED_VALUE,
} from './point-batch.ts'
import type { Registry } from './registry.ts'
import type { TablePool } from './table-pool.ts'

/**
 * Estimated memory of a metric (its table), a point (a bin of a sketch), a row, a set member and an event. The texts of
 * members and events count in addition.
 */
const METRIC_MEMORY_BYTES = 4_096
const POINT_MEMORY_BYTES = 64
const ROW_MEMORY_BYTES = 128
const MEMBER_MEMORY_BYTES = 64
const EVENT_MEMORY_BYTES = 256

/** Maximum number of points in one step of `addRequestInSteps`. */
const POINTS_PER_STEP = 10_000

export interface RoundSettings {
  readonly baseResolutionMs: number
  readonly baseSetResolutionMs: number
}

export interface RoundContext {
  readonly settings: RoundSettings
  readonly registry: Registry
  readonly tablePool: TablePool
  /** Whether each part has a list of all of its series, so that a replay after lost writes can register them again. */
  readonly keepsSeries: boolean
}

export interface EncodedRound {
  /** The encoded parts, by partition. */
  readonly parts: ReadonlyMap<number, EncodedPart[]>
  readonly faults: readonly EncodingFault[]
}

/** An event, and the partition that stores it. */
export interface PartitionEvent {
  readonly partition: number
  readonly event: StoredEvent
  /**
   * Returns the id of the event. Absent if its request has no idempotency key. `acceptedMs` is the commit time of
   * the part with the event. The marker of the part keeps this time, so a retry can compute the same id.
   */
  readonly eventIdAt?: (acceptedMs: number) => string
}

interface RequestEvent extends PartitionEvent {
  readonly requestIndex: number
}

/**
 * The points of one or more requests, which are encoded together and share commits. They are aggregated into rollups as
 * they arrive. Performance matters here: each series remembers its latest row, so that a point for this row needs no
 * look-up.
 */
export class Round {
  /** Unique in this process. */
  readonly roundNumber: number
  readonly #context: RoundContext
  /** The marker of the only request. Undefined: the requests have no idempotency key. */
  readonly #marker: IdempotencyMarker | undefined
  readonly #metrics: RoundMetric[] = []
  /** The index of each metric in `#metrics`. Needed if another round has overwritten `Metric.indexInLastRound`. */
  readonly #indexByMetric = new Map<Metric, number>()
  /** Events by partition. */
  readonly #events = new Map<number, RequestEvent[]>()
  /** Estimated memory of the round. It counts towards `GroupCommit.pendingBytes` while the round waits for a commit. */
  memoryBytes = 0
  /** Number of requests that were added to this round. */
  requestCount = 0

  /** A round with a marker contains only one request. */
  constructor(roundNumber: number, context: RoundContext, marker?: IdempotencyMarker) {
    this.roundNumber = roundNumber
    this.#context = context
    this.#marker = marker
  }

  /**
   * Adds the points of a batch, or only the points at `positions`, as one request. Returns their number, with end
   * markers.
   */
  addRequest(batch: PointBatch, positions?: readonly number[]): number {
    return this.#addPoints(batch, positions, this.requestCount++, 0, positions?.length ?? batch.length)
  }

  /** Same as `addRequest`, but in steps, for a large batch. No other request may be added to the round meanwhile. */
  *addRequestInSteps(batch: PointBatch, positions?: readonly number[]): Steps<number> {
    const requestIndex = this.requestCount++
    const length = positions?.length ?? batch.length
    let points = 0
    for (let from = 0; from < length; from += POINTS_PER_STEP) {
      points += this.#addPoints(batch, positions, requestIndex, from, Math.min(length, from + POINTS_PER_STEP))
      yield
    }
    return points
  }

  #addPoints(
    batch: PointBatch,
    positions: readonly number[] | undefined,
    requestIndex: number,
    from: number,
    to: number,
  ): number {
    const { keepsSeries, registry, settings } = this.#context
    const { baseResolutionMs, baseSetResolutionMs } = settings
    const { version } = registry
    const { series: seriesColumn, timeMs: times, value: values, pointKind: pointKinds, weight: weights } = batch
    let bytes = (to - from) * POINT_MEMORY_BYTES
    for (let k = from; k < to; k++) {
      const i = positions === undefined ? k : positions[k]!
      const series = seriesColumn[i]!
      const { metric } = series
      const roundMetric =
        metric.lastRoundNumber === this.roundNumber
          ? this.#metrics[metric.indexInLastRound]!
          : this.#roundMetricOf(metric)
      if (roundMetric.requestIndexes[roundMetric.requestIndexes.length - 1] !== requestIndex)
        roundMetric.requestIndexes.push(requestIndex)
      const timeMs = times[i]!
      const pointKind = pointKinds[i]!
      const resolutionMs = pointKind === SET_MEMBER ? baseSetResolutionMs : baseResolutionMs
      const bucketMs = timeMs - mod(timeMs, resolutionMs)
      const { table } = roundMetric
      let row: number
      if (series.lastRoundNumber === this.roundNumber && table.bucketMs[series.lastRowIndex] === bucketMs)
        row = series.lastRowIndex
      else {
        const id = series.id!
        row = table.addRow(id.hi, id.lo, bucketMs)
        bytes += ROW_MEMORY_BYTES
        if (series.lastRoundNumber !== this.roundNumber) {
          series.lastRoundNumber = this.roundNumber
          if (keepsSeries || series.registeredInVersion !== version) roundMetric.series.push(series)
        }
        series.lastRowIndex = row
      }
      if (pointKind === END_MARKER) {
        table.addEnd(row, timeMs)
        continue
      }
      if (pointKind === VALUE) table.addValue(row, timeMs, values[i]!)
      else if (pointKind === WEIGHTED_VALUE) table.addWeighted(row, timeMs, values[i]!, weights[i]!)
      else if (pointKind === RUNNING_TOTAL || pointKind === COUNTER_START) {
        table.addTotal(row, timeMs, pointKind === RUNNING_TOTAL ? values[i]! : 0)
        roundMetric.cumulative = true
      } else if (pointKind === SET_MEMBER) {
        table.addMember(row)
        const member = batch.members[values[i]!]!
        addMember(roundMetric.members!, series, bucketMs, member)
        bytes += MEMBER_MEMORY_BYTES + 2 * member.length
      }
      roundMetric.points++
      if (timeMs < roundMetric.firstMs) roundMetric.firstMs = timeMs
      if (timeMs > roundMetric.lastMs) roundMetric.lastMs = timeMs
    }
    this.memoryBytes += bytes
    return to - from
  }

  /** Adds events of the request whose points were added last. */
  addEvents(partitionEvents: readonly PartitionEvent[]): void {
    const requestIndex = this.requestCount - 1
    for (const event of partitionEvents) {
      const { partition } = event
      const events = this.#events.get(partition)
      if (events === undefined) this.#events.set(partition, [{ ...event, requestIndex }])
      else events.push({ ...event, requestIndex })
      this.memoryBytes += EVENT_MEMORY_BYTES + 2 * event.event.json.length
    }
  }

  /** Returns, for each partition, the indexes of the requests that have points or events in it. */
  requestIndexesByPartition(): ReadonlyMap<number, ReadonlySet<number>> {
    const requestsByPartition = new Map<number, Set<number>>()
    const requestsOf = (partition: number): Set<number> => {
      let requests = requestsByPartition.get(partition)
      if (requests === undefined) requestsByPartition.set(partition, (requests = new Set()))
      return requests
    }
    for (const { metric, requestIndexes } of this.#metrics) {
      const requests = requestsOf(metric.row!.partition)
      for (const requestIndex of requestIndexes) requests.add(requestIndex)
    }
    for (const [partition, events] of this.#events) {
      const requests = requestsOf(partition)
      for (const { requestIndex } of events) requests.add(requestIndex)
    }
    return requestsByPartition
  }

  /**
   * Encodes the round as parts of commits. No point or event may be added afterwards. `newBlockName` returns a name
   * that was never used before.
   */
  async encode(nowMs: number, newBlockName: (partition: number) => string, pace: Pace): Promise<EncodedRound> {
    const byPartition = new Map<number, RoundMetric[]>()
    for (const roundMetric of this.#metrics) {
      const { partition } = roundMetric.metric.row!
      const roundMetrics = byPartition.get(partition)
      if (roundMetrics === undefined) byPartition.set(partition, [roundMetric])
      else roundMetrics.push(roundMetric)
    }
    const parts = new Map<number, EncodedPart[]>()
    const faults: EncodingFault[] = []
    const onFault: OnEncodingFault = (failed, cause) => {
      for (const { requestIndexes } of failed) faults.push({ requestIndexes, cause })
    }
    for (const [partition, roundMetrics] of byPartition) {
      const newName = (): string => newBlockName(partition)
      parts.set(partition, await this.#encodePartition(roundMetrics, nowMs, newName, onFault, pace))
    }
    for (const { table } of this.#metrics) this.#context.tablePool.giveBack(table)
    for (const [partition, events] of this.#events) {
      const part = this.#encodeEvents(events, nowMs)
      const partsOfPartition = parts.get(partition)
      if (partsOfPartition === undefined) parts.set(partition, [part])
      else partsOfPartition.push(part)
    }
    return { parts, faults }
  }

  async #encodePartition(
    roundMetrics: readonly RoundMetric[],
    nowMs: number,
    newBlockName: () => string,
    onFault: OnEncodingFault,
    pace: Pace,
  ): Promise<EncodedPart[]> {
    const { baseResolutionMs, baseSetResolutionMs } = this.#context.settings
    const parts: EncodedPart[] = []
    for (const kind of ['values', 'sets'] as const) {
      const resolutionMs = kind === 'sets' ? baseSetResolutionMs : baseResolutionMs
      let position = 0
      const sameKind = roundMetrics.filter(({ metric }) => (metric.kind === 'set') === (kind === 'sets'))
      if (sameKind.length === 0) continue
      for (const { block, roundMetrics } of await encodeMetrics(resolutionMs, sameKind, onFault, pace)) {
        const { scalars, sketches } = block
        const series =
          roundMetrics.length === 1
            ? roundMetrics[0]!.series
            : roundMetrics.flatMap((roundMetric) => roundMetric.series)
        const seriesToRegister = this.#withoutRegistered(series)
        const part: CommitPart = {
          ...(this.#marker === undefined ? {} : { marker: partMarker(this.#marker, kind, position++) }),
          block: { name: newBlockName(), scalars, sketches },
          metrics: metricUpdates(roundMetrics),
          series: seriesRegistrations(seriesToRegister),
          members: setMembers(roundMetrics),
          events: [],
          nowMs,
        }
        parts.push({
          part,
          seriesToRegister,
          series,
          points: roundMetrics.reduce((sum, { points }) => sum + points, 0),
        })
      }
    }
    return parts
  }

  #encodeEvents(events: readonly PartitionEvent[], nowMs: number): EncodedPart {
    const part: CommitPart = {
      ...(this.#marker === undefined ? {} : { marker: eventsMarker(this.#marker) }),
      metrics: [],
      series: [],
      members: [],
      events: events.map(({ event, eventIdAt }) =>
        eventIdAt === undefined ? event : { ...event, id: eventIdAt(nowMs) },
      ),
      nowMs,
    }
    return { part, seriesToRegister: [], series: [], points: events.length }
  }

  #withoutRegistered(series: readonly Series[]): readonly Series[] {
    const { keepsSeries, registry } = this.#context
    return keepsSeries ? series.filter((candidate) => !registry.isRegistered(candidate)) : series
  }

  #roundMetricOf(metric: Metric): RoundMetric {
    metric.lastRoundNumber = this.roundNumber
    const existingIndex = this.#indexByMetric.get(metric)
    if (existingIndex !== undefined) {
      metric.indexInLastRound = existingIndex
      return this.#metrics[existingIndex]!
    }
    this.memoryBytes += METRIC_MEMORY_BYTES
    const table = this.#context.tablePool.take(metric.kind)
    const roundMetric: RoundMetric = {
      metric,
      table,
      points: 0,
      firstMs: Number.POSITIVE_INFINITY,
      lastMs: Number.NEGATIVE_INFINITY,
      cumulative: false,
      series: [],
      members: metric.kind === 'set' ? new Map() : undefined,
      requestIndexes: [],
    }
    metric.indexInLastRound = this.#metrics.push(roundMetric) - 1
    this.#indexByMetric.set(metric, metric.indexInLastRound)
    return roundMetric
  }
}

/** Returns the remainder of a floored division. It is 0 or more, so that times before 1970 get the right bucket. */
function mod(value: number, step: number): number {
  const remainder = value % step
  return remainder < 0 ? remainder + step : remainder
}

function addMember(
  members: NonNullable<RoundMetric['members']>,
  series: Series,
  bucketMs: number,
  member: string,
): void {
  let buckets = members.get(series)
  if (buckets === undefined) members.set(series, (buckets = new Map()))
  let set = buckets.get(bucketMs)
  if (set === undefined) buckets.set(bucketMs, (set = new Set()))
  set.add(member)
}
