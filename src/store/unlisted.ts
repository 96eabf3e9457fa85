import type { FoldCommit, Unlisted, WindowExpiry } from './store.ts'

/** Both stores call these functions after a fold or an expiry, to tell `onUnlisted` listeners what it has removed. */

export function unlistedByFold({ partition, inbox, removed }: FoldCommit): Unlisted {
  return { partition, inbox, replaced: removed.map(({ entry }) => entry.block), expired: [] }
}

export function unlistedByExpiry({ partition, window }: WindowExpiry): Unlisted {
  return { partition, inbox: [], replaced: [], expired: [window] }
}
