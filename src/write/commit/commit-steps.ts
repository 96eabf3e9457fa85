import { formatId, type Id64 } from '../../model/id.ts'
import type { Steps } from '../../model/steps.ts'
import type { MetricUpdate, SetMembers } from '../../store/store.ts'
import { type EncodedPart, seriesRegistrations } from '../round/encode-round.ts'

/**
 * Divides encoded rounds into steps. A step is at most one commit for each partition, and usually keeps a store busy
 * for a few milliseconds at most. A store applies a commit without interruption, so a large commit would delay all
 * other requests and could exceed the timeout of its call.
 *
 * If the new series or the set members of a part cost too much, they are moved to separate parts before it. The
 * separate parts need no idempotency marker: registering a series and adding a member are idempotent.
 */

/**
 * Maximum cost of a step: the estimated time in microseconds (`US`) that a Redis server needs to apply it. Only a step
 * of one part, or of inseparable parts, may cost more.
 */
export const STEP_COST_US_MAX = 6_000

/** Costs in microseconds of a part, and of each metric and each new series in it. */
const PART_COST_US = 20
const METRIC_COST_US = 10
const SERIES_COST_US = 5
/**
 * Costs in microseconds of a bucket of a set, with its copies at all resolutions, of a member in it, and of an event.
 */
const SET_BUCKET_COST_US = 60
const SET_MEMBER_COST_US = 0.6
const EVENT_COST_US = 3
/** Bytes of a block that the server stores in one microsecond. */
const BLOCK_BYTES_PER_US = 2_048

/** Maximum number of new series in one of the parts that `splitPart` splits off. */
const SERIES_PER_COMMIT_MAX = Math.floor(STEP_COST_US_MAX / (SERIES_COST_US + METRIC_COST_US))
/** Maximum number of members of a bucket that `splitPart` keeps together in a slice. A part may have several slices. */
const MEMBERS_PER_SLICE_MAX = Math.floor(STEP_COST_US_MAX / 2 / SET_MEMBER_COST_US)

/** Parts to commit, by partition. In a step, the parts of a partition are one commit. */
export type PartsByPartition = ReadonlyMap<number, readonly EncodedPart[]>

/**
 * Divides parts into steps. The parts of a partition keep their order. Yields after each part or inseparable group of
 * parts, because a round may be large.
 */
export function* commitSteps(parts: PartsByPartition): Steps<PartsByPartition[]> {
  const steps: PartsByPartition[] = []
  let step = new Map<number, EncodedPart[]>()
  let costUs = 0
  for (const [partition, partsOfPartition] of parts) {
    for (const unit of inseparableParts(partsOfPartition)) {
      const unitCostUs = unit.reduce((sum, part) => sum + costUsOf(part), 0)
      if (step.size > 0 && costUs + unitCostUs > STEP_COST_US_MAX) {
        steps.push(step)
        step = new Map()
        costUs = 0
      }
      const stepParts = step.get(partition)
      if (stepParts === undefined) step.set(partition, [...unit])
      else for (const part of unit) stepParts.push(part)
      costUs += unitCostUs
      yield
    }
  }
  if (step.size > 0) steps.push(step)
  return steps
}

/**
 * Yields lists of parts. The parts of a list must be in the same commit. A part with a block but without metrics
 * belongs to the part before it: its block has further rollups of the same metric.
 */
function* inseparableParts(parts: readonly EncodedPart[]): Iterable<readonly EncodedPart[]> {
  let unit: EncodedPart[] = []
  for (const part of parts) {
    const continuesPrevious = part.part.block !== undefined && part.part.metrics.length === 0
    if (!continuesPrevious && unit.length > 0) {
      yield unit
      unit = []
    }
    if (continuesPrevious || costUsOf(part) <= STEP_COST_US_MAX) {
      unit.push(part)
      continue
    }
    const pieces = splitPart(part)
    let piece = pieces.next()
    for (; piece.done !== true; piece = pieces.next()) yield [piece.value]
    unit.push(piece.value)
  }
  if (unit.length > 0) yield unit
}

/**
 * If a part has too many new series or set members, yields separate parts that have only these and their metrics.
 * Returns the part without the moved series and members.
 */
function* splitPart(encodedPart: EncodedPart): Generator<EncodedPart, EncodedPart, undefined> {
  const { part, seriesToRegister, series } = encodedPart
  const updatesById = new Map(part.metrics.map((update) => [formatId(update.metricId), withoutPoints(update)]))
  const updatesOf = (ids: Iterable<Id64>): MetricUpdate[] =>
    [...new Set([...ids].map(formatId))].flatMap((id) => updatesById.get(id) ?? [])
  const emptyPart = { metrics: [], series: [], members: [], events: [], nowMs: part.nowMs }
  const splitsSeries = seriesToRegister.length > SERIES_PER_COMMIT_MAX
  if (splitsSeries) {
    for (let from = 0; from < seriesToRegister.length; from += SERIES_PER_COMMIT_MAX) {
      const chunk = seriesToRegister.slice(from, from + SERIES_PER_COMMIT_MAX)
      const metrics = updatesOf(new Set(chunk.map(({ metric }) => metric.row!.metricId)))
      yield {
        part: { ...emptyPart, metrics, series: seriesRegistrations(chunk) },
        seriesToRegister: chunk,
        series: chunk,
        points: 0,
      }
    }
  }
  const splitsMembers = membersCostUs(part.members) > STEP_COST_US_MAX / 2
  if (splitsMembers) {
    const seriesByKey = new Map(series.map((each) => [keyOf(each.metric.row!.metricId, each.id!), each]))
    for (const chunk of memberChunks(part.members)) {
      const metrics = updatesOf(new Set(chunk.map(({ metricId }) => metricId)))
      // Most buckets of a series share the same id object, so the map compares objects and need not format the ids.
      const sets = new Map(chunk.map((set) => [set.seriesId, set])).values()
      const seriesOfChunk = new Set(
        [...sets].flatMap(({ metricId, seriesId }) => seriesByKey.get(keyOf(metricId, seriesId)) ?? []),
      )
      yield {
        part: { ...emptyPart, metrics, members: chunk },
        seriesToRegister: [],
        series: [...seriesOfChunk],
        points: 0,
      }
    }
  }
  return {
    ...encodedPart,
    part: { ...part, series: splitsSeries ? [] : part.series, members: splitsMembers ? [] : part.members },
    seriesToRegister: splitsSeries ? [] : seriesToRegister,
  }
}

/** Divides set members into chunks, one for each part. The members of a chunk cost at most `STEP_COST_US_MAX`. */
function* memberChunks(members: readonly SetMembers[]): Iterable<readonly SetMembers[]> {
  let chunk: SetMembers[] = []
  let costUs = 0
  for (const set of members) {
    for (let from = 0; from < set.members.length; from += MEMBERS_PER_SLICE_MAX) {
      const slice = { ...set, members: set.members.slice(from, from + MEMBERS_PER_SLICE_MAX) }
      const sliceCostUs = membersCostUs([slice])
      if (chunk.length > 0 && costUs + sliceCostUs > STEP_COST_US_MAX) {
        yield chunk
        chunk = []
        costUs = 0
      }
      chunk.push(slice)
      costUs += sliceCostUs
    }
  }
  if (chunk.length > 0) yield chunk
}

function costUsOf({ part }: EncodedPart): number {
  const { block, metrics, series, members, events } = part
  const bytes = (block?.scalars.length ?? 0) + (block?.sketches?.length ?? 0)
  const rowsCostUs = metrics.length * METRIC_COST_US + series.length * SERIES_COST_US + events.length * EVENT_COST_US
  return PART_COST_US + rowsCostUs + membersCostUs(members) + bytes / BLOCK_BYTES_PER_US
}

function membersCostUs(sets: readonly SetMembers[]): number {
  return sets.reduce((sum, { members }) => sum + SET_BUCKET_COST_US + members.length * SET_MEMBER_COST_US, 0)
}

function withoutPoints(update: MetricUpdate): MetricUpdate {
  return { ...update, points: 0, cumulative: false }
}

function keyOf(metricId: Id64, seriesId: Id64): string {
  return formatId(metricId) + formatId(seriesId)
}
