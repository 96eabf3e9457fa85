import type { IndexEntry } from './store.ts'

/** Compares index entries: by window, then by arrival of their points, by their first series, and by block name. */
export function compareIndexEntries(a: IndexEntry, b: IndexEntry): number {
  return (
    a.windowMs - b.windowMs ||
    a.order - b.order ||
    b.tier - a.tier ||
    a.seriesFrom.hi - b.seriesFrom.hi ||
    a.seriesFrom.lo - b.seriesFrom.lo ||
    (a.block < b.block ? -1 : 1)
  )
}
