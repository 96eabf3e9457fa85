import { formatId, type Id64 } from '../../model/id.ts'
import type { RollupKind } from '../../model/metric.ts'
import { type Pace, StepBudget } from '../../model/steps.ts'
import type { MetricSection } from '../../rollup/block/block.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { MetricRow } from '../../store/catalog.ts'
import type { IndexRemovals, IndexRequest, IndexSnapshot, Store } from '../../store/store.ts'
import { windowWidthMs } from '../../store/windows.ts'
import type { PlannedPeriod } from '../plan/period.ts'
import type { SeriesList } from '../plan/series-cache.ts'
import { TIMELINE_BLOCK_BYTES_MIN } from './block-batches.ts'
import { BlockCache } from './block-cache.ts'
import { BlockReader, type ReadSession } from './block-reader.ts'
import { InboxReader, indexPartOfInbox } from './inbox-reader.ts'

/**
 * The data of a metric in one block or digest. In a list of sources, those with the same series and bucket are in
 * arrival order.
 */
export interface MergeSource {
  readonly section: RollupRows
  /** Index of the source's resolution, finest first. An inbox block has the finest resolution. */
  readonly level: number
  /** Whether the block is in the inbox. Its rollups then count in planned reads of any resolution. */
  readonly isInbox: boolean
  /** For each series of the section, its ordinal in the metric's series list. */
  readonly ordinals: Int32Array
}

export interface OpenedBlocks {
  readonly sections: readonly OpenedSection[]
  readonly blockCount: number
  /** Number of the blocks in `blockCount` that were in memory already, themselves or in a digest. */
  readonly cacheHitCount: number
}

type OpenedSection = Omit<MergeSource, 'ordinals' | 'section'> & { readonly section: MetricSection }

/** Units of work (`StepBudget`) of finding the ordinal of a series. */
const SERIES_STEP_UNITS = 32

/** Reads the index, and opens the blocks of a planned period as sources to merge. */
export class SourceReader {
  readonly #store: Store
  readonly #cache: BlockCache
  readonly #blockReader: BlockReader
  readonly #inboxReader: InboxReader

  constructor(store: Store, cacheBytesMax: number) {
    this.#store = store
    this.#cache = new BlockCache(cacheBytesMax)
    this.#blockReader = new BlockReader(store, this.#cache)
    this.#inboxReader = new InboxReader(store, this.#blockReader, this.#cache)
    store.onIndexRemoval((unlisted) => this.#evictUnlisted(unlisted))
  }

  /** Memory of cached blocks and digests in bytes. */
  get cacheBytes(): number {
    return this.#cache.bytes
  }

  /**
   * Reads an index snapshot. Evicts cached blocks that should be in it but are not: they were folded or replaced, or
   * have expired. Evicts no blocks of timelines if the snapshot may lack entries because of `seriesRange`.
   */
  async readIndex(request: IndexRequest): Promise<IndexSnapshot> {
    const snapshot = await this.#store.readIndex(request)
    const { partition, metricId, timelines } = request
    if (request.withInbox) {
      // Folds remove inbox entries in order of arrival, so a block that arrived before the oldest listed entry is no
      // longer in the inbox.
      const oldestListedOrder = snapshot.inbox[0]?.order ?? Number.POSITIVE_INFINITY
      this.#cache.removeWhere(indexPartOfInbox(partition), (order) => order < oldestListedOrder)
    }
    if (request.seriesRange !== undefined) return snapshot
    for (const [i, { resolutionMs, stretch }] of timelines.entries()) {
      const widthMs = windowWidthMs(resolutionMs)
      const { entries } = snapshot.timelines[i]!
      let listedNames: Set<string> | undefined
      this.#cache.removeWhere(indexPartOfTimeline(metricId, resolutionMs), (windowMs, name) => {
        if (windowMs >= stretch.toMs || windowMs + widthMs <= stretch.fromMs) return false
        listedNames ??= new Set(entries.map(({ block }) => block))
        return !listedNames.has(name)
      })
    }
    return snapshot
  }

  /**
   * Opens the blocks of a period. The result has the blocks of the timelines in arrival order within each level, then
   * those of the inbox. Returns undefined if the store no longer has a block or its sketches.
   */
  async open(
    { partition, metricId }: MetricRow,
    kind: RollupKind,
    { timelines, inboxEntries, blocksToRead }: PlannedPeriod,
    withSketches: boolean,
    session: ReadSession,
  ): Promise<OpenedBlocks | undefined> {
    const indexParts = timelines.map(({ resolutionMs }) => indexPartOfTimeline(metricId, resolutionMs))
    const blockRequests = blocksToRead.map(({ level, entry: { block, scalarBytes, sketchBytes, windowMs } }) => ({
      name: block,
      scalarBytes,
      sketchBytes,
      bytesMin: TIMELINE_BLOCK_BYTES_MIN,
      indexPart: indexParts[level]!,
      position: windowMs,
    }))
    const timelineRead = await this.#blockReader.read(
      partition,
      metricId,
      blockRequests,
      withSketches && kind === 'distribution',
      session,
    )
    const resolutionMs = timelines[0]!.resolutionMs
    const inboxRead = await this.#inboxReader.read(
      partition,
      metricId,
      inboxEntries,
      resolutionMs,
      kind === 'distribution',
      session,
    )
    if (timelineRead === undefined || inboxRead === undefined) return undefined
    const sections: OpenedSection[] = []
    for (const [i, { level }] of blocksToRead.entries()) {
      const section = timelineRead.sections[i]
      if (section !== undefined) sections.push({ section, level, isInbox: false })
    }
    for (const section of inboxRead.sections) sections.push({ section, level: 0, isInbox: true })
    return {
      sections,
      blockCount: blocksToRead.length + inboxRead.blockCount,
      cacheHitCount: timelineRead.cacheHitCount + inboxRead.cacheHitCount,
    }
  }

  /**
   * Returns the opened blocks of each period as sources. Returns undefined if a section has a series that is not in the
   * list; the caller then needs a newer list.
   */
  async sourcesOf(
    openedPeriods: readonly OpenedBlocks[],
    list: SeriesList,
    pace: Pace,
  ): Promise<readonly (readonly MergeSource[])[] | undefined> {
    const sources: MergeSource[][] = []
    const budget = new StepBudget()
    for (const { sections } of openedPeriods) {
      const periodSources: MergeSource[] = []
      for (const opened of sections) {
        if (budget.spend(SERIES_STEP_UNITS * opened.section.seriesCount)) await pace.pause()
        const ordinals = opened.section.ordinalsIn(list)
        if (ordinals === undefined) return undefined
        periodSources.push({ ...opened, ordinals })
      }
      sources.push(periodSources)
    }
    return sources
  }

  #evictUnlisted({ partition, inboxEntries, replacedBlocks, expiredWindows }: IndexRemovals): void {
    const newestFoldedOrder = inboxEntries.at(-1)?.order
    if (newestFoldedOrder !== undefined)
      this.#cache.removeWhere(indexPartOfInbox(partition), (order) => order <= newestFoldedOrder)
    for (const name of replacedBlocks) this.#cache.remove(name)
    for (const { metricId, resolutionMs, windowMs } of expiredWindows) {
      this.#cache.removeWhere(indexPartOfTimeline(metricId, resolutionMs), (position) => position === windowMs)
    }
  }
}

function indexPartOfTimeline(metricId: Id64, resolutionMs: number): string {
  return `${formatId(metricId)} ${resolutionMs}`
}
