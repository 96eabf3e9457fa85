import { randomBytes } from 'node:crypto'
import type { Id64 } from '../../model/id.ts'
import type { Pacer } from '../../model/pacer.ts'
import type { Arena } from '../../rollup/arena.ts'
import { type Block, BlockError, BlockVersionError, openBlock } from '../../rollup/block/block.ts'
import { type Deflation, type EncodedBlock, encodeBlock, encodeBlocks } from '../../rollup/block/encode-block.ts'
import { divideRows } from '../../rollup/merge-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { FoldCommit, IndexEntry, NamedBlock, Store, WindowKey } from '../../store/store.ts'
import { LARGE_TIER, SEALED_TIER } from './runs-to-merge.ts'

/** Encodes and opens the blocks of timelines and inboxes for fold and merge. */

/**
 * Maximum size of one block of a timeline. A query of one series mostly reads one block of each run, so a block should
 * hold few series. A query of all series reads every block, so there should be few blocks. In a full window, 8,192
 * rollups are about twenty series.
 */
const TIMELINE_BLOCK_LIMITS = { bytesMax: 1 << 17, rowsMax: 8_192 } as const

/** A block that is about to be written, and the index entry that will list it. */
export interface TimelineBlock {
  readonly block: NamedBlock
  readonly added: FoldCommit['added'][number]
}

/** What all blocks of a run have in common: see `IndexEntry`. */
export interface RunProperties {
  readonly tier: number
  readonly order: number
}

/**
 * Encodes the rows of one window as the blocks of a run. `onOmitted` is called for each row that cannot be encoded, and
 * the row is omitted. Without `onOmitted`, throws a RangeError at the first such row.
 */
export function encodeRun(
  window: WindowKey,
  rows: RollupRows,
  run: RunProperties,
  onOmitted?: (row: number, cause: unknown) => void,
): TimelineBlock[] {
  const { metricId, resolutionMs, windowMs } = window
  const { tier, order } = run
  const deflate = deflationOf(tier)
  const options = { ...TIMELINE_BLOCK_LIMITS, deflate, ...(onOmitted && { onOmittedRow: onOmitted }) }
  return encodeBlocks(resolutionMs, metricId, rows, options).map((encoded) => {
    const block = nameBlock(encoded)
    const { rollupCount, seriesFrom, seriesTo, firstBucketMs, lastBucketMs, scalars, sketches } = encoded
    const entry: IndexEntry = {
      block: block.name,
      windowMs,
      tier,
      order,
      seriesFrom,
      seriesTo,
      buckets: { fromMs: firstBucketMs, toMs: lastBucketMs + resolutionMs },
      rollupCount,
      scalarBytes: scalars.length,
      sketchBytes: sketches?.length ?? 0,
    }
    return { block, added: { timeline: { metricId, resolutionMs }, entry } }
  })
}

/** Large runs are rarely rewritten, and most queries read other runs. Sealed runs are stored for long. */
function deflationOf(tier: number): Deflation {
  if (tier === SEALED_TIER) return 'small'
  return tier >= LARGE_TIER ? 'fast' : false
}

/** Reads and opens the named blocks with their sketches. Throws a BlockError if a block is missing or damaged. */
export async function openAllBlocks(
  store: Store,
  partition: number,
  names: readonly string[],
  arena: Arena,
): Promise<readonly Block[]> {
  const [scalars, sketches] = await readStrings(store, partition, names)
  return names.map((name, i) => openWithSketches(name, scalars[i], sketches[i], arena))
}

/**
 * Encodes the rows that a fold leaves in the inbox, as one block of several metrics. `onOmitted` is called for each row
 * that cannot be encoded, and the row is omitted.
 */
export function encodeUnfoldedRows(
  resolutionMs: number,
  sections: readonly { readonly metricId: Id64; readonly rows: RollupRows }[],
  onOmitted: (cause: unknown) => void,
): NamedBlock {
  try {
    return nameBlock(encodeBlock(resolutionMs, sections))
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
  }
  const encodable = sections.map(({ metricId, rows }) => {
    const omittedRows = new Set<number>()
    const onOmittedRow = (row: number, cause: unknown): void => {
      omittedRows.add(row)
      onOmitted(cause)
    }
    encodeBlocks(resolutionMs, metricId, rows, { onOmittedRow })
    return { metricId, rows: divideRows(rows, (_, row) => !omittedRows.has(row))[0] }
  })
  return nameBlock(encodeBlock(resolutionMs, encodable))
}

/**
 * Reads and opens the named blocks with their sketches. Returns a BlockError in place of each block that can never be
 * read.
 */
export async function openReadableBlocks(
  store: Store,
  partition: number,
  names: readonly string[],
  arena: Arena,
  pacer: Pacer,
): Promise<readonly (Block | BlockError)[]> {
  const [scalars, sketches] = await readStrings(store, partition, names)
  const blocks: (Block | BlockError)[] = []
  for (const [i, name] of names.entries()) {
    blocks.push(openOrError(name, scalars[i], sketches[i], arena))
    await pacer.pause()
  }
  return blocks
}

/** Reads the scalars and the sketches of blocks, in two calls. A block may be removed between them. */
function readStrings(store: Store, partition: number, names: readonly string[]) {
  return Promise.all([store.readBlocks(partition, names, 'scalars'), store.readBlocks(partition, names, 'sketches')])
}

/** Opens a block. Throws a BlockError if its scalars or sketches are missing or damaged. */
function openWithSketches(
  name: string,
  scalars: Uint8Array | undefined,
  sketches: Uint8Array | undefined,
  arena: Arena,
): Block {
  if (scalars === undefined) throw new BlockError(name, 'missing')
  const block = openBlock(name, scalars, arena)
  if (sketches !== undefined) block.attachSketches(sketches)
  if (block.needsSketches && !block.areSketchesAttached) throw new BlockError(name, 'its sketches are missing')
  return block
}

/**
 * Opens a block; returns a BlockError if it is missing or damaged. Throws for a block of an unknown version, because a
 * newer gateway can read it.
 */
function openOrError(
  name: string,
  scalars: Uint8Array | undefined,
  sketches: Uint8Array | undefined,
  arena: Arena,
): Block | BlockError {
  try {
    return openWithSketches(name, scalars, sketches, arena)
  } catch (cause) {
    if (cause instanceof BlockError && !(cause instanceof BlockVersionError)) return cause
    throw cause
  }
}

/** Returns the bytes of the scalars and sketches of a block. */
export function bytesOfBlock({ scalars, sketches }: NamedBlock): number {
  return scalars.length + (sketches?.length ?? 0)
}

/** Same as `bytesOfBlock`, for several blocks together. */
export function bytesOfBlocks(blocks: readonly TimelineBlock[]): number {
  return blocks.reduce((sum, { added: { entry } }) => sum + entry.scalarBytes + entry.sketchBytes, 0)
}

/** Prefix of the names of the blocks that folds and merges of this process write. Random, so that names are unique. */
const blockNamePrefix = `f${randomBytes(12).toString('hex')}`
let blockNamesUsed = 0

function nameBlock({ scalars, sketches }: EncodedBlock): NamedBlock {
  return { name: `${blockNamePrefix}.${(blockNamesUsed++).toString(36)}`, scalars, sketches }
}
