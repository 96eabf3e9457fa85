import type { Id64 } from '../../model/id.ts'
import { type Block, type MetricSection, openBlock } from '../../rollup/block.ts'
import type { Store } from '../../store/store.ts'
import type { BlockCache, ShelfPlace } from './block-cache.ts'

export interface WantedBlock extends ShelfPlace {
  readonly name: string
  /** 0: no sketches belong to it. */
  readonly sketchBytes: number
}

export interface ReadBlocks {
  /** Of each block asked for, in that order; undefined where it holds nothing of the metric. */
  readonly sections: readonly (MetricSection | undefined)[]
  /** How many were already decoded. */
  readonly hits: number
}

/** Sections of a metric from blocks by name: from memory, or fetched together. Queries that want the same block fetch it once. */
export class BlockReader {
  readonly #store: Store
  readonly #cache: BlockCache
  /** Blocks on their way. */
  readonly #opening = new Map<string, Promise<Block | undefined>>()
  /** Sketches on their way to blocks; false: they are gone. */
  readonly #attaching = new Map<Block, Promise<boolean>>()

  constructor(store: Store, cache: BlockCache) {
    this.#store = store
    this.#cache = cache
  }

  /**
   * Undefined: a block is gone, and a new index snapshot is needed. `pins` are blocks that stay in memory for the caller; those
   * read join them.
   */
  async read(
    partition: number,
    metricId: Id64,
    wanted: readonly WantedBlock[],
    withSketches: boolean,
    pins: Map<string, Block>,
  ): Promise<ReadBlocks | undefined> {
    const held = wanted.map(({ name }) => pins.get(name) ?? this.#cache.get(name))
    const missing = wanted.filter((_, i) => held[i] === undefined)
    const opened = missing.length === 0 ? [] : await this.#open(partition, missing, pins)
    const blocks: Block[] = []
    let next = 0
    for (const block of held) {
      const found = block ?? opened[next++]
      if (found === undefined) return undefined
      blocks.push(found)
      pins.set(found.name, found)
    }
    const sections = blocks.map((block) => block.section(metricId))
    if (withSketches) {
      const without = blocks.filter(
        (block, i) => wanted[i]!.sketchBytes > 0 && sections[i] !== undefined && !block.hasSketches,
      )
      if (without.length > 0 && !(await this.#attach(partition, without))) return undefined
    }
    return { sections, hits: wanted.length - missing.length }
  }

  async #open(
    partition: number,
    wanted: readonly WantedBlock[],
    pins: Map<string, Block>,
  ): Promise<readonly (Block | undefined)[]> {
    const own = wanted.filter(({ name }) => !this.#opening.has(name))
    if (own.length > 0) {
      const names = own.map(({ name }) => name)
      const fetched = this.#store.readBlocks(partition, names, 'scalars')
      for (const [i, place] of own.entries()) {
        const { name } = place
        const opening = fetched.then((parts) => {
          const bytes = parts[i]
          if (bytes === undefined) return undefined
          const block = openBlock(name, bytes)
          this.#cache.put(block, place)
          // At once: the cache may be too small for it, and other queries of the caller's request are about to look.
          pins.set(name, block)
          return block
        })
        this.#keepUntilDone(this.#opening, name, opening)
      }
    }
    return Promise.all(wanted.map(({ name }) => this.#opening.get(name)))
  }

  async #attach(partition: number, blocks: readonly Block[]): Promise<boolean> {
    const own = blocks.filter((block) => !this.#attaching.has(block))
    if (own.length > 0) {
      const fetched = this.#store.readBlocks(
        partition,
        own.map(({ name }) => name),
        'sketches',
      )
      for (const [i, block] of own.entries()) {
        const attaching = fetched.then((parts) => {
          const bytes = parts[i]
          if (bytes !== undefined) block.attachSketches(bytes)
          return bytes !== undefined
        })
        this.#keepUntilDone(this.#attaching, block, attaching)
      }
    }
    const attached = await Promise.all(blocks.map((block) => this.#attaching.get(block)))
    return !attached.includes(false)
  }

  #keepUntilDone<K, V>(underWay: Map<K, Promise<V>>, key: K, done: Promise<V>): void {
    underWay.set(key, done)
    const forget = (): void => {
      underWay.delete(key)
    }
    done.then(forget, forget)
  }
}
