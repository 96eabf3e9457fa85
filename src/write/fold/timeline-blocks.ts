import { randomBytes } from 'node:crypto'
import type { Id64 } from '../../model/id.ts'
import type { Pacer } from '../../model/pacer.ts'
import type { Arena } from '../../rollup/arena.ts'
import { type Block, BlockError, BlockVersionError, openBlock } from '../../rollup/block/block.ts'
import { type EncodedBlock, encodeBlock, encodeBlocks } from '../../rollup/block/encode-block.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { FoldCommit, IndexEntry, NamedBlock, Store, WindowKey } from '../../store/store.ts'

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

/** What all blocks of a run have in common: see `IndexEntry`. `deflate`: whether the blocks are compressed. */
export interface RunProperties {
  readonly tier: number
  readonly order: number
  readonly deflate: boolean
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
  const { tier, order, deflate } = run
  const options = { ...TIMELINE_BLOCK_LIMITS, deflate, ...(onOmitted && { onOmittedRow: onOmitted }) }
  return encodeBlocks(resolutionMs, metricId, rows, options).map((encoded) => {
    const block = nameBlock(encoded)
    const { rollupCount, seriesFrom, seriesTo, scalars, sketches } = encoded
    const entry: IndexEntry = {
      block: block.name,
      windowMs,
      tier,
      order,
      seriesFrom,
      seriesTo,
      rollupCount,
      scalarBytes: scalars.length,
      sketchBytes: sketches?.length ?? 0,
    }
    return { block, added: { timeline: { metricId, resolutionMs }, entry } }
  })
}

/**
 * Reads and opens the named blocks with their sketches. Returns undefined if a block no longer exists, for example
 * because another merge has replaced it or its window has expired. Throws a BlockError if a block is damaged.
 */
export async function openAllBlocks(
  store: Store,
  partition: number,
  names: readonly string[],
  arena: Arena,
): Promise<readonly Block[] | undefined> {
  const [scalars, sketches] = await Promise.all([
    store.readBlocks(partition, names, 'scalars'),
    store.readBlocks(partition, names, 'sketches'),
  ])
  const blocks: Block[] = []
  for (const [i, name] of names.entries()) {
    const blockScalars = scalars[i]
    if (blockScalars === undefined) return undefined
    const block = openBlock(name, blockScalars, arena)
    const blockSketches = sketches[i]
    if (blockSketches !== undefined) block.attachSketches(blockSketches)
    blocks.push(block)
  }
  return blocks
}

/** Encodes the rows that a fold leaves in the inbox, as one block of several metrics. */
export function encodeUnfoldedRows(
  resolutionMs: number,
  sections: readonly { readonly metricId: Id64; readonly rows: RollupRows }[],
): NamedBlock {
  return nameBlock(encodeBlock(resolutionMs, sections))
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
  const [scalars, sketches] = await Promise.all([
    store.readBlocks(partition, names, 'scalars'),
    store.readBlocks(partition, names, 'sketches'),
  ])
  const blocks: (Block | BlockError)[] = []
  for (const [i, name] of names.entries()) {
    blocks.push(openOrError(name, scalars[i], sketches[i], arena))
    await pacer.pause()
  }
  return blocks
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
  if (scalars === undefined) return new BlockError(name, 'missing')
  try {
    const block = openBlock(name, scalars, arena)
    if (sketches !== undefined) block.attachSketches(sketches)
    return block.needsSketches && !block.areSketchesAttached ? new BlockError(name, 'its sketches are missing') : block
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
