import type { FoldCommit, IndexRemovals, WindowExpiry } from './store.ts'

/**
 * The index entries that a fold, a merge or an expiry has removed. Both stores pass them to their `onIndexRemoval`
 * listeners.
 */

export function removedByFold({ partition, inbox, removed }: FoldCommit): IndexRemovals {
  const replacedBlocks = removed.map(({ entry }) => entry.block)
  return { partition, inboxEntries: inbox, replacedBlocks, expiredWindows: [] }
}

export function removedByExpiry({ partition, window }: WindowExpiry): IndexRemovals {
  return { partition, inboxEntries: [], replacedBlocks: [], expiredWindows: [window] }
}
