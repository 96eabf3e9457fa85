import type { FoldCommit, IndexRemovals, WindowExpiry } from './store.ts'

/**
 * What a fold, a merge or an expiry has removed from inbox and index. Both stores pass it to their `onIndexRemoval`
 * listeners.
 */

export function removedByFold({ partition, inbox, removed }: FoldCommit): IndexRemovals {
  const replacedBlocks = removed.map(({ entry }) => entry.block)
  return { partition, inboxEntries: inbox, replacedBlocks, expiredWindows: [] }
}

export function removedByExpiry({ partition, window }: WindowExpiry): IndexRemovals {
  return { partition, inboxEntries: [], replacedBlocks: [], expiredWindows: [window] }
}
