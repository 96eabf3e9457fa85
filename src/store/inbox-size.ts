import type { CommitPart, NamedBlock } from './store.ts'

/** The size of an inbox, or what a commit adds to it. */
export interface InboxSize {
  readonly entries: number
  /** Size of the blocks of the entries. */
  readonly bytes: number
}

/** Returns what parts add to the inbox, unless their markers exist. */
export function inboxSizeOf(parts: readonly CommitPart[]): InboxSize {
  let entries = 0
  let bytes = 0
  for (const { block } of parts) {
    if (block === undefined) continue
    entries++
    bytes += blockBytesOf(block)
  }
  return { entries, bytes }
}

export function blockBytesOf({ scalars, sketches }: NamedBlock): number {
  return scalars.length + (sketches?.length ?? 0)
}
