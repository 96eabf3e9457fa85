import { formatId, type Id64 } from '../../model/id.ts'
import { acquireArena, releaseArena } from '../../rollup/arena.ts'
import { type Block, type MetricSection, openBlock } from '../../rollup/block/block.ts'
import { encodeBlock } from '../../rollup/block/encode-block.ts'
import { mergeRows } from '../../rollup/merge-rows.ts'
import { releaseMergedRows } from '../../rollup/merged-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { InboxEntry, Store } from '../../store/store.ts'
import { INBOX_BLOCK_BYTES_MIN } from './block-batches.ts'
import type { BlockCache } from './block-cache.ts'
import type { BlockReader, BlockRequest, ReadSession } from './block-reader.ts'

/** Number of consecutive arrival numbers whose inbox blocks are merged into one digest block. */
const BLOCKS_PER_DIGEST = 64
/**
 * Maximum number of rollups of the metric in the blocks that a digest merges. If 64 inbox blocks have more, the blocks
 * are large, and merging them in advance would save little.
 */
const DIGEST_ROLLUPS_MAX = 1 << 18

export interface InboxContents {
  /** The sections of the metric in the inbox, in arrival order. */
  readonly sections: readonly MetricSection[]
  readonly blockCount: number
  readonly cacheHitCount: number
}

/** Returns the name of the inbox of a partition as a part of the index (`IndexPosition.indexPart`). */
export function indexPartOfInbox(partition: number): string {
  return `inbox ${partition}`
}

/**
 * Reads the inbox of a partition for one metric. Under load the inbox has many small blocks with the same series and
 * buckets. Therefore a query merges each complete group of up to 64 consecutive blocks, unless they have too many
 * rollups. The result (a digest) is cached as a block in place of the group, so later queries of the metric merge one
 * block instead of 64.
 */
export class InboxReader {
  readonly #store: Pick<Store, 'readBlocks'>
  readonly #blockReader: BlockReader
  readonly #cache: BlockCache
  /** Digests in progress, by name. They resolve to undefined if the store no longer has a block or its sketches. */
  readonly #digestsInProgress = new Map<string, Promise<readonly MetricSection[] | undefined>>()

  constructor(store: Pick<Store, 'readBlocks'>, blocks: BlockReader, cache: BlockCache) {
    this.#store = store
    this.#blockReader = blocks
    this.#cache = cache
  }

  /**
   * Reads the sections of a metric from the inbox entries of a snapshot. Returns undefined if the store no longer has a
   * block or its sketches. `isSketched` says whether rollups of the metric have sketches; these are then read too.
   */
  async read(
    partition: number,
    metricId: Id64,
    inbox: readonly InboxEntry[],
    resolutionMs: number,
    isSketched: boolean,
    session: ReadSession,
  ): Promise<InboxContents | undefined> {
    const indexPart = indexPartOfInbox(partition)
    const groups = groupByArrival(inbox)
    const incompleteGroup = groups.pop() ?? []
    const sections: MetricSection[] = []
    let cacheHitCount = 0
    const pace = session.createPace()
    for (const group of groups) {
      await pace.pause()
      const digestName = `${formatId(metricId)} ${resolutionMs} ${group[0]!.block} ${group.length}`
      const digest = session.blocks.get(digestName) ?? this.#cache.get(digestName)
      if (digest !== undefined) {
        cacheHitCount += group.length
        addSection(sections, digest.section(metricId))
        continue
      }
      let digestInProgress = this.#digestsInProgress.get(digestName)
      if (digestInProgress === undefined) {
        const blockRequests = group.map((entry) => blockRequestOf(entry, indexPart))
        digestInProgress = this.#createDigest(
          digestName,
          partition,
          metricId,
          blockRequests,
          resolutionMs,
          isSketched,
          session,
        )
        this.#digestsInProgress.set(digestName, digestInProgress)
      }
      const digestSections = await digestInProgress.finally(() => this.#digestsInProgress.delete(digestName))
      if (digestSections === undefined) return undefined
      for (const section of digestSections) sections.push(section)
    }
    const blockRequests = incompleteGroup.map((entry) => blockRequestOf(entry, indexPart))
    const incompleteRead = await this.#blockReader.read(partition, metricId, blockRequests, isSketched, session)
    if (incompleteRead === undefined) return undefined
    for (const section of incompleteRead.sections) addSection(sections, section)
    return { sections, blockCount: inbox.length, cacheHitCount: cacheHitCount + incompleteRead.cacheHitCount }
  }

  /**
   * Returns the sections of a metric in a group of blocks: the section of a new digest, or the unmerged sections if
   * `encodeDigest` makes none. Returns undefined if the store no longer has a block or its sketches.
   */
  async #createDigest(
    digestName: string,
    partition: number,
    metricId: Id64,
    group: readonly BlockRequest[],
    resolutionMs: number,
    isSketched: boolean,
    session: ReadSession,
  ): Promise<readonly MetricSection[] | undefined> {
    const names = group.map(({ name }) => name)
    const namesWithSketches = isSketched
      ? group.filter(({ sketchBytes }) => sketchBytes > 0).map(({ name }) => name)
      : []
    const [scalars, sketches] = await Promise.all([
      this.#store.readBlocks(partition, names, 'scalars'),
      this.#store.readBlocks(partition, namesWithSketches, 'sketches'),
    ])
    const sketchesByName = new Map(namesWithSketches.map((name, i) => [name, sketches[i]]))
    const blockStrings: BlockStrings[] = []
    for (const [i, name] of names.entries()) {
      const scalarBytes = scalars[i]
      if (scalarBytes === undefined || (sketchesByName.has(name) && sketchesByName.get(name) === undefined))
        return undefined
      blockStrings.push({ name, scalars: scalarBytes, sketches: sketchesByName.get(name) })
    }
    const digest = encodeDigest(digestName, metricId, blockStrings, resolutionMs)
    if (digest === undefined) {
      const read = await this.#blockReader.read(partition, metricId, group, isSketched, session)
      return read?.sections.filter((section) => section !== undefined)
    }
    const { indexPart, position } = group[0]!
    this.#cache.put(digest, { indexPart, position })
    session.blocks.set(digestName, digest)
    // The digest replaces these blocks, which may have been cached while the group was incomplete. Queries of other
    // metrics make other digests and read the blocks again.
    for (const name of names) this.#cache.remove(name)
    return digest.sections
  }
}

/** The stored strings of a block. */
interface BlockStrings {
  readonly name: string
  readonly scalars: Uint8Array
  readonly sketches: Uint8Array | undefined
}

/**
 * Merges the data of a metric in several blocks into one block, whose name is `digestName`. The source blocks are
 * decoded into reusable buffers and not kept. Returns undefined if there are too many rollups, or if the result cannot
 * be encoded as one block.
 */
function encodeDigest(
  digestName: string,
  metricId: Id64,
  blocks: readonly BlockStrings[],
  resolutionMs: number,
): Block | undefined {
  const arena = acquireArena()
  let merged: RollupRows | undefined
  try {
    const sections: MetricSection[] = []
    let rollupCount = 0
    for (const { name, scalars, sketches } of blocks) {
      const block = openBlock(name, scalars, arena)
      if (sketches !== undefined) block.attachSketches(sketches)
      const section = block.section(metricId)
      if (section === undefined) continue
      sections.push(section)
      rollupCount += section.length
    }
    if (rollupCount > DIGEST_ROLLUPS_MAX) return undefined
    if (sections.length > 0) merged = mergeRows(sections, resolutionMs)
    const { scalars, sketches } = encodeBlock(resolutionMs, merged === undefined ? [] : [{ metricId, rows: merged }])
    const digest = openBlock(digestName, scalars)
    if (sketches !== undefined) digest.attachSketches(sketches)
    return digest
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  } finally {
    if (merged !== undefined) releaseMergedRows(merged)
    releaseArena(arena)
  }
}

function blockRequestOf({ block, scalarBytes, sketchBytes, order }: InboxEntry, indexPart: string): BlockRequest {
  return { name: block, scalarBytes, sketchBytes, bytesMin: INBOX_BLOCK_BYTES_MIN, indexPart, position: order }
}

function addSection(sections: MetricSection[], section: MetricSection | undefined): void {
  if (section !== undefined) sections.push(section)
}

/**
 * Groups inbox entries by arrival number: 64 consecutive numbers are a group. Later entries may join only the last
 * group. The first group may lack entries that were folded.
 */
function groupByArrival(inbox: readonly InboxEntry[]): InboxEntry[][] {
  const groups: InboxEntry[][] = []
  let previousGroupNumber = Number.NaN
  for (const entry of inbox) {
    const groupNumber = Math.floor(entry.order / BLOCKS_PER_DIGEST)
    if (groupNumber === previousGroupNumber) groups[groups.length - 1]!.push(entry)
    else groups.push([entry])
    previousGroupNumber = groupNumber
  }
  return groups
}
