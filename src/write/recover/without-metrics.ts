import { formatId, type Id64 } from '../../model/id.ts'
import { openBlock } from '../../rollup/block.ts'
import { encodeBlock } from '../../rollup/encode-block.ts'
import type { NamedBlock } from '../../store/store.ts'
import { type EncodedPart, seriesTouches } from '../round/encode-round.ts'

interface OfMetric {
  readonly metricId: Id64
}

/**
 * The parts of a commit without some metrics (ids as text): what remains to replay when the store refuses these
 * metrics. One block holds many metrics, so it is encoded again without theirs.
 */
export function withoutMetrics(parts: readonly EncodedPart[], dropped: ReadonlySet<string>): EncodedPart[] {
  const isKept = ({ metricId }: OfMetric): boolean => !dropped.has(formatId(metricId))
  return parts.map((whole) => {
    const { block, ...rest } = whole.part
    const keptBlock = block && blockWithout(block, isKept)
    const series = whole.series.filter(({ metric }) => isKept(metric.row!))
    return {
      part: {
        ...rest,
        ...(keptBlock !== undefined && { block: keptBlock }),
        metrics: rest.metrics.filter(isKept),
        series: seriesTouches(series),
        members: rest.members.filter(isKept),
      },
      announced: series,
      series,
      points: rest.metrics.reduce((points, touch) => points - (isKept(touch) ? 0 : touch.points), whole.points),
    }
  })
}

/** Undefined: nothing is left in the block. */
function blockWithout(block: NamedBlock, isKept: (section: OfMetric) => boolean): NamedBlock | undefined {
  const opened = openBlock(block.name, block.scalars)
  const sections = opened.sections.filter(isKept)
  if (sections.length === opened.sections.length) return block
  if (sections.length === 0) return undefined
  if (block.sketches !== undefined) opened.attachSketches(block.sketches)
  const kept = sections.map((section) => ({ metricId: section.metricId, rows: section }))
  const { scalars, sketches } = encodeBlock(opened.resolutionMs, kept)
  // A name stands for one content, and the store may hold the old content under the old name.
  return { name: `${block.name}m`, scalars, sketches }
}
