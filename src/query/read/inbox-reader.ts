import { formatId, type Id64 } from '../../model/id.ts'
import { Pacer } from '../../model/pacer.ts'
import { runPaced, StepBudget, type Steps } from '../../model/steps.ts'
import { acquireArena, releaseArena } from '../../rollup/arena.ts'
import { type Block, type MetricSection, openBlock } from '../../rollup/block/block.ts'
import { encodeBlock } from '../../rollup/block/encode-block.ts'
import { mergeRows, mergeRowsInSteps } from '../../rollup/merge-rows.ts'
import { releaseMergedRows } from '../../rollup/merged-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { InboxEntry, Store } from '../../store/store.ts'
import { batchesOf, INBOX_BLOCK_BYTES_MIN } from './block-batches.ts'
import type { BlockCache } from './block-cache.ts'
import type { BlockReader, BlockRequest, ReadSession } from './block-reader.ts'

/** Number of consecutive arrival numbers whose inbox blocks are merged into one digest block. */
const BLOCKS_PER_DIGEST = 64
/**
 * Maximum number of rollups of the metric in the blocks that a digest merges. If 64 inbox blocks have more, the blocks
 * are large, and merging them in advance would save little. A digest is encoded in one go, which takes up to 15 ms.
 */
const DIGEST_ROLLUPS_MAX = 1 << 16
/** Rollups that are merged without a pause. Under load, most digests have fewer. */
const DIGEST_ROLLUPS_PER_STEP = 1 << 12
/** Maximum number of groups of blocks that are remembered because they have no digest. */
const NAMES_WITHOUT_DIGEST_MAX = 1_000

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
  /** Digests in progress, by name. */
  readonly #digestsInProgress = new Map<string, Promise<Digest>>()
  /** The last names for which `encodeDigest` returned no block, so that no later query tries again. */
  readonly #namesWithoutDigest = new Set<string>()

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
    const source: DigestSource = { partition, metricId, resolutionMs, isSketched }
    const groups = groupByArrival(inbox)
    const incompleteGroup = groups.pop() ?? []
    const sections: MetricSection[] = []
    let cacheHitCount = 0
    const pace = session.createPace()
    for (const group of groups) {
      await pace.pause()
      const digestName = `${formatId(metricId)} ${resolutionMs} ${group[0]!.block} ${group.length}`
      const cachedDigest = session.blocks.get(digestName) ?? this.#cache.get(digestName)
      if (cachedDigest !== undefined) cacheHitCount += group.length
      const digest = cachedDigest ?? (await this.#createDigestOnce(digestName, group, source))
      if (digest === 'missing') return undefined
      if (digest === 'none') {
        const requests = blockRequestsOf(group, source)
        const groupRead = await this.#blockReader.read(partition, metricId, requests, isSketched, session)
        if (groupRead === undefined) return undefined
        for (const section of groupRead.sections) addSection(sections, section)
        cacheHitCount += groupRead.cacheHitCount
        continue
      }
      session.blocks.set(digestName, digest)
      addSection(sections, digest.section(metricId))
    }
    const requests = blockRequestsOf(incompleteGroup, source)
    const incompleteRead = await this.#blockReader.read(partition, metricId, requests, isSketched, session)
    if (incompleteRead === undefined) return undefined
    for (const section of incompleteRead.sections) addSection(sections, section)
    return { sections, blockCount: inbox.length, cacheHitCount: cacheHitCount + incompleteRead.cacheHitCount }
  }

  /** Creates a digest, or waits until another query has created it. */
  async #createDigestOnce(digestName: string, group: readonly InboxEntry[], source: DigestSource): Promise<Digest> {
    if (this.#namesWithoutDigest.has(digestName)) return 'none'
    let digestInProgress = this.#digestsInProgress.get(digestName)
    if (digestInProgress === undefined) {
      digestInProgress = this.#createDigest(digestName, blockRequestsOf(group, source), source).finally(() =>
        this.#digestsInProgress.delete(digestName),
      )
      this.#digestsInProgress.set(digestName, digestInProgress)
    }
    return digestInProgress
  }

  /** Other queries may wait for the digest, so it is completed even if the query that began it is aborted. */
  async #createDigest(
    digestName: string,
    group: readonly BlockRequest[],
    { partition, metricId, resolutionMs, isSketched }: DigestSource,
  ): Promise<Digest> {
    const pacer = new Pacer()
    const blockStrings: BlockStrings[] = []
    for (const batch of batchesOf(group, ({ scalarBytes, bytesMin }) => Math.max(scalarBytes, bytesMin))) {
      if (blockStrings.length > 0) await pacer.pause()
      const batchStrings = await this.#readStrings(partition, batch, isSketched)
      if (batchStrings === undefined) return 'missing'
      for (const strings of batchStrings) blockStrings.push(strings)
    }
    const digest = await runPaced(encodeDigest(digestName, metricId, blockStrings, resolutionMs), pacer)
    if (digest === undefined) {
      this.#namesWithoutDigest.add(digestName)
      const [oldestName] = this.#namesWithoutDigest
      if (this.#namesWithoutDigest.size > NAMES_WITHOUT_DIGEST_MAX) this.#namesWithoutDigest.delete(oldestName!)
      return 'none'
    }
    const { indexPart, position } = group[0]!
    this.#cache.put(digest, { indexPart, position })
    // The digest replaces these blocks, which may have been cached while the group was incomplete. Queries of other
    // metrics make other digests and read the blocks again.
    for (const { name } of group) this.#cache.remove(name)
    return digest
  }

  /** Reads the strings of blocks. Returns undefined if the store no longer has one of them. */
  async #readStrings(
    partition: number,
    blocks: readonly BlockRequest[],
    isSketched: boolean,
  ): Promise<readonly BlockStrings[] | undefined> {
    const names = blocks.map(({ name }) => name)
    const namesWithSketches = isSketched
      ? blocks.filter(({ sketchBytes }) => sketchBytes > 0).map(({ name }) => name)
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
    return blockStrings
  }
}

/** Which data of an inbox is read. */
interface DigestSource {
  readonly partition: number
  readonly metricId: Id64
  readonly resolutionMs: number
  readonly isSketched: boolean
}

/** `missing`: the store no longer has a block or its sketches. `none`: the blocks cannot be merged into one. */
type Digest = Block | 'missing' | 'none'

/** The stored strings of a block. */
interface BlockStrings {
  readonly name: string
  readonly scalars: Uint8Array
  readonly sketches: Uint8Array | undefined
}

/** Units of work (`StepBudget`) of opening a block: a few microseconds, and a nanosecond for each byte. */
const BLOCK_STEP_UNITS = 128
const BYTES_PER_STEP_UNIT = 16

/**
 * Merges the data of a metric in several blocks into one block, whose name is `digestName`. The source blocks are
 * decoded into reusable buffers and not kept. Returns undefined if there are too many rollups, or if the result cannot
 * be encoded as one block.
 */
export function* encodeDigest(
  digestName: string,
  metricId: Id64,
  blocks: readonly BlockStrings[],
  resolutionMs: number,
): Steps<Block | undefined> {
  const arena = acquireArena()
  const budget = new StepBudget()
  let merged: RollupRows | undefined
  try {
    const sections: MetricSection[] = []
    let rollupCount = 0
    for (const { name, scalars, sketches } of blocks) {
      const block = openBlock(name, scalars, arena)
      if (sketches !== undefined) block.attachSketches(sketches)
      const section = block.section(metricId)
      if (section !== undefined) sections.push(section)
      rollupCount += section?.length ?? 0
      if (rollupCount > DIGEST_ROLLUPS_MAX) return undefined
      const byteCount = scalars.length + (sketches?.length ?? 0)
      if (budget.spend(BLOCK_STEP_UNITS + byteCount / BYTES_PER_STEP_UNIT)) yield
    }
    if (sections.length > 0) {
      merged =
        rollupCount <= DIGEST_ROLLUPS_PER_STEP
          ? mergeRows(sections, resolutionMs)
          : yield* mergeRowsInSteps(sections, resolutionMs)
    }
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

function blockRequestsOf(entries: readonly InboxEntry[], { partition }: DigestSource): readonly BlockRequest[] {
  const indexPart = indexPartOfInbox(partition)
  return entries.map(({ block, scalarBytes, sketchBytes, order }) => ({
    name: block,
    scalarBytes,
    sketchBytes,
    bytesMin: INBOX_BLOCK_BYTES_MIN,
    indexPart,
    position: order,
  }))
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
