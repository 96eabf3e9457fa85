import type { FoldCommit, Unlisted, WindowExpiry } from './store.ts'

/** Builds the argument of `onUnlisted` listeners: what a successful fold or expiry removed from the index. */

export function unlistedByFold({ partition, inbox, removed }: FoldCommit): Unlisted {
  return { partition, inbox, replaced: removed.map(({ entry }) => entry.block), expired: [] }
}

export function unlistedByExpiry({ partition, window }: WindowExpiry): Unlisted {
  return { partition, inbox: [], replaced: [], expired: [window] }
}
