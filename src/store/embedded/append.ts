import { assert } from '../../model/errors.ts'
import type { Id64 } from '../../model/id.ts'
import { IDEMPOTENCY_MARKER_MS, WATERMARK_MS } from '../lifetimes.ts'
import type { AppendOutcome, Commit, CommitPart, InboxEntry } from '../store.ts'
import { putBlock } from './blocks.ts'
import { CatalogChange } from './catalog.ts'
import { putEvent } from './events.ts'
import { expiryKey, inboxKey, markerKey, partitionKey, watermarkKey } from './keys.ts'
import {
  decodePartition,
  decodeTime,
  decodeWatermark,
  encodeInbox,
  encodePartition,
  encodeTime,
  encodeWatermark,
} from './rows.ts'
import { SetChange } from './sets.ts'
import { NO_VALUE } from './table.ts'
import type { WriteSet } from './write-set.ts'

/**
 * Applies one commit to one partition: checks the commit's number and its idempotency markers, updates the catalog and
 * the sets, and adds the commit's blocks to the inbox.
 */

export interface AppendContext {
  readonly setResolutions: readonly number[]
  /** The time that is used for a fence: a commit without parts, which has no time of its own. */
  readonly nowMs: number
}

export interface Appended {
  readonly outcome: AppendOutcome
  /** Ids of the metrics that the commit touched. */
  readonly metricIds: readonly Id64[]
}

export function appendCommit(writes: WriteSet, commit: Commit, context: AppendContext): Appended {
  const { partition } = commit
  const watermark = watermarkKey(partition, commit.writer)
  const found = writes.get('watermarks', watermark)
  const last = found === undefined ? 0 : decodeWatermark(found).commitNumber
  if (commit.commitNumber <= last) return { outcome: { status: 'known' }, metricIds: [] }
  if (commit.commitNumber > last + 1) return { outcome: { status: 'gap', watermark: last }, metricIds: [] }

  const markers = new Map<string, { readonly key: Buffer; readonly nowMs: number }>()
  const skipped: number[] = []
  const parts: CommitPart[] = []
  commit.parts.forEach((part, index) => {
    if (part.marker !== undefined) {
      const key = markerKey(partition, part.marker.project, part.marker.key)
      const text = key.toString('latin1')
      if (markers.has(text) || hasMarker(writes, key, part.nowMs)) {
        skipped.push(index)
        return
      }
      markers.set(text, { key, nowMs: part.nowMs })
    }
    parts.push(part)
  })

  const catalog = new CatalogChange(writes, partition)
  for (const part of parts) {
    for (const touch of part.metrics) catalog.touchMetric(touch)
    for (const touch of part.series) catalog.touchSeries(touch)
  }
  const { conflicts, deleted } = catalog
  if (conflicts.length > 0) return { outcome: { status: 'conflict', metricIds: conflicts, deleted }, metricIds: [] }

  catalog.write()
  const sets = new SetChange(writes, partition, context.setResolutions)
  for (const part of parts) for (const members of part.members) sets.add(members)
  sets.write()
  for (const part of parts) for (const event of part.events) putEvent(writes, partition, event, part.nowMs)
  for (const { key, nowMs } of markers.values()) {
    writes.put('markers', key, encodeTime(nowMs))
    writes.put('expiry', expiryKey(nowMs + IDEMPOTENCY_MARKER_MS, 'marker', key), NO_VALUE)
  }
  addToInbox(writes, partition, parts)

  const writtenMs = commit.parts.reduce((latest, { nowMs }) => Math.max(latest, nowMs), Number.NEGATIVE_INFINITY)
  const row = { commitNumber: commit.commitNumber, writtenMs: commit.parts.length === 0 ? context.nowMs : writtenMs }
  writes.put('watermarks', watermark, encodeWatermark(row))
  if (found === undefined) {
    writes.put('expiry', expiryKey(row.writtenMs + WATERMARK_MS, 'watermark', watermark), NO_VALUE)
  }
  return { outcome: { status: 'applied', skipped }, metricIds: catalog.metricIds }
}

function hasMarker(writes: WriteSet, key: Buffer, nowMs: number): boolean {
  const madeMs = writes.get('markers', key)
  return madeMs !== undefined && decodeTime(madeMs) + IDEMPOTENCY_MARKER_MS > nowMs
}

function addToInbox(writes: WriteSet, partition: number, parts: readonly CommitPart[]): void {
  if (parts.every(({ block }) => block === undefined)) return
  let row = decodePartition(writes.get('partitions', partitionKey(partition)))
  for (const { block, nowMs } of parts) {
    if (block === undefined) continue
    assert(block.name.length <= 64, 'the name of a block is short')
    const entry: InboxEntry = {
      block: block.name,
      scalarBytes: block.scalars.length,
      sketchBytes: block.sketches?.length ?? 0,
      arrivedMs: nowMs,
      order: row.order + 1,
    }
    putBlock(writes, partition, block)
    writes.put('inbox', inboxKey(partition, entry.order), encodeInbox(entry))
    row = {
      order: entry.order,
      inboxEntries: row.inboxEntries + 1,
      inboxBytes: row.inboxBytes + entry.scalarBytes + entry.sketchBytes,
    }
  }
  writes.put('partitions', partitionKey(partition), encodePartition(row))
}
