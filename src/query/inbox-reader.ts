import { formatId, type Id64 } from '../model/id.ts'
import type { Block } from '../rollup/block.ts'
import { mergeRows } from '../rollup/merge-rows.ts'
import type { RollupRows } from '../rollup/rollup-rows.ts'
import type { InboxEntry } from '../store/store.ts'
import type { BlockReader } from './block-reader.ts'

/** Neighbouring inbox blocks merged into one digest. */
const DIGEST_BLOCKS = 64

export interface ReadInbox {
  /** What the inbox holds of the metric, in order of arrival. */
  readonly rows: readonly RollupRows[]
  readonly blocks: number
  readonly hits: number
  settle(): void
}

interface Digest {
  /** Undefined: nothing of the metric. */
  readonly rows: RollupRows | undefined
  readonly bytes: number
}

/**
 * Reads the inbox of a partition for one metric. Under load it consists of many small blocks that name the same series and
 * buckets over and over. Blocks of the same 64 arrival numbers are merged once, as soon as no further one can join them, and
 * the digest is kept instead: a query that comes again merges one table where there were 64 blocks.
 */
export class InboxReader {
  readonly #blocks: BlockReader
  readonly #bytesMax: number
  readonly #digests = new Map<string, Digest>()
  /** Digests on their way; undefined: a block is gone. */
  readonly #digesting = new Map<string, Promise<Digest | undefined>>()
  #bytes = 0

  constructor(blocks: BlockReader, bytesMax: number) {
    this.#blocks = blocks
    this.#bytesMax = bytesMax
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
    const groups = groupByArrival(inbox)
    const open = groups.pop() ?? []
    const rows: RollupRows[] = []
    let hits = 0
    for (const group of groups) {
      const key = `${formatId(metricId)} ${stepMs} ${group[0]!.block} ${group.length}`
      let digest = this.#get(key)
      if (digest === undefined) {
        let digesting = this.#digesting.get(key)
        if (digesting === undefined) {
          digesting = this.#digest(partition, metricId, group, stepMs, isSketched, pins)
          this.#digesting.set(key, digesting)
        }
        digest = await digesting.finally(() => this.#digesting.delete(key))
        if (digest === undefined) return undefined
        this.#keep(key, digest)
      } else hits += group.length
      if (digest.rows !== undefined) rows.push(digest.rows)
    }
    const tail = await this.#blocks.read(partition, metricId, open.map(nameOf), isSketched, pins)
    if (tail === undefined) return undefined
    rows.push(...present(tail.sections))
    return { rows, blocks: inbox.length, hits: hits + tail.hits, settle: tail.settle }
  }

  async #digest(
    partition: number,
    metricId: Id64,
    group: readonly InboxEntry[],
    stepMs: number,
    isSketched: boolean,
    pins: Map<string, Block>,
  ): Promise<Digest | undefined> {
    const read = await this.#blocks.read(partition, metricId, group.map(nameOf), isSketched, pins)
    if (read === undefined) return undefined
    const sections = present(read.sections)
    const rows = sections.length === 0 ? undefined : mergeRows(sections, stepMs)
    read.settle()
    return { rows, bytes: DIGEST_BYTES + (rows?.estimatedBytes ?? 0) }
  }

  #get(key: string): Digest | undefined {
    const digest = this.#digests.get(key)
    if (digest === undefined) return undefined
    this.#digests.delete(key)
    this.#digests.set(key, digest)
    return digest
  }

  #keep(key: string, digest: Digest): void {
    this.#bytes += digest.bytes - (this.#digests.get(key)?.bytes ?? 0)
    this.#digests.set(key, digest)
    for (const [oldest, { bytes }] of this.#digests) {
      if (this.#bytes <= this.#bytesMax) return
      this.#digests.delete(oldest)
      this.#bytes -= bytes
    }
  }
}

/** What a digest takes besides its rows, about. */
const DIGEST_BYTES = 256

function nameOf({ block, sketchBytes }: InboxEntry): { readonly name: string; readonly sketchBytes: number } {
  return { name: block, sketchBytes }
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

function present<T>(sections: readonly (T | undefined)[]): T[] {
  return sections.filter((section) => section !== undefined)
}
