import type { FoldCommit, Unlisted, WindowExpiry } from './store.ts'

/** What a successful fold or expiry removed from the index: both stores pass it to the listeners of `onUnlisted`. */

export function unlistedByFold({ partition, inbox, removed }: FoldCommit): Unlisted {
  return { partition, inbox, replaced: removed.map(({ entry }) => entry.block), expired: [] }
}

export function unlistedByExpiry({ partition, window }: WindowExpiry): Unlisted {
  return { partition, inbox: [], replaced: [], expired: [window] }
}
