import { assert } from '../../model/errors.ts'
import type { Id64 } from '../../model/id.ts'
import { compareIndexEntries } from '../index-order.ts'
import type {
  FoldCommit,
  InboxEntry,
  IndexEntry,
  IndexRequest,
  NamedBlock,
  TimelineIndex,
  TimelineKey,
  WindowExpiry,
  WindowKey,
  WindowRetention,
} from '../store.ts'
import { type Stretch, windowStart, windowWidthMs } from '../windows.ts'
import { blockExists, decrementListings, expireBlockIfUnlisted, incrementListings, putBlock } from './blocks.ts'
import type { HeldBlocks } from './held-blocks.ts'
import type { Inboxes } from './inboxes.ts'
import {
  afterPrefix,
  dueKey,
  dueKeysEnd,
  inboxKey,
  indexKey,
  partitionKey,
  readDueKey,
  readPartition,
  readWindowKey,
  windowKey,
} from './keys.ts'
import {
  decodeInboxEntry,
  decodeIndexEntry,
  decodeJson,
  decodePartition,
  decodeWindowRow,
  encodeIndexEntry,
  encodeJson,
  encodePartition,
  encodeWindowRow,
  overlapsSeries,
  type WindowRow,
} from './rows.ts'
import { removeSketches } from './sets.ts'
import { addExpiredStretch, readExpiredStretches, removeExpiredStretches } from './stretches.ts'
import { NO_VALUE, type Tables } from './table.ts'
import { REMOVALS_PER_WRITE_MAX, type WriteSet } from './write-set.ts'

/**
 * Stores the index of inboxes and timelines (which blocks have which data), and runs the atomic steps of folding and
 * expiring.
 */

export function readTimeline(
  tables: Tables,
  partition: number,
  metricId: Id64,
  resolutionMs: number,
  stretch: Stretch,
  expiredOnly: boolean,
  seriesRange: IndexRequest['seriesRange'],
): TimelineIndex {
  const entries: IndexEntry[] = []
  if (stretch.toMs > stretch.fromMs && !expiredOnly) {
    const start = windowKey(partition, metricId, resolutionMs, windowStart(resolutionMs, stretch.fromMs))
    const end = windowKey(partition, metricId, resolutionMs, stretch.toMs)
    const condemned = new Set([...tables.condemned.keys({ start, end })].map((key) => readWindowKey(key).windowMs))
    for (const { key, value } of tables.index.rows({ start, end })) {
      if (seriesRange !== undefined && !overlapsSeries(key, value, seriesRange.from, seriesRange.to)) continue
      const entry = decodeIndexEntry(key, value)
      if (!condemned.has(entry.windowMs)) entries.push(entry)
    }
    // Rows are sorted by key, but the key does not contain the tier.
    entries.sort(compareIndexEntries)
  }
  return { resolutionMs, entries, expired: readExpiredStretches(tables, partition, metricId, resolutionMs, stretch) }
}

/** Applies a fold or a merge. Returns false and changes nothing if `isApplicable` is false. */
export function commitFold(writes: WriteSet, heldBlocks: HeldBlocks, inboxes: Inboxes, fold: FoldCommit): boolean {
  if (!isApplicable(writes, heldBlocks, fold)) return false
  const { partition, nowMs } = fold
  const windows = new WindowChanges(writes, partition)

  for (const { timeline, entry } of fold.added) {
    const block = heldBlocks.get(partition, entry.block, nowMs)
    if (block !== undefined) {
      putBlock(writes, partition, block)
      writes.onceDurable(() => heldBlocks.removeUncommitted(partition, entry.block))
    }
    incrementListings(writes, partition, entry.block)
    windows.addToEntryCount(timeline, entry.windowMs, 1)
  }
  for (const { timeline, entry } of fold.removed) {
    writes.remove('index', indexKey(partition, timeline.metricId, timeline.resolutionMs, entry))
    decrementListings(writes, partition, entry.block)
    windows.addToEntryCount(timeline, entry.windowMs, -1)
  }
  // Entries are added after the removals, so that an entry that is both removed and added stays.
  for (const { timeline, entry } of fold.added) {
    const key = indexKey(partition, timeline.metricId, timeline.resolutionMs, entry)
    writes.put('index', key, encodeIndexEntry(entry))
  }
  for (const window of fold.touched) windows.touch(window)
  windows.write()

  removeFromInbox(writes, inboxes, partition, fold.inbox)
  for (const { entry, block } of fold.partlyFolded ?? [])
    putBackInInbox(writes, heldBlocks, inboxes, partition, entry, block)
  const blockNames = new Set([...fold.inbox.map(({ block }) => block), ...fold.removed.map(({ entry }) => entry.block)])
  for (const name of blockNames) expireBlockIfUnlisted(writes, heldBlocks, partition, name, nowMs)
  return true
}

/** Returns whether all entries to replace and all new blocks exist, and no window of a new index entry has expired. */
function isApplicable(writes: WriteSet, heldBlocks: HeldBlocks, fold: FoldCommit): boolean {
  const { partition, nowMs, partlyFolded = [] } = fold
  if (partlyFolded.some(({ block }) => heldBlocks.get(partition, block.name, nowMs) === undefined)) return false
  for (const entry of fold.inbox) {
    const key = inboxKey(partition, entry.order)
    const bytes = writes.get('inbox', key)
    if (bytes === undefined || decodeInboxEntry(key, bytes).block !== entry.block) return false
  }
  for (const { timeline, entry } of fold.removed) {
    if (!writes.has('index', indexKey(partition, timeline.metricId, timeline.resolutionMs, entry))) return false
    if (isCondemned(writes, partition, timeline, entry)) return false
  }
  for (const { timeline, entry } of fold.added) {
    const exists =
      heldBlocks.get(partition, entry.block, nowMs) !== undefined || blockExists(writes, partition, entry.block)
    if (!exists || isCondemned(writes, partition, timeline, entry)) return false
    const { metricId, resolutionMs } = timeline
    const window = stretchOf({ ...timeline, windowMs: entry.windowMs })
    if (readExpiredStretches(writes.tables, partition, metricId, resolutionMs, window).length > 0) return false
  }
  return true
}

/** Returns whether the window of an entry has expired, but its data is not removed yet. */
function isCondemned(
  writes: WriteSet,
  partition: number,
  { metricId, resolutionMs }: TimelineKey,
  { windowMs }: IndexEntry,
): boolean {
  return writes.has('condemned', windowKey(partition, metricId, resolutionMs, windowMs))
}

function removeFromInbox(writes: WriteSet, inboxes: Inboxes, partition: number, entries: readonly InboxEntry[]): void {
  if (entries.length === 0) return
  let row = decodePartition(writes.get('partitions', partitionKey(partition)))
  inboxes.remove(writes, partition, entries)
  for (const entry of entries) {
    row = {
      newestOrder: row.newestOrder,
      inboxEntryCount: row.inboxEntryCount - 1,
      inboxBytes: row.inboxBytes - entry.scalarBytes - entry.sketchBytes,
    }
  }
  writes.put('partitions', partitionKey(partition), encodePartition(row))
}

/** Adds an inbox entry for a block with the rollups that remain to be folded, in place of the removed `entry`. */
function putBackInInbox(
  writes: WriteSet,
  heldBlocks: HeldBlocks,
  inboxes: Inboxes,
  partition: number,
  entry: InboxEntry,
  block: NamedBlock,
): void {
  const scalarBytes = block.scalars.length
  const sketchBytes = block.sketches?.length ?? 0
  putBlock(writes, partition, block)
  writes.onceDurable(() => heldBlocks.removeUncommitted(partition, block.name))
  inboxes.replace(writes, partition, { ...entry, block: block.name, scalarBytes, sketchBytes })
  const row = decodePartition(writes.get('partitions', partitionKey(partition)))
  const inboxBytes = row.inboxBytes + scalarBytes + sketchBytes
  writes.put(
    'partitions',
    partitionKey(partition),
    encodePartition({ ...row, inboxEntryCount: row.inboxEntryCount + 1, inboxBytes }),
  )
}

/**
 * Collects what a fold or a merge changes in the table `windows`, and writes these changes. Makes the same changes in
 * the table `due`, which has the windows in the order in which they expire.
 */
class WindowChanges {
  readonly #writes: WriteSet
  readonly #partition: number
  readonly #windows = new Map<string, WindowChange>()

  constructor(writes: WriteSet, partition: number) {
    this.#writes = writes
    this.#partition = partition
  }

  addToEntryCount(timeline: TimelineKey, windowMs: number, change: 1 | -1): void {
    this.#change({ ...timeline, windowMs }).entryCount += change
  }

  touch(window: WindowRetention): void {
    const change = this.#change(window)
    change.expiresMs = Math.max(change.expiresMs, window.expiresMs)
  }

  write(): void {
    for (const { key, window, storedRow, entryCount, expiresMs } of this.#windows.values()) {
      if (storedRow !== undefined && (entryCount === 0 || storedRow.expiresMs !== expiresMs)) {
        this.#writes.remove('due', this.#dueKey(window, storedRow.expiresMs))
      }
      if (entryCount === 0) {
        if (storedRow !== undefined) this.#writes.remove('windows', key)
        continue
      }
      assert(Number.isFinite(expiresMs), 'a fold touches every window that it begins')
      this.#writes.put('windows', key, encodeWindowRow({ entryCount, expiresMs }))
      if (storedRow?.expiresMs !== expiresMs) this.#writes.put('due', this.#dueKey(window, expiresMs), NO_VALUE)
    }
  }

  #change(window: WindowKey): WindowChange {
    const key = windowKey(this.#partition, window.metricId, window.resolutionMs, window.windowMs)
    const text = key.toString('latin1')
    let change = this.#windows.get(text)
    if (change === undefined) {
      const bytes = this.#writes.get('windows', key)
      const storedRow = bytes && decodeWindowRow(bytes)
      const expiresMs = storedRow?.expiresMs ?? Number.NEGATIVE_INFINITY
      change = { key, window, storedRow, entryCount: storedRow?.entryCount ?? 0, expiresMs }
      this.#windows.set(text, change)
    }
    return change
  }

  #dueKey(window: WindowKey, expiresMs: number): Buffer {
    return dueKey(this.#partition, expiresMs, window)
  }
}

interface WindowChange {
  readonly key: Buffer
  readonly window: WindowKey
  /** The stored row. Undefined if the window is new. */
  readonly storedRow: WindowRow | undefined
  /** Number of index entries, and time of expiry, after the fold. Time -Infinity: a new window, not touched yet. */
  entryCount: number
  expiresMs: number
}

export function dueWindows(tables: Tables, partition: number, nowMs: number, max: number): WindowKey[] {
  const windows: WindowKey[] = []
  for (const key of tables.due.keys({
    start: partitionKey(partition),
    end: dueKeysEnd(partition, nowMs),
    limit: max,
  })) {
    windows.push(readDueKey(key))
  }
  return windows
}

/** Is after every key in `condemned`: these begin with a partition, which is at most 0xfffe. */
const CONDEMNED_END = Buffer.alloc(3, 0xff)

export interface ExpiryResult {
  /** Whether the window is expired now. */
  readonly isExpired: boolean
  /** Whether the expired window may still have index entries or set sketches, which `removeExpiredData` removes. */
  readonly hasDataLeft: boolean
}

/**
 * Expires a window, unless its time of expiry is after `expiry.nowMs`. If it has much data, removes only a part of it;
 * the window is then condemned. Readers do not see index entries of a condemned window, and a fold that changes them is
 * refused. Only windows of `setResolutions` have set sketches.
 */
export function expireWindow(
  writes: WriteSet,
  heldBlocks: HeldBlocks,
  setResolutions: readonly number[],
  expiry: WindowExpiry,
): ExpiryResult {
  const { partition, window, nowMs, dropExpiredAtResolutions } = expiry
  const { metricId, resolutionMs, windowMs } = window
  const key = windowKey(partition, metricId, resolutionMs, windowMs)
  const bytes = writes.get('windows', key)
  if (bytes !== undefined && decodeWindowRow(bytes).expiresMs > nowMs) return { isExpired: false, hasDataLeft: false }
  removeWindowRow(writes, partition, window)
  const entriesMax = REMOVALS_PER_WRITE_MAX
  const hasEntriesLeft = removeIndexEntries(writes, heldBlocks, partition, window, entriesMax, nowMs) === entriesMax
  const hasSketchesLeft = setResolutions.includes(resolutionMs) && removeSketches(writes, partition, window)
  const hasDataLeft = hasEntriesLeft || hasSketchesLeft
  if (hasDataLeft) writes.put('condemned', key, encodeJson(dropExpiredAtResolutions ?? null))
  // As long as data is left, a window of the coarsest resolution is recorded as expired too, so that nothing new is
  // added to it.
  if (hasDataLeft || dropExpiredAtResolutions === undefined) {
    addExpiredStretch(writes, partition, metricId, resolutionMs, stretchOf(window))
  } else removeStretchesOfWindow(writes, partition, window, dropExpiredAtResolutions)
  return { isExpired: true, hasDataLeft }
}

/**
 * Removes a part of the data of one condemned window. Once no data is left, completes the expiry of the window. Returns
 * false if no window was condemned.
 */
export function removeExpiredData(
  writes: WriteSet,
  heldBlocks: HeldBlocks,
  setResolutions: readonly number[],
  nowMs: number,
): boolean {
  for (const { key, value } of writes.tables.condemned.rows({ start: partitionKey(0), end: CONDEMNED_END, limit: 1 })) {
    const partition = readPartition(key)
    const window = readWindowKey(key)
    const entriesMax = REMOVALS_PER_WRITE_MAX
    if (removeIndexEntries(writes, heldBlocks, partition, window, entriesMax, nowMs) === entriesMax) return true
    if (setResolutions.includes(window.resolutionMs) && removeSketches(writes, partition, window)) return true
    writes.remove('condemned', key)
    const resolutions = decodeJson(value) as readonly number[] | null
    if (resolutions !== null) removeStretchesOfWindow(writes, partition, window, [...resolutions, window.resolutionMs])
    return true
  }
  return false
}

function removeStretchesOfWindow(
  writes: WriteSet,
  partition: number,
  window: WindowKey,
  resolutions: readonly number[],
): void {
  for (const resolutionMs of resolutions) {
    removeExpiredStretches(writes, partition, window.metricId, resolutionMs, stretchOf(window))
  }
}

/** Removes at most `max` index entries of a window. Returns the number removed. */
export function removeIndexEntries(
  writes: WriteSet,
  heldBlocks: HeldBlocks,
  partition: number,
  { metricId, resolutionMs, windowMs }: WindowKey,
  max: number,
  nowMs: number,
): number {
  const start = windowKey(partition, metricId, resolutionMs, windowMs)
  const blockNames = new Set<string>()
  let removedCount = 0
  for (const { key, value } of writes.tables.index.rows({ start, end: afterPrefix(start), limit: max })) {
    const { block } = decodeIndexEntry(key, value)
    writes.remove('index', key)
    decrementListings(writes, partition, block)
    blockNames.add(block)
    removedCount++
  }
  for (const name of blockNames) expireBlockIfUnlisted(writes, heldBlocks, partition, name, nowMs)
  return removedCount
}

/** Removes the rows of a window in `windows` and `due`. */
export function removeWindowRow(writes: WriteSet, partition: number, window: WindowKey): void {
  const key = windowKey(partition, window.metricId, window.resolutionMs, window.windowMs)
  const bytes = writes.get('windows', key)
  if (bytes === undefined) return
  writes.remove('windows', key)
  writes.remove('due', dueKey(partition, decodeWindowRow(bytes).expiresMs, window))
}

function stretchOf(window: WindowKey): Stretch {
  return { fromMs: window.windowMs, toMs: window.windowMs + windowWidthMs(window.resolutionMs) }
}
