import { formatId, type Id64 } from '../../model/id.ts'
import type { RollupKind } from '../../model/metric.ts'
import type { Block, MetricSection } from '../../rollup/block/block.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import {
  type IndexRemovals,
  type IndexRequest,
  type IndexSnapshot,
  type MetricRow,
  type Store,
  windowWidthMs,
} from '../../store/store.ts'
import type { Period } from '../plan/period.ts'
import type { SeriesList } from '../plan/series-index.ts'
import { BlockCache } from './block-cache.ts'
import { BlockReader } from './block-reader.ts'
import { InboxReader, inboxPart } from './inbox-reader.ts'

/** The data of a metric in one block or digest. Sources with the same series and bucket come in arrival order. */
export interface Source {
  readonly section: RollupRows
  /**
   * Index of the source's resolution, finest first. An inbox block has the base resolution and is part of every read
   * whose time range contains its buckets.
   */
  readonly level: number
  readonly inbox: boolean
  /** For each series of the section, its ordinal in the metric's series list. */
  readonly ordinals: Int32Array
}

export interface Opened {
  readonly rows: readonly OpenedRows[]
  readonly blocks: number
  /** Number of cache hits. */
  readonly hits: number
}

type OpenedRows = Omit<Source, 'ordinals' | 'section'> & { readonly section: MetricSection }

/** Opens the blocks that the index lists in the timelines and the inbox, as sources to merge. */
export class SourceReader {
  readonly #store: Store
  readonly #cache: BlockCache
  readonly #blocks: BlockReader
  readonly #inbox: InboxReader

  constructor(store: Store, cacheBytesMax: number) {
    this.#store = store
    this.#cache = new BlockCache(cacheBytesMax)
    this.#blocks = new BlockReader(store, this.#cache)
    this.#inbox = new InboxReader(store, this.#blocks, this.#cache)
    store.onIndexRemoval((unlisted) => this.#evictUnlisted(unlisted))
  }

  /** Memory of cached blocks and digests in bytes. */
  get cacheBytes(): number {
    return this.#cache.bytes
  }

  /** Reads an index snapshot. Evicts cached blocks that belong to the snapshot's range but are not listed in it. */
  async readIndex(request: IndexRequest): Promise<IndexSnapshot> {
    const snapshot = await this.#store.readIndex(request)
    const { partition, metricId, timelines } = request
    if (request.inbox) {
      // Entries leave an inbox in arrival order.
      const oldest = snapshot.inbox[0]?.order ?? Number.POSITIVE_INFINITY
      this.#cache.evict(inboxPart(partition), (order) => order < oldest)
    }
    for (const [i, { resolutionMs, stretch }] of timelines.entries()) {
      const widthMs = windowWidthMs(resolutionMs)
      const { entries } = snapshot.timelines[i]!
      let listed: Set<string> | undefined
      this.#cache.evict(timelinePart(metricId, resolutionMs), (windowMs, name) => {
        if (windowMs >= stretch.toMs || windowMs + widthMs <= stretch.fromMs) return false
        listed ??= new Set(entries.map(({ block }) => block))
        return !listed.has(name)
      })
    }
    return snapshot
  }

  /**
   * Opens the blocks of a period. The result has the timelines in arrival order within each level, then the inbox.
   * Returns undefined if the store no longer has a block. `pins`: blocks that the caller keeps in memory.
   */
  async open(
    { partition, metricId }: MetricRow,
    kind: RollupKind,
    { timelines: levels, inbox: inboxEntries, listed }: Period,
    withSketches: boolean,
    pins: Map<string, Block>,
  ): Promise<Opened | undefined> {
    const parts = levels.map(({ stepMs }) => timelinePart(metricId, stepMs))
    const wanted = listed.map(({ level, entry: { block, sketchBytes, windowMs } }) => ({
      name: block,
      sketchBytes,
      part: parts[level]!,
      position: windowMs,
    }))
    const timelines = await this.#blocks.read(
      partition,
      metricId,
      wanted,
      withSketches && kind === 'distribution',
      pins,
    )
    const stepMs = levels[0]!.stepMs
    const inbox = await this.#inbox.read(partition, metricId, inboxEntries, stepMs, kind === 'distribution', pins)
    if (timelines === undefined || inbox === undefined) return undefined
    const rows: OpenedRows[] = []
    for (const [i, { level }] of listed.entries()) {
      const section = timelines.sections[i]
      if (section !== undefined) rows.push({ section, level, inbox: false })
    }
    for (const section of inbox.sections) rows.push({ section, level: 0, inbox: true })
    return { rows, blocks: listed.length + inbox.blocks, hits: timelines.hits + inbox.hits }
  }

  /**
   * Returns the sources of each period. Returns undefined if a section has a series that is not in the list; the caller
   * then needs a newer list.
   */
  sourcesOf(opened: readonly Opened[], list: SeriesList): Source[][] | undefined {
    const sources: Source[][] = []
    for (const { rows } of opened) {
      const periodSources: Source[] = []
      for (const row of rows) {
        const ordinals = row.section.ordinalsIn(list)
        if (ordinals === undefined) return undefined
        periodSources.push({ ...row, ordinals })
      }
      sources.push(periodSources)
    }
    return sources
  }

  #evictUnlisted({ partition, inbox, replaced, expired }: IndexRemovals): void {
    const newest = inbox.at(-1)?.order
    if (newest !== undefined) this.#cache.evict(inboxPart(partition), (order) => order <= newest)
    for (const name of replaced) this.#cache.remove(name)
    for (const { metricId, resolutionMs, windowMs } of expired) {
      this.#cache.evict(timelinePart(metricId, resolutionMs), (position) => position === windowMs)
    }
  }
}

function timelinePart(metricId: Id64, resolutionMs: number): string {
  return `${formatId(metricId)} ${resolutionMs}`
}
