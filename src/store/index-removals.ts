import type { FoldCommit, IndexRemovals, WindowExpiry } from './store.ts'

/**
 * Both stores call these functions after a fold or an expiry. They return what it has removed from the index; the store
 * passes this to its `onIndexRemoval` listeners.
 */

export function removedByFold({ partition, inbox, removed }: FoldCommit): IndexRemovals {
  return { partition, inbox, replaced: removed.map(({ entry }) => entry.block), expired: [] }
}

export function removedByExpiry({ partition, window }: WindowExpiry): IndexRemovals {
  return { partition, inbox: [], replaced: [], expired: [window] }
}
