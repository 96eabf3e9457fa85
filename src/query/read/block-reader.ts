import type { Id64 } from '../../model/id.ts'
import type { Pace } from '../../model/steps.ts'
import { type Block, type MetricSection, openBlock } from '../../rollup/block/block.ts'
import type { Store } from '../../store/store.ts'
import { batchesOf } from './block-batches.ts'
import type { BlockCache, IndexPosition } from './block-cache.ts'

export interface BlockRequest extends IndexPosition {
  readonly name: string
  /** Size of the block's scalars in bytes. */
  readonly scalarBytes: number
  /** Size of the block's sketches in bytes; 0 if it has none. */
  readonly sketchBytes: number
  /** The size with which the scalars and the sketches count at least in a batch (`batchesOf`). */
  readonly bytesMin: number
}

/** What the queries of a request share while they read. */
export interface ReadSession {
  /** The blocks that the session keeps in memory, by name. */
  readonly blocks: Map<string, Block>
  /** The returned pace throws if the queries of the session must stop. */
  createPace(): Pace
}

export interface BlockSections {
  /** One section for each requested block, in the same order; undefined if the block holds no data of the metric. */
  readonly sections: readonly (MetricSection | undefined)[]
  /** Number of requested blocks that were in memory already. */
  readonly cacheHitCount: number
}

/**
 * Reads the sections of a metric from named blocks. Blocks that are not in memory are read from the store and opened in
 * batches, then the missing sketches. Between two batches other requests may run. Concurrent queries that need the same
 * block read it once.
 */
export class BlockReader {
  readonly #store: Pick<Store, 'readBlocks'>
  readonly #cache: BlockCache
  /** Reads of blocks in progress, by block name. */
  readonly #openingBlocks = new Map<string, Promise<Block | undefined>>()
  /** Reads of sketches in progress. They resolve to false if the store no longer has the sketches. */
  readonly #attachingSketches = new Map<Block, Promise<boolean>>()

  constructor(store: Pick<Store, 'readBlocks'>, cache: BlockCache) {
    this.#store = store
    this.#cache = cache
  }

  /**
   * Reads the section of a metric from each requested block. Returns undefined if the store no longer has a block or
   * its sketches; the caller then needs a new index snapshot. The requested blocks are added to those of the session.
   */
  async read(
    partition: number,
    metricId: Id64,
    requests: readonly BlockRequest[],
    withSketches: boolean,
    session: ReadSession,
  ): Promise<BlockSections | undefined> {
    const pinned = session.blocks
    const pace = session.createPace()
    const notInMemory: BlockRequest[] = []
    for (const request of requests) {
      const block = pinned.get(request.name) ?? this.#cache.get(request.name)
      if (block === undefined) notInMemory.push(request)
      else pinned.set(request.name, block)
    }
    for (const [i, batch] of batchesOf(notInMemory, openedScalarBytes).entries()) {
      if (i > 0) await pace.pause()
      for (const block of await this.#openBlocks(partition, batch, pinned)) {
        if (block === undefined) return undefined
        pinned.set(block.name, block)
      }
    }
    const blocks = requests.map(({ name }) => pinned.get(name)!)
    const sections = blocks.map((block) => block.section(metricId))
    if (withSketches) {
      const withoutSketches = requests.filter(
        ({ sketchBytes }, i) => sketchBytes > 0 && sections[i] !== undefined && !blocks[i]!.areSketchesAttached,
      )
      for (const [i, batch] of batchesOf(withoutSketches, openedSketchBytes).entries()) {
        if (i > 0) await pace.pause()
        const batchBlocks = batch.map(({ name }) => pinned.get(name)!)
        if (!(await this.#attachSketches(partition, batchBlocks))) return undefined
      }
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

function openedScalarBytes({ scalarBytes, bytesMin }: BlockRequest): number {
  return Math.max(bytesMin, scalarBytes)
}

function openedSketchBytes({ sketchBytes, bytesMin }: BlockRequest): number {
  return Math.max(bytesMin, sketchBytes)
}
