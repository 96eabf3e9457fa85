import type { RollupKind } from '../model/metric.ts'
import type { Block } from '../rollup/block.ts'
import type { RollupRows } from '../rollup/rollup-rows.ts'
import type { MetricRow, Store } from '../store/store.ts'
import { BlockReader } from './block-reader.ts'
import { InboxReader } from './inbox-reader.ts'
import type { Source } from './merge.ts'
import type { Period } from './period.ts'
import type { SeriesList } from './series-index.ts'

export interface Opened {
  readonly rows: readonly OpenedRows[]
  readonly blocks: number
  /** Blocks that were already decoded. */
  readonly hits: number
  settle(): void
}

type OpenedRows = Omit<Source, 'ordinals'>

/** Digests of the inbox may take this much of what decoded blocks may, on top of it. */
const DIGEST_SHARE = 1 / 4

/** Opens what the index lists: blocks of timelines and the inbox, as sources to merge. */
export class SourceReader {
  readonly #blocks: BlockReader
  readonly #inbox: InboxReader
  /** Positions of a section's series in the metric's list, kept as long as the decoded block. */
  readonly #ordinals = new WeakMap<RollupRows, { readonly list: SeriesList; readonly ordinals: Int32Array }>()

  constructor(store: Store, cacheBytesMax: number) {
    this.#blocks = new BlockReader(store, cacheBytesMax)
    this.#inbox = new InboxReader(this.#blocks, cacheBytesMax * DIGEST_SHARE)
  }

  /** Decoded blocks held, without digests of the inbox. */
  get cacheBytes(): number {
    return this.#blocks.cacheBytes
  }

  /**
   * What the store holds for a period, in order of arrival within each level, the inbox last. Undefined: a block is gone.
   * `pins`: blocks held for the caller.
   */
  async open(
    { partition, metricId }: MetricRow,
    kind: RollupKind,
    { timelines: levels, inbox: arrived, listed }: Period,
    withSketches: boolean,
    pins: Map<string, Block>,
  ): Promise<Opened | undefined> {
    const names = listed.map(({ entry }) => ({ name: entry.block, sketchBytes: entry.sketchBytes }))
    const timelines = await this.#blocks.read(partition, metricId, names, withSketches && kind === 'distribution', pins)
    const stepMs = levels[0]!.stepMs
    const inbox = await this.#inbox.read(partition, metricId, arrived, stepMs, kind === 'distribution', pins)
    if (timelines === undefined || inbox === undefined) return undefined
    const rows: OpenedRows[] = []
    for (const [i, { level }] of listed.entries()) {
      const section = timelines.sections[i]
      if (section !== undefined) rows.push({ section, level, inbox: false })
    }
    for (const section of inbox.rows) rows.push({ section, level: 0, inbox: true })
    return {
      rows,
      blocks: listed.length + inbox.blocks,
      hits: timelines.hits + inbox.hits,
      settle() {
        timelines.settle()
        inbox.settle()
      },
    }
  }

  /** Of each period. Undefined: some row is of a series that the list does not hold. */
  sourcesOf(opened: readonly Opened[], list: SeriesList): Source[][] | undefined {
    const sources: Source[][] = []
    for (const { rows } of opened) {
      const ofPeriod: Source[] = []
      for (const row of rows) {
        const ordinals = this.#ordinalsOf(row.section, list)
        if (ordinals === undefined) return undefined
        ofPeriod.push({ ...row, ordinals })
      }
      sources.push(ofPeriod)
    }
    return sources
  }

  #ordinalsOf(section: RollupRows, list: SeriesList): Int32Array | undefined {
    const held = this.#ordinals.get(section)
    if (held?.list === list) return held.ordinals
    const ordinals = new Int32Array(section.seriesCount)
    const { seriesHi, seriesLo } = section
    for (let s = 0; s < ordinals.length; s++) {
      const ordinal = list.ordinal(seriesHi[s]!, seriesLo[s]!)
      if (ordinal < 0) return undefined
      ordinals[s] = ordinal
    }
    this.#ordinals.set(section, { list, ordinals })
    return ordinals
  }
}
