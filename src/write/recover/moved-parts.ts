import { formatId, type Id64 } from '../../model/id.ts'
import { encodeBlock, type MetricSection, openBlock } from '../../rollup/block.ts'
import { mergeRows, withSeriesIds } from '../../rollup/merge-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { MetricTouch, NamedBlock, SetMembers } from '../../store/store.ts'
import type { Series } from '../round/registry.ts'
import { type RoundPart, seriesTouches } from '../round/round.ts'

/** Which series stands for a series of a metric that is gone. */
export type Heirs = ReadonlyMap<Series, Series>

interface Sections {
  readonly metricId: Id64
  readonly rows: RollupRows[]
}

/**
 * The parts of a commit whose metrics `gone` (ids as text) the store does not have any more: what they hold of these goes to the heirs,
 * or, without any, is left out. Undefined: there is no heir for some of it.
 */
export function moveParts(
  parts: readonly RoundPart[],
  gone: ReadonlySet<string>,
  heirs: Heirs | undefined,
): RoundPart[] | undefined {
  const bySeriesId = new Map<string, Series>()
  for (const [series, heir] of heirs ?? []) bySeriesId.set(keyOf(series.metric.row!.metricId, series.id!), heir)
  const heirOf = (metricId: Id64, seriesId: Id64): Series | undefined => bySeriesId.get(keyOf(metricId, seriesId))
  const moved: RoundPart[] = []
  for (const of of parts) {
    const { part } = of
    const isGone = ({ metricId }: { readonly metricId: Id64 }): boolean => gone.has(formatId(metricId))
    const block = part.block && moveBlock(part.block, isGone, heirs && heirOf)
    if (block === 'homeless') return undefined
    const series = of.series.flatMap((one) => (isGone(one.metric.row!) ? (heirs?.get(one) ?? []) : one))
    const metrics = part.metrics.flatMap((touch) => (isGone(touch) ? moveTouch(touch, heirs) : touch))
    const left = part.metrics.filter(isGone).reduce((sum, { points }) => sum + points, 0)
    const { block: _, ...rest } = part
    moved.push({
      part: {
        ...rest,
        ...(block === undefined ? {} : { block }),
        metrics,
        series: seriesTouches(series),
        members: part.members.flatMap((set) => (isGone(set) ? moveMembers(set, heirOf) : set)),
      },
      announced: series,
      series,
      points: heirs === undefined ? of.points - left : of.points,
    })
  }
  return moved
}

/** Undefined: nothing is left in it. */
function moveBlock(
  block: NamedBlock,
  isGone: (section: MetricSection) => boolean,
  heirOf: ((metricId: Id64, seriesId: Id64) => Series | undefined) | undefined,
): NamedBlock | 'homeless' | undefined {
  const opened = openBlock(block.name, block.scalars)
  if (!opened.sections.some(isGone)) return block
  if (block.sketches !== undefined) opened.attachSketches(block.sketches)
  const { resolutionMs } = opened
  const byMetric = new Map<string, Sections>()
  const put = (metricId: Id64, rows: RollupRows): void => {
    const same = byMetric.get(formatId(metricId))
    if (same === undefined) byMetric.set(formatId(metricId), { metricId, rows: [rows] })
    else same.rows.push(rows)
  }
  // First what moves: it came before anything that was sent to the heirs themselves.
  for (const section of opened.sections.filter(isGone)) {
    if (heirOf === undefined || section.length === 0) continue
    const heirs: Series[] = []
    for (let i = 0; i < section.seriesCount; i++) {
      const heir = heirOf(section.metricId, { hi: section.seriesHi[i]!, lo: section.seriesLo[i]! })
      if (heir === undefined) return 'homeless'
      heirs.push(heir)
    }
    const rows = withSeriesIds(section, resolutionMs, (i) => heirs[i]!.id!)
    put(heirs[0]!.metric.row!.metricId, rows)
  }
  for (const section of opened.sections) if (!isGone(section)) put(section.metricId, section)
  if (byMetric.size === 0) return undefined
  const sections = [...byMetric.values()].map(({ metricId, rows }) => ({
    metricId,
    rows: rows.length === 1 ? rows[0]! : mergeRows(rows, resolutionMs),
  }))
  const { scalars, sketches } = encodeBlock(resolutionMs, sections)
  // A block has one content for ever, and this one's may lie in the store under its name.
  return { name: `${block.name}m`, scalars, sketches }
}

function moveTouch(touch: MetricTouch, heirs: Heirs | undefined): MetricTouch[] {
  for (const [series, { metric }] of heirs ?? []) {
    if (formatId(series.metric.row!.metricId) !== formatId(touch.metricId)) continue
    const { metricId, generation } = metric.row!
    return [{ ...touch, metricId, generation, definition: metric.definition }]
  }
  return []
}

function moveMembers(set: SetMembers, heirOf: (metricId: Id64, seriesId: Id64) => Series | undefined): SetMembers[] {
  const heir = heirOf(set.metricId, set.seriesId)
  return heir === undefined ? [] : [{ ...set, metricId: heir.metric.row!.metricId, seriesId: heir.id! }]
}

function keyOf(metricId: Id64, seriesId: Id64): string {
  return formatId(metricId) + formatId(seriesId)
}
