import { formatId, type Id64 } from '../../model/id.ts'
import { type Block, encodeBlock, type MetricSection, openBlock } from '../../rollup/block.ts'
import { mergeRows } from '../../rollup/merge-rows.ts'
import type { InboxEntry } from '../../store/store.ts'
import type { BlockCache } from './block-cache.ts'
import type { BlockReader, WantedBlock } from './block-reader.ts'

/** Neighbouring inbox blocks merged into one digest. */
const DIGEST_BLOCKS = 64
/** More rollups than these are no small blocks, and reading them one by one costs little more. */
const DIGEST_ROWS_MAX = 1 << 18

export interface ReadInbox {
  /** What the inbox holds of the metric, in order of arrival. */
  readonly sections: readonly MetricSection[]
  readonly blocks: number
  readonly hits: number
}

/** The shelf of a partition's inbox in the cache. */
export function inboxShelf(partition: number): string {
  return `inbox ${partition}`
}

/**
 * Reads the inbox of a partition for one metric. Under load it consists of many small blocks that name the same series and
 * buckets over and over. Blocks of the same 64 arrival numbers are merged once, as soon as no further one can join them, and
 * the result (a digest) is kept as a block of its own: a query that comes again merges one block where there were 64.
 */
export class InboxReader {
  readonly #blocks: BlockReader
  readonly #cache: BlockCache
  /** Digests on their way; undefined: a block is gone. */
  readonly #digesting = new Map<string, Promise<readonly MetricSection[] | undefined>>()

  constructor(blocks: BlockReader, cache: BlockCache) {
    this.#blocks = blocks
    this.#cache = cache
  }

  /** Undefined: a block is gone. `isSketched`: rollups of the metric have sketches, which a digest merges along. */
  async read(
    partition: number,
    metricId: Id64,
    inbox: readonly InboxEntry[],
    stepMs: number,
    isSketched: boolean,
    pins: Map<string, Block>,
  ): Promise<ReadInbox | undefined> {
    const shelf = inboxShelf(partition)
    const groups = groupByArrival(inbox)
    const open = groups.pop() ?? []
    const sections: MetricSection[] = []
    let hits = 0
    for (const group of groups) {
      const key = `${formatId(metricId)} ${stepMs} ${group[0]!.block} ${group.length}`
      const digest = this.#cache.get(key)
      if (digest !== undefined) {
        hits += group.length
        addSection(sections, digest.section(metricId))
        continue
      }
      let digesting = this.#digesting.get(key)
      if (digesting === undefined) {
        const wanted = group.map((entry) => wantedOf(entry, shelf))
        digesting = this.#digest(key, partition, metricId, wanted, stepMs, isSketched, pins)
        this.#digesting.set(key, digesting)
      }
      const digested = await digesting.finally(() => this.#digesting.delete(key))
      if (digested === undefined) return undefined
      for (const section of digested) sections.push(section)
    }
    const wanted = open.map((entry) => wantedOf(entry, shelf))
    const tail = await this.#blocks.read(partition, metricId, wanted, isSketched, pins)
    if (tail === undefined) return undefined
    for (const section of tail.sections) addSection(sections, section)
    return { sections, blocks: inbox.length, hits: hits + tail.hits }
  }

  /** What a group of blocks holds of the metric: merged and kept, or as it is when there is very much of it. */
  async #digest(
    key: string,
    partition: number,
    metricId: Id64,
    group: readonly WantedBlock[],
    stepMs: number,
    isSketched: boolean,
    pins: Map<string, Block>,
  ): Promise<readonly MetricSection[] | undefined> {
    const read = await this.#blocks.read(partition, metricId, group, isSketched, pins)
    if (read === undefined) return undefined
    const sections = read.sections.filter((section) => section !== undefined)
    if (sections.reduce((rows, { length }) => rows + length, 0) > DIGEST_ROWS_MAX) return sections
    const digest = digestOf(key, metricId, sections, stepMs)
    if (digest === undefined) return sections
    const { shelf, position } = group[0]!
    this.#cache.put(digest, { shelf, position })
    return digest.sections
  }
}

/** Undefined: together they are more than a block can hold, in bytes or in weights. */
function digestOf(key: string, metricId: Id64, sections: readonly MetricSection[], stepMs: number): Block | undefined {
  const merged = sections.length === 0 ? [] : [{ metricId, rows: mergeRows(sections, stepMs) }]
  try {
    const { scalars, sketches } = encodeBlock(stepMs, merged)
    const digest = openBlock(key, scalars)
    if (sketches !== undefined) digest.attachSketches(sketches)
    return digest
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function wantedOf({ block, sketchBytes, order }: InboxEntry, shelf: string): WantedBlock {
  return { name: block, sketchBytes, shelf, position: order }
}

function addSection(sections: MetricSection[], section: MetricSection | undefined): void {
  if (section !== undefined) sections.push(section)
}

/** The last group is the one that the next arrivals may join; a fold takes whole groups or the beginning of one. */
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
