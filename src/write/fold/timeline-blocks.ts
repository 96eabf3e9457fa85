import { randomBytes } from 'node:crypto'
import type { Id64 } from '../../model/id.ts'
import type { Pacer } from '../../model/pacer.ts'
import type { Arena } from '../../rollup/arena.ts'
import { type Block, BlockError, BlockVersionError, openBlock } from '../../rollup/block.ts'
import { type EncodedBlock, encodeBlock, encodeBlocks } from '../../rollup/encode-block.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { FoldCommit, IndexEntry, NamedBlock, Store, WindowKey } from '../../store/store.ts'

/** Blocks of timelines and inboxes, as fold and merge read and write them. */

/**
 * Bounds of one block of a timeline. A query of one series reads one block of each run, so a block should not hold many
 * series; a query of all reads every block, so there should not be many blocks. 8,192 rollups are the windows of some
 * twenty series.
 */
const TIMELINE_BLOCK = { bytesMax: 1 << 17, rowsMax: 8_192 } as const

/** A block about to be written, and the entry that will list it. */
export interface TimelineBlock {
  readonly block: NamedBlock
  readonly added: FoldCommit['added'][number]
}

/** What all blocks of a run share. */
export interface RunHead {
  readonly tier: number
  readonly order: number
  readonly deflate: boolean
}

/** The rows of one window as blocks of a run. */
export function encodeRun(
  window: WindowKey,
  rows: RollupRows,
  run: RunHead,
  onOmitted?: (row: number, cause: unknown) => void,
): TimelineBlock[] {
  const { metricId, resolutionMs, windowMs } = window
  const { tier, order, deflate } = run
  const options = { ...TIMELINE_BLOCK, deflate, ...(onOmitted && { setAside: onOmitted }) }
  return encodeBlocks(resolutionMs, metricId, rows, options).map((encoded) => {
    const block = nameBlock(encoded)
    const { rollups, seriesFrom, seriesTo, scalars, sketches } = encoded
    const entry: IndexEntry = {
      block: block.name,
      windowMs,
      tier,
      order,
      seriesFrom,
      seriesTo,
      rollups,
      scalarBytes: scalars.length,
      sketchBytes: sketches?.length ?? 0,
    }
    return { block, added: { timeline: { metricId, resolutionMs }, entry } }
  })
}

/**
 * The blocks of these names with their sketches; undefined when one no longer exists, because another fold replaced it.
 */
export async function openBlocks(
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
    const bytes = scalars[i]
    if (bytes === undefined) return undefined
    const block = openBlock(name, bytes, arena)
    const bins = sketches[i]
    if (bins !== undefined) block.attachSketches(bins)
    blocks.push(block)
  }
  return blocks
}

/** A block of the inbox: rollups of several metrics. */
export function encodeInboxBlock(
  resolutionMs: number,
  sections: readonly { readonly metricId: Id64; readonly rows: RollupRows }[],
): NamedBlock {
  return nameBlock(encodeBlock(resolutionMs, sections))
}

/** Each of the blocks of these names, or the error for one that can never be read. */
export async function openEach(
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

/** Throws for a block of an unknown version: a newer gateway can read it. */
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
    return block.needsSketches && !block.hasSketches ? new BlockError(name, 'its sketches are missing') : block
  } catch (cause) {
    if (cause instanceof BlockError && !(cause instanceof BlockVersionError)) return cause
    throw cause
  }
}

export function blockBytes({ scalars, sketches }: NamedBlock): number {
  return scalars.length + (sketches?.length ?? 0)
}

export function bytesOf(blocks: readonly TimelineBlock[]): number {
  return blocks.reduce((sum, { added: { entry } }) => sum + entry.scalarBytes + entry.sketchBytes, 0)
}

/** Block names of this process are unique by their random prefix. */
const namePrefix = `f${randomBytes(12).toString('hex')}`
let namesUsed = 0

function nameBlock({ scalars, sketches }: EncodedBlock): NamedBlock {
  return { name: `${namePrefix}.${(namesUsed++).toString(36)}`, scalars, sketches }
}
