import { formatId, type Id64 } from '../../model/id.ts'
import { acquireArena, releaseArena } from '../../rollup/arena.ts'
import { type Block, type MetricSection, openBlock } from '../../rollup/block/block.ts'
import { encodeBlock } from '../../rollup/block/encode-block.ts'
import { mergeRows } from '../../rollup/merge-rows.ts'
import { releaseMergedRows } from '../../rollup/merged-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { InboxEntry, Store } from '../../store/store.ts'
import type { BlockCache } from './block-cache.ts'
import type { BlockReader, WantedBlock } from './block-reader.ts'

/** Number of consecutive inbox blocks that a digest merges. */
const DIGEST_BLOCKS = 64
/**
 * Maximum number of rollups of a digest. A group with more rollups consists of large blocks, and a digest would save
 * little.
 */
const DIGEST_ROWS_MAX = 1 << 18

export interface InboxContents {
  /** The sections of the metric in the inbox, in arrival order. */
  readonly sections: readonly MetricSection[]
  readonly blocks: number
  readonly hits: number
}

/** Returns the name of the index part that is the inbox of this partition. */
export function inboxPart(partition: number): string {
  return `inbox ${partition}`
}

/**
 * Reads the inbox of a partition for one metric. Under load the inbox has many small blocks with the same series and
 * buckets. Therefore each group of 64 consecutive blocks is merged once, as soon as it is complete. The result (a
 * digest) is cached as a block in place of the 64, and later queries merge one block instead of 64.
 */
export class InboxReader {
  readonly #store: Pick<Store, 'readBlocks'>
  readonly #blocks: BlockReader
  readonly #cache: BlockCache
  /** Digests in progress, by cache key. They resolve to undefined if the store no longer has a block. */
  readonly #digesting = new Map<string, Promise<readonly MetricSection[] | undefined>>()

  constructor(store: Pick<Store, 'readBlocks'>, blocks: BlockReader, cache: BlockCache) {
    this.#store = store
    this.#blocks = blocks
    this.#cache = cache
  }

  /**
   * Reads the sections of a metric from the inbox entries of a snapshot. Returns undefined if the store no longer has a
   * block. `isSketched`: the metric's rollups have sketches, which a digest then includes.
   */
  async read(
    partition: number,
    metricId: Id64,
    inbox: readonly InboxEntry[],
    stepMs: number,
    isSketched: boolean,
    pins: Map<string, Block>,
  ): Promise<InboxContents | undefined> {
    const part = inboxPart(partition)
    const groups = groupByArrival(inbox)
    const open = groups.pop() ?? []
    const sections: MetricSection[] = []
    let hits = 0
    for (const group of groups) {
      const key = `${formatId(metricId)} ${stepMs} ${group[0]!.block} ${group.length}`
      const digest = pins.get(key) ?? this.#cache.get(key)
      if (digest !== undefined) {
        hits += group.length
        addSection(sections, digest.section(metricId))
        continue
      }
      let digesting = this.#digesting.get(key)
      if (digesting === undefined) {
        const wanted = group.map((entry) => wantedOf(entry, part))
        digesting = this.#digest(key, partition, metricId, wanted, stepMs, isSketched, pins)
        this.#digesting.set(key, digesting)
      }
      const digested = await digesting.finally(() => this.#digesting.delete(key))
      if (digested === undefined) return undefined
      for (const section of digested) sections.push(section)
    }
    const wanted = open.map((entry) => wantedOf(entry, part))
    const tail = await this.#blocks.read(partition, metricId, wanted, isSketched, pins)
    if (tail === undefined) return undefined
    for (const section of tail.sections) addSection(sections, section)
    return { sections, blocks: inbox.length, hits: hits + tail.hits }
  }

  /**
   * Returns the sections of a metric in a group of blocks: the section of a new digest, or unmerged sections if the
   * group is large. Returns undefined if the store no longer has a block.
   */
  async #digest(
    key: string,
    partition: number,
    metricId: Id64,
    group: readonly WantedBlock[],
    stepMs: number,
    isSketched: boolean,
    pins: Map<string, Block>,
  ): Promise<readonly MetricSection[] | undefined> {
    const names = group.map(({ name }) => name)
    const sketched = isSketched ? group.filter(({ sketchBytes }) => sketchBytes > 0).map(({ name }) => name) : []
    const [scalars, sketches] = await Promise.all([
      this.#store.readBlocks(partition, names, 'scalars'),
      this.#store.readBlocks(partition, sketched, 'sketches'),
    ])
    const bins = new Map(sketched.map((name, i) => [name, sketches[i]]))
    const bytes: BlockBytes[] = []
    for (const [i, name] of names.entries()) {
      const found = scalars[i]
      if (found === undefined || (bins.has(name) && bins.get(name) === undefined)) return undefined
      bytes.push({ name, scalars: found, sketches: bins.get(name) })
    }
    const digest = digestOf(key, metricId, bytes, stepMs)
    if (digest === undefined) {
      const read = await this.#blocks.read(partition, metricId, group, isSketched, pins)
      return read?.sections.filter((section) => section !== undefined)
    }
    const { part, position } = group[0]!
    this.#cache.put(digest, { part, position })
    pins.set(key, digest)
    // These blocks were cached while the group was incomplete. Queries of other metrics make their own digests.
    for (const name of names) this.#cache.remove(name)
    return digest.sections
  }
}

interface BlockBytes {
  readonly name: string
  readonly scalars: Uint8Array
  readonly sketches: Uint8Array | undefined
}

/**
 * Merges the data of a metric in several blocks into one block. The source blocks are decoded into an arena and not
 * kept. Returns undefined if one block cannot hold the result: too many rollups or bytes, or invalid weights.
 */
function digestOf(key: string, metricId: Id64, blocks: readonly BlockBytes[], stepMs: number): Block | undefined {
  const arena = acquireArena()
  let merged: RollupRows | undefined
  try {
    const sections: MetricSection[] = []
    let rollups = 0
    for (const { name, scalars, sketches } of blocks) {
      const block = openBlock(name, scalars, arena)
      if (sketches !== undefined) block.attachSketches(sketches)
      const section = block.section(metricId)
      if (section === undefined) continue
      sections.push(section)
      rollups += section.length
    }
    if (rollups > DIGEST_ROWS_MAX) return undefined
    if (sections.length > 0) merged = mergeRows(sections, stepMs)
    const { scalars, sketches } = encodeBlock(stepMs, merged === undefined ? [] : [{ metricId, rows: merged }])
    const digest = openBlock(key, scalars)
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

function wantedOf({ block, sketchBytes, order }: InboxEntry, part: string): WantedBlock {
  return { name: block, sketchBytes, part, position: order }
}

function addSection(sections: MetricSection[], section: MetricSection | undefined): void {
  if (section !== undefined) sections.push(section)
}

/**
 * Groups inbox entries by arrival number. Only the last group may be incomplete, or the first after a fold removed its
 * beginning.
 */
function groupByArrival(inbox: readonly InboxEntry[]): InboxEntry[][] {
  const groups: InboxEntry[][] = []
  let last = Number.NaN
  for (const entry of inbox) {
    const group = Math.floor(entry.order / DIGEST_BLOCKS)
    if (group === last) groups[groups.length - 1]!.push(entry)
    else groups.push([entry])
    last = group
  }
  return groups
}
