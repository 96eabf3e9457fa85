import type { Id64 } from '../../model/id.ts'
import { type Block, type MetricSection, openBlock } from '../../rollup/block/block.ts'
import type { Store } from '../../store/store.ts'
import type { BlockCache, IndexPosition } from './block-cache.ts'

export interface BlockRequest extends IndexPosition {
  readonly name: string
  /** Size of the block's sketches in bytes; 0 if it has none. */
  readonly sketchBytes: number
}

export interface BlockSections {
  /** One section for each requested block, in the same order; undefined if the block holds no data of the metric. */
  readonly sections: readonly (MetricSection | undefined)[]
  /** Number of requested blocks that were in memory already. */
  readonly cacheHitCount: number
}

/**
 * Reads the sections of a metric from named blocks. Blocks that are not in memory are read from the store in one call,
 * and missing sketches in another. Concurrent queries that need the same block read it once.
 */
export class BlockReader {
  readonly #store: Store
  readonly #cache: BlockCache
  /** Reads of blocks in progress, by block name. */
  readonly #openingBlocks = new Map<string, Promise<Block | undefined>>()
  /** Reads of sketches in progress. They resolve to false if the store no longer has the sketches. */
  readonly #attachingSketches = new Map<Block, Promise<boolean>>()

  constructor(store: Store, cache: BlockCache) {
    this.#store = store
    this.#cache = cache
  }

  /**
   * Reads the section of a metric from each requested block. Returns undefined if the store no longer has a block or
   * its sketches; the caller then needs a new index snapshot. `pinned` are the blocks that the caller keeps in memory,
   * by name; the requested blocks are added to them.
   */
  async read(
    partition: number,
    metricId: Id64,
    requests: readonly BlockRequest[],
    withSketches: boolean,
    pinned: Map<string, Block>,
  ): Promise<BlockSections | undefined> {
    const blocksInMemory = requests.map(({ name }) => pinned.get(name) ?? this.#cache.get(name))
    const notInMemory = requests.filter((_, i) => blocksInMemory[i] === undefined)
    const openedBlocks = notInMemory.length === 0 ? [] : await this.#openBlocks(partition, notInMemory, pinned)
    const blocks: Block[] = []
    let nextOpened = 0
    for (const blockInMemory of blocksInMemory) {
      const block = blockInMemory ?? openedBlocks[nextOpened++]
      if (block === undefined) return undefined
      blocks.push(block)
      pinned.set(block.name, block)
    }
    const sections = blocks.map((block) => block.section(metricId))
    if (withSketches) {
      const withoutSketches = blocks.filter(
        (block, i) => requests[i]!.sketchBytes > 0 && sections[i] !== undefined && !block.areSketchesAttached,
      )
      if (withoutSketches.length > 0 && !(await this.#attachSketches(partition, withoutSketches))) return undefined
    }
    return { sections, cacheHitCount: requests.length - notInMemory.length }
  }

  async #openBlocks(
    partition: number,
    requests: readonly BlockRequest[],
    pinned: Map<string, Block>,
  ): Promise<readonly (Block | undefined)[]> {
    const notInProgress = requests.filter(({ name }) => !this.#openingBlocks.has(name))
    if (notInProgress.length > 0) {
      const names = notInProgress.map(({ name }) => name)
      const fetched = this.#store.readBlocks(partition, names, 'scalars')
      for (const [i, request] of notInProgress.entries()) {
        const { name } = request
        const opening = fetched.then((strings) => {
          const bytes = strings[i]
          if (bytes === undefined) return undefined
          const block = openBlock(name, bytes)
          this.#cache.put(block, request)
          // The block is pinned immediately: the cache may be too small to keep it, and other queries of the request
          // may need it too.
          pinned.set(name, block)
          return block
        })
        this.#trackUntilSettled(this.#openingBlocks, name, opening)
      }
    }
    return Promise.all(requests.map(({ name }) => this.#openingBlocks.get(name)))
  }

  async #attachSketches(partition: number, blocks: readonly Block[]): Promise<boolean> {
    const notInProgress = blocks.filter((block) => !this.#attachingSketches.has(block))
    if (notInProgress.length > 0) {
      const fetched = this.#store.readBlocks(
        partition,
        notInProgress.map(({ name }) => name),
        'sketches',
      )
      for (const [i, block] of notInProgress.entries()) {
        const attaching = fetched.then((strings) => {
          const bytes = strings[i]
          if (bytes !== undefined) block.attachSketches(bytes)
          return bytes !== undefined
        })
        this.#trackUntilSettled(this.#attachingSketches, block, attaching)
      }
    }
    const attached = await Promise.all(blocks.map((block) => this.#attachingSketches.get(block)))
    return !attached.includes(false)
  }

  /** Keeps a promise in `pending` until it is resolved or rejected. */
  #trackUntilSettled<K, V>(pending: Map<K, Promise<V>>, key: K, promise: Promise<V>): void {
    pending.set(key, promise)
    const remove = (): void => {
      pending.delete(key)
    }
    promise.then(remove, remove)
  }
}
