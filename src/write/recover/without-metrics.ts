import { formatId, type Id64 } from '../../model/id.ts'
import { openBlock } from '../../rollup/block/block.ts'
import { encodeBlock } from '../../rollup/block/encode-block.ts'
import type { NamedBlock } from '../../store/store.ts'
import { type EncodedPart, seriesRegistrations } from '../round/encode-round.ts'

interface HasMetricId {
  readonly metricId: Id64
}

/**
 * Returns the parts of a commit without the metrics that conflict with the store. `droppedIds`: the ids of these
 * metrics, formatted by `formatId`. A block with dropped and other metrics is decoded, and encoded again without the
 * dropped ones.
 */
export function withoutMetrics(parts: readonly EncodedPart[], droppedIds: ReadonlySet<string>): EncodedPart[] {
  const isKept = ({ metricId }: HasMetricId): boolean => !droppedIds.has(formatId(metricId))
  return parts.map((encodedPart) => {
    const { block, ...contents } = encodedPart.part
    const keptBlock = block && blockWithout(block, isKept)
    const series = encodedPart.series.filter(({ metric }) => isKept(metric.row!))
    return {
      part: {
        ...contents,
        ...(keptBlock !== undefined && { block: keptBlock }),
        metrics: contents.metrics.filter(isKept),
        series: seriesRegistrations(series),
        members: contents.members.filter(isKept),
      },
      seriesToRegister: series,
      series,
      points: contents.metrics.reduce(
        (points, update) => points - (isKept(update) ? 0 : update.points),
        encodedPart.points,
      ),
    }
  })
}

/** Returns the block without the dropped metrics; undefined if no metric is left. */
function blockWithout(block: NamedBlock, isKept: (section: HasMetricId) => boolean): NamedBlock | undefined {
  const openedBlock = openBlock(block.name, block.scalars)
  const sections = openedBlock.sections.filter(isKept)
  if (sections.length === openedBlock.sections.length) return block
  if (sections.length === 0) return undefined
  if (block.sketches !== undefined) openedBlock.attachSketches(block.sketches)
  const keptSections = sections.map((section) => ({ metricId: section.metricId, rows: section }))
  const { scalars, sketches } = encodeBlock(openedBlock.resolutionMs, keptSections)
  // The block gets a new name: the store may still hold the old content under the old name.
  return { name: `${block.name}m`, scalars, sketches }
}
