import { formatId, type Id64 } from '../../model/id.ts'
import type { Steps } from '../../model/steps.ts'
import type { MetricUpdate, SetMembers } from '../../store/store.ts'
import { type EncodedPart, seriesTouches } from '../round/encode-round.ts'

/**
 * Divides a round into steps. A step is one commit for each partition, and keeps a store busy for a few milliseconds. A
 * store applies a commit without interruption, so a large commit would delay all other requests and could exceed the
 * timeout of its call.
 *
 * Costs are estimated in microseconds of a Redis server. If the new series and set members of a part cost too much,
 * they are moved to separate commits before the part. These commits need no marker: registering a series and adding a
 * member are idempotent.
 */
export const STEP_COST_MAX = 6_000

const PART_COST = 20
const METRIC_COST = 10
const SERIES_COST = 5
/** The cost of a set's bucket at all of its resolutions, and the cost of a member in it. */
const BUCKET_COST = 60
const MEMBER_COST = 0.6
const EVENT_COST = 3
const BYTES_PER_COST = 2_048

const SERIES_SPLIT = Math.floor(STEP_COST_MAX / (SERIES_COST + METRIC_COST))
const MEMBERS_SPLIT = Math.floor(STEP_COST_MAX / 2 / MEMBER_COST)

/** The parts of each partition. Each partition gets one commit. */
export type Step = ReadonlyMap<number, readonly EncodedPart[]>

/**
 * Returns the steps of a round. The parts of a partition keep their order. Yields between parts, because a round may be
 * large.
 */
export function* commitSteps(parts: Step): Steps<Step[]> {
  const steps: Step[] = []
  let step = new Map<number, EncodedPart[]>()
  let cost = 0
  for (const [partition, partsOfPartition] of parts) {
    for (const unit of unitsOf(partsOfPartition)) {
      const unitCost = unit.reduce((sum, part) => sum + costOf(part), 0)
      if (step.size > 0 && cost + unitCost > STEP_COST_MAX) {
        steps.push(step)
        step = new Map()
        cost = 0
      }
      const placed = step.get(partition)
      if (placed === undefined) step.set(partition, [...unit])
      else for (const part of unit) placed.push(part)
      cost += unitCost
      yield
    }
  }
  if (step.size > 0) steps.push(step)
  return steps
}

/**
 * Yields groups of parts that must be in the same commit: a part whose block lists no metric continues the previous
 * part.
 */
function* unitsOf(parts: readonly EncodedPart[]): Iterable<readonly EncodedPart[]> {
  let unit: EncodedPart[] = []
  for (const part of parts) {
    const continues = part.part.block !== undefined && part.part.metrics.length === 0
    if (!continues && unit.length > 0) {
      yield unit
      unit = []
    }
    if (continues || costOf(part) <= STEP_COST_MAX) {
      unit.push(part)
      continue
    }
    const pieces = piecesOf(part)
    let piece = pieces.next()
    for (; piece.done !== true; piece = pieces.next()) yield [piece.value]
    unit.push(piece.value)
  }
  if (unit.length > 0) yield unit
}

/** Yields separate parts with new series and members, and returns the rest of the part. */
function* piecesOf(whole: EncodedPart): Generator<EncodedPart, EncodedPart, undefined> {
  const { part, announced, series } = whole
  const touches = new Map(part.metrics.map((touch) => [formatId(touch.metricId), withoutPoints(touch)]))
  const touchesOf = (ids: Iterable<Id64>): MetricUpdate[] =>
    [...new Set([...ids].map(formatId))].flatMap((id) => touches.get(id) ?? [])
  const empty = { metrics: [], series: [], members: [], events: [], nowMs: part.nowMs }
  const splitsSeries = announced.length > SERIES_SPLIT
  if (splitsSeries) {
    for (let from = 0; from < announced.length; from += SERIES_SPLIT) {
      const chunk = announced.slice(from, from + SERIES_SPLIT)
      const metrics = touchesOf(new Set(chunk.map(({ metric }) => metric.row!.metricId)))
      yield { part: { ...empty, metrics, series: seriesTouches(chunk) }, announced: chunk, series: chunk, points: 0 }
    }
  }
  const splitsMembers = membersCost(part.members) > STEP_COST_MAX / 2
  if (splitsMembers) {
    const byId = new Map(series.map((known) => [keyOf(known.metric.row!.metricId, known.id!), known]))
    for (const chunk of memberChunks(part.members)) {
      const metrics = touchesOf(new Set(chunk.map(({ metricId }) => metricId)))
      // Most buckets of a series share the same id object, so the map compares objects and need not format the ids.
      const sets = new Map(chunk.map((set) => [set.seriesId, set])).values()
      const known = new Set([...sets].flatMap(({ metricId, seriesId }) => byId.get(keyOf(metricId, seriesId)) ?? []))
      yield { part: { ...empty, metrics, members: chunk }, announced: [], series: [...known], points: 0 }
    }
  }
  return {
    ...whole,
    part: { ...part, series: splitsSeries ? [] : part.series, members: splitsMembers ? [] : part.members },
    announced: splitsSeries ? [] : announced,
  }
}

function* memberChunks(members: readonly SetMembers[]): Iterable<readonly SetMembers[]> {
  let chunk: SetMembers[] = []
  let cost = 0
  for (const set of members) {
    for (let from = 0; from < set.members.length; from += MEMBERS_SPLIT) {
      const some = { ...set, members: set.members.slice(from, from + MEMBERS_SPLIT) }
      const someCost = membersCost([some])
      if (chunk.length > 0 && cost + someCost > STEP_COST_MAX) {
        yield chunk
        chunk = []
        cost = 0
      }
      chunk.push(some)
      cost += someCost
    }
  }
  if (chunk.length > 0) yield chunk
}

function costOf({ part }: EncodedPart): number {
  const { block, metrics, series, members, events } = part
  const bytes = (block?.scalars.length ?? 0) + (block?.sketches?.length ?? 0)
  const rows = metrics.length * METRIC_COST + series.length * SERIES_COST + events.length * EVENT_COST
  return PART_COST + rows + membersCost(members) + bytes / BYTES_PER_COST
}

function membersCost(sets: readonly SetMembers[]): number {
  return sets.reduce((sum, { members }) => sum + BUCKET_COST + members.length * MEMBER_COST, 0)
}

function withoutPoints(touch: MetricUpdate): MetricUpdate {
  return { ...touch, points: 0, cumulative: false }
}

function keyOf(metricId: Id64, seriesId: Id64): string {
  return formatId(metricId) + formatId(seriesId)
}
