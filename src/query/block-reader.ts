import type { Id64 } from '../model/id.ts'
import { type Block, type MetricSection, openBlock } from '../rollup/block.ts'
import type { Store } from '../store/store.ts'
import { BlockCache } from './block-cache.ts'

export interface BlockName {
  readonly name: string
  /** 0: no sketches belong to it. */
  readonly sketchBytes: number
}

export interface ReadBlocks {
  /** Of each block asked for, in that order; undefined where it holds nothing of the metric. */
  readonly sections: readonly (MetricSection | undefined)[]
  /** How many were already decoded. */
  readonly hits: number
  /** To be called when the sections have been used: their columns, decoded meanwhile, are counted. */
  settle(): void
}

/** Sections of a metric from blocks by name: from memory, or fetched together. */
export class BlockReader {
  readonly #store: Store
  readonly #cache: BlockCache

  constructor(store: Store, cacheBytesMax: number) {
    this.#store = store
    this.#cache = new BlockCache(cacheBytesMax)
  }

  /** Undefined: a block is gone, and a new index snapshot is needed. */
  async read(
    partition: number,
    metricId: Id64,
    wanted: readonly BlockName[],
    withSketches: boolean,
  ): Promise<ReadBlocks | undefined> {
    const held = wanted.map(({ name }) => this.#cache.get(name))
    const missing = wanted.filter((_, i) => held[i] === undefined)
    const scalars = await this.#fetch(partition, missing, 'scalars')
    if (scalars === undefined) return undefined
    const fetched = new Map<string, Block>()
    for (const [i, { name }] of missing.entries()) {
      const block = openBlock(name, scalars[i]!)
      fetched.set(name, block)
      this.#cache.put(block)
    }
    const blocks = wanted.map(({ name }, i) => held[i] ?? fetched.get(name)!)
    const sections = blocks.map((block) => block.section(metricId))
    if (withSketches) {
      const without = wanted
        .map(({ name, sketchBytes }, i) => ({ name, sketchBytes, block: blocks[i]!, section: sections[i] }))
        .filter(({ sketchBytes, block, section }) => sketchBytes > 0 && section !== undefined && !block.hasSketches)
      const sketches = await this.#fetch(partition, without, 'sketches')
      if (sketches === undefined) return undefined
      for (const [i, { block }] of without.entries()) {
        // Another query may have been quicker.
        if (!block.hasSketches) block.attachSketches(sketches[i]!)
      }
    }
    return { sections, hits: wanted.length - missing.length, settle: () => this.#cache.settle(blocks) }
  }

  async #fetch(
    partition: number,
    blocks: readonly BlockName[],
    part: 'scalars' | 'sketches',
  ): Promise<readonly Uint8Array[] | undefined> {
    if (blocks.length === 0) return []
    const names = blocks.map(({ name }) => name)
    const fetched = await this.#store.readBlocks(partition, names, part)
    const found = fetched.filter((bytes) => bytes !== undefined)
    return found.length === names.length ? found : undefined
  }
}
