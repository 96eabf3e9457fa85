import { formatId, type Id64 } from '../../model/id.ts'
import { openBlock } from '../../rollup/block/block.ts'
import { encodeBlock } from '../../rollup/block/encode-block.ts'
import type { NamedBlock } from '../../store/store.ts'
import { type EncodedPart, seriesRegistrations } from '../round/encode-round.ts'

interface HasMetricId {
  readonly metricId: Id64
}

/**
 * Returns the parts of a commit without the metrics that conflict with the store. A block may hold several metrics, so
 * it is decoded, and encoded again without the dropped ones. `droppedIds`: their ids, formatted by `formatId`.
 */
export function withoutMetrics(parts: readonly EncodedPart[], dropped: ReadonlySet<string>): EncodedPart[] {
  const isKept = ({ metricId }: HasMetricId): boolean => !dropped.has(formatId(metricId))
  return parts.map((whole) => {
    const { block, ...rest } = whole.part
    const keptBlock = block && blockWithout(block, isKept)
    const series = whole.series.filter(({ metric }) => isKept(metric.row!))
    return {
      part: {
        ...rest,
        ...(keptBlock !== undefined && { block: keptBlock }),
        metrics: rest.metrics.filter(isKept),
        series: seriesRegistrations(series),
        members: rest.members.filter(isKept),
      },
      seriesToRegister: series,
      series,
      points: rest.metrics.reduce((points, update) => points - (isKept(update) ? 0 : update.points), whole.points),
    }
  })
}

/** Returns the block without the dropped metrics; undefined if no metric is left. */
function blockWithout(block: NamedBlock, isKept: (section: HasMetricId) => boolean): NamedBlock | undefined {
  const opened = openBlock(block.name, block.scalars)
  const sections = opened.sections.filter(isKept)
  if (sections.length === opened.sections.length) return block
  if (sections.length === 0) return undefined
  if (block.sketches !== undefined) opened.attachSketches(block.sketches)
  const kept = sections.map((section) => ({ metricId: section.metricId, rows: section }))
  const { scalars, sketches } = encodeBlock(opened.resolutionMs, kept)
  // The block gets a new name: the store may still hold the old content under the old name.
  return { name: `${block.name}m`, scalars, sketches }
}
