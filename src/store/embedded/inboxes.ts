import type { InboxEntry } from '../store.ts'
import { afterPrefix, inboxKey, partitionKey } from './keys.ts'
import { decodeInboxEntry, decodePartition, encodeInboxEntry } from './rows.ts'
import type { Tables } from './table.ts'
import type { WriteSet } from './write-set.ts'

/**
 * The inboxes, as rows of the table `inbox` and as decoded entries in memory. A query that needs an inbox reads all its
 * entries, and under load these are thousands. The entries in memory are those of the durable rows: a write changes
 * them when it is durable.
 */

/** An inbox with more entries is not kept in memory. An inbox becomes so long if folds fail for a long time. */
export const KEPT_ENTRIES_MAX = 16_384

export class Inboxes {
  /** By partition: the entries in ascending order. Absent: not read yet, evicted, or too long. */
  readonly #entriesByPartition = new Map<number, InboxEntry[]>()

  /** Returns the durable entries of an inbox, oldest first. Copy the array before an `await`: writes may change it. */
  read(tables: Tables, partition: number): readonly InboxEntry[] {
    let entries = this.#entriesByPartition.get(partition)
    if (entries === undefined) {
      entries = [...entriesOfRows(tables, partition)]
      if (entries.length <= KEPT_ENTRIES_MAX) this.#entriesByPartition.set(partition, entries)
    }
    return entries
  }

  /**
   * Returns the first entries: at most `entriesMax`, whose blocks have at most `bytesMax` bytes together; the first is
   * returned even if its block is larger. Does not read all others if the inbox is too long to be kept in memory.
   */
  readFirst(tables: Tables, partition: number, bytesMax: number, entriesMax: number): InboxEntry[] {
    const { inboxEntryCount } = decodePartition(tables.partitions.get(partitionKey(partition)))
    const isLong = inboxEntryCount > KEPT_ENTRIES_MAX
    return firstOf(isLong ? entriesOfRows(tables, partition) : this.read(tables, partition), bytesMax, entriesMax)
  }

  /** Evicts the entries of an inbox. The next read reads its rows. */
  evict(partition: number): void {
    this.#entriesByPartition.delete(partition)
  }

  /** Adds an entry with a greater `order` than any entry before it. */
  add(writes: WriteSet, partition: number, entry: InboxEntry): void {
    writes.putNew('inbox', inboxKey(partition, entry.order), encodeInboxEntry(entry))
    this.#addOnceDurable(writes, partition, entry)
  }

  /** Adds an entry with the `order` of an entry that the same write removes. */
  replace(writes: WriteSet, partition: number, entry: InboxEntry): void {
    writes.put('inbox', inboxKey(partition, entry.order), encodeInboxEntry(entry))
    this.#addOnceDurable(writes, partition, entry)
  }

  #addOnceDurable(writes: WriteSet, partition: number, entry: InboxEntry): void {
    writes.onceDurable(() => {
      const entries = this.#entriesByPartition.get(partition)
      if (entries === undefined) return
      // An entry of a commit has the greatest order. An entry that `replace` adds may have a smaller order than others.
      const position = entries.findLastIndex(({ order }) => order < entry.order) + 1
      entries.splice(position, 0, entry)
      if (entries.length > KEPT_ENTRIES_MAX) this.#entriesByPartition.delete(partition)
    })
  }

  remove(writes: WriteSet, partition: number, removed: readonly InboxEntry[]): void {
    for (const { order } of removed) writes.remove('inbox', inboxKey(partition, order))
    const orders = new Set(removed.map(({ order }) => order))
    writes.onceDurable(() => {
      const entries = this.#entriesByPartition.get(partition)
      if (entries === undefined) return
      this.#entriesByPartition.set(
        partition,
        entries.filter(({ order }) => !orders.has(order)),
      )
    })
  }
}

function firstOf(entries: Iterable<InboxEntry>, bytesMax: number, entriesMax: number): InboxEntry[] {
  const first: InboxEntry[] = []
  let blockBytes = 0
  for (const entry of entries) {
    blockBytes += entry.scalarBytes + entry.sketchBytes
    if ((blockBytes > bytesMax && first.length > 0) || first.length === entriesMax) break
    first.push(entry)
  }
  return first
}

function* entriesOfRows(tables: Tables, partition: number): Generator<InboxEntry> {
  const start = partitionKey(partition)
  for (const { key, value } of tables.inbox.rows({ start, end: afterPrefix(start) })) yield decodeInboxEntry(key, value)
}
