import { assert } from '../../model/errors.ts'
import type { Id64 } from '../../model/id.ts'
import { compareIndexEntries } from '../index-order.ts'
import type {
  FoldCommit,
  InboxEntry,
  IndexEntry,
  IndexRequest,
  NamedBlock,
  Stretch,
  TimelineIndex,
  TimelineKey,
  WindowExpiry,
  WindowKey,
  WindowRetention,
} from '../store.ts'
import { windowStart, windowWidthMs } from '../windows.ts'
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
import type { WriteSet } from './write-set.ts'

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
    for (const { key, value } of tables.index.rows({ start, end })) {
      if (seriesRange === undefined || overlapsSeries(key, value, seriesRange.from, seriesRange.to))
        entries.push(decodeIndexEntry(key, value))
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
  }
  for (const { timeline, entry } of fold.added) {
    const exists =
      heldBlocks.get(partition, entry.block, nowMs) !== undefined || blockExists(writes, partition, entry.block)
    if (!exists) return false
    const { metricId, resolutionMs } = timeline
    const window = stretchOf({ ...timeline, windowMs: entry.windowMs })
    if (readExpiredStretches(writes.tables, partition, metricId, resolutionMs, window).length > 0) return false
  }
  return true
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
  /** Whether the expired window still has set sketches, which `removeExpiredSets` removes. */
  readonly hasSketchesLeft: boolean
}

/**
 * Expires a window, unless its time of expiry is after `expiry.nowMs`. Only windows of `setResolutions` have set
 * sketches.
 */
export function expireWindow(
  writes: WriteSet,
  heldBlocks: HeldBlocks,
  setResolutions: readonly number[],
  expiry: WindowExpiry,
): ExpiryResult {
  const { partition, window, nowMs } = expiry
  const { metricId, resolutionMs, windowMs } = window
  const key = windowKey(partition, metricId, resolutionMs, windowMs)
  const bytes = writes.get('windows', key)
  if (bytes !== undefined && decodeWindowRow(bytes).expiresMs > nowMs)
    return { isExpired: false, hasSketchesLeft: false }
  removeWindow(writes, heldBlocks, partition, window, nowMs)
  const hasSketchesLeft = setResolutions.includes(resolutionMs) && removeSketches(writes, partition, window)
  if (hasSketchesLeft) writes.put('condemned', key, encodeJson(expiry.dropExpiredAtResolutions ?? null))
  // As long as sketches are left, the window is recorded as expired, so that no members can be added to the sketches.
  if (hasSketchesLeft || expiry.dropExpiredAtResolutions === undefined) {
    addExpiredStretch(writes, partition, metricId, resolutionMs, stretchOf(window))
  } else removeStretchesOfWindow(writes, partition, window, expiry.dropExpiredAtResolutions)
  return { isExpired: true, hasSketchesLeft }
}

/**
 * Removes some set sketches of one expired window. Once no sketch is left, completes the expiry of the window. Returns
 * false if no expired window was waiting for the removal of its sketches.
 */
export function removeExpiredSets(writes: WriteSet): boolean {
  for (const { key, value } of writes.tables.condemned.rows({ start: partitionKey(0), end: CONDEMNED_END, limit: 1 })) {
    const partition = readPartition(key)
    const window = readWindowKey(key)
    if (removeSketches(writes, partition, window)) return true
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

/** Removes a window and its index entries, but not its set sketches. Does not check whether the window has expired. */
export function removeWindow(
  writes: WriteSet,
  heldBlocks: HeldBlocks,
  partition: number,
  window: WindowKey,
  nowMs: number,
): void {
  const { metricId, resolutionMs, windowMs } = window
  const key = windowKey(partition, metricId, resolutionMs, windowMs)
  const bytes = writes.get('windows', key)
  const blockNames = new Set<string>()
  for (const { key: entryKey, value } of writes.tables.index.rows({ start: key, end: afterPrefix(key) })) {
    const { block } = decodeIndexEntry(entryKey, value)
    writes.remove('index', entryKey)
    decrementListings(writes, partition, block)
    blockNames.add(block)
  }
  for (const name of blockNames) expireBlockIfUnlisted(writes, heldBlocks, partition, name, nowMs)
  if (bytes !== undefined) {
    writes.remove('windows', key)
    writes.remove('due', dueKey(partition, decodeWindowRow(bytes).expiresMs, window))
  }
}

function stretchOf(window: WindowKey): Stretch {
  return { fromMs: window.windowMs, toMs: window.windowMs + windowWidthMs(window.resolutionMs) }
}
