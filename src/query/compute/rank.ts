import type { Store } from '../../store/store.ts'
import { needsOf } from '../plan/aggregation.ts'
import type { Plan } from '../plan/plan.ts'
import type { Top } from '../plan/request.ts'
import { type Grouping, REMAINDER } from '../plan/series-index.ts'
import { accumulate, type Reading } from './accumulate.ts'
import { CellSummary, Cells } from './cells.ts'
import { compareTags, secondsOf } from './evaluate.ts'

/** Groups ranked at a time if they need sketches (kilobytes each) or counts by limit: each series may be a group. */
const SKETCHED_GROUPS_MAX = 4_096

/**
 * Ranks the groups by one number over the whole range and keeps the first n in that order. The others are left out or
 * merged into a remainder. Equal groups are ordered by tags, groups without the number come last, and groups without
 * data are left out. Each group costs one cell, because only numbers over the whole range are computed.
 */
export async function topGroups(
  store: Store,
  reading: Reading,
  plan: Plan,
  clock: { readonly baseMs: number; readonly nowMs: number },
  grouping: Grouping,
  top: Top,
): Promise<Grouping> {
  const { groups, groupOf } = grouping
  // Unavailable buckets are ignored: the others decide the rank.
  const oneBucket = {
    edges: Float64Array.of(plan.fromMs, plan.toMs),
    unavailable: new Uint8Array(1),
    unavailableCount: 0,
  }
  const whole: Plan = { ...plan, ...oneBucket }
  const needs = needsOf([top.by], reading.metric.type)
  const seconds = secondsOf({ plan: whole, ...clock }, whole.fromMs, whole.toMs)
  const ranked: { readonly group: number; readonly value: number }[] = []
  const step = needs.sketches || needs.limits ? SKETCHED_GROUPS_MAX : Math.max(1, groups.length)
  for (let first = 0; first < groups.length; first += step) {
    const groupOfStep = groupOf.map((group) => (group >= first && group < first + step ? group - first : -1))
    const cells = new Cells(step, 1, needs)
    const distinct = await accumulate(store, reading, { plan: whole, groupOf: groupOfStep, needs }, cells, false)
    for (const [slot, group] of cells.groups.entries()) {
      if (cells.count[slot]! === 0) continue
      ranked.push({
        group: first + group,
        value: top.by.compute(new CellSummary(cells, slot, seconds, distinct?.cells)),
      })
    }
  }
  const sign = top.isAscending ? 1 : -1
  ranked.sort(
    (a, b) =>
      Number(Number.isNaN(a.value)) - Number(Number.isNaN(b.value)) ||
      sign * (a.value - b.value) ||
      compareTags(groups[a.group]!.tags, groups[b.group]!.tags),
  )
  const chosen = ranked.slice(0, top.n)
  const hasRemainder = top.other && chosen.length < groups.length
  const placeOf = new Int32Array(groups.length).fill(hasRemainder ? chosen.length : -1)
  for (const [place, { group }] of chosen.entries()) placeOf[group] = place
  return {
    groupOf: groupOf.map((group) => (group < 0 ? -1 : placeOf[group]!)),
    groups: [...chosen.map(({ group }) => groups[group]!), ...(hasRemainder ? [REMAINDER] : [])],
    matched: grouping.matched,
    ids: grouping.ids,
  }
}
