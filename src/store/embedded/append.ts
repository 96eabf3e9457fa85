import { assert } from '../../model/errors.ts'
import type { Id64 } from '../../model/id.ts'
import { IDEMPOTENCY_MARKER_KEPT_MS, WATERMARK_KEPT_MS } from '../bookkeeping-lifetimes.ts'
import type { AppendOutcome, Commit, CommitPart, InboxEntry } from '../store.ts'
import { putBlock } from './blocks.ts'
import { CatalogChanges } from './catalog.ts'
import { putEvent } from './events.ts'
import type { Inboxes } from './inboxes.ts'
import { expiryKey, markerKey, partitionKey, watermarkKey } from './keys.ts'
import { decodePartition, decodeTime, decodeWatermark, encodePartition, encodeTime, encodeWatermark } from './rows.ts'
import { SetChanges } from './sets.ts'
import { NO_VALUE } from './table.ts'
import type { WriteSet } from './write-set.ts'

/**
 * Applies one commit to one partition: checks the commit's number and its idempotency markers, updates the catalog and
 * the sets, stores the events, and adds the commit's blocks to the inbox.
 */

export interface AppendContext {
  readonly setResolutions: readonly number[]
  /** The time for a fence, which is a commit without parts and therefore without a time. */
  readonly fenceMs: number
}

export interface AppendResult {
  readonly outcome: AppendOutcome
  /** Ids of the metrics that the commit changed; empty unless the commit was applied. */
  readonly metricIds: readonly Id64[]
}

export function appendCommit(writes: WriteSet, inboxes: Inboxes, commit: Commit, context: AppendContext): AppendResult {
  const { partition } = commit
  const watermarkRowKey = watermarkKey(partition, commit.writer)
  const watermarkBytes = writes.get('watermarks', watermarkRowKey)
  const watermark = watermarkBytes === undefined ? 0 : decodeWatermark(watermarkBytes).commitNumber
  if (commit.commitNumber <= watermark) return { outcome: { status: 'known' }, metricIds: [] }
  if (commit.commitNumber > watermark + 1) return { outcome: { status: 'gap', watermark }, metricIds: [] }

  const markers = new Map<string, { readonly key: Buffer; readonly nowMs: number }>()
  const skippedIndexes: number[] = []
  const partsToApply: CommitPart[] = []
  commit.parts.forEach((part, index) => {
    if (part.marker !== undefined) {
      const key = markerKey(partition, part.marker.project, part.marker.key)
      const text = key.toString('latin1')
      if (markers.has(text) || hasUnexpiredMarker(writes, key, part.nowMs)) {
        skippedIndexes.push(index)
        return
      }
      markers.set(text, { key, nowMs: part.nowMs })
    }
    partsToApply.push(part)
  })

  const catalog = new CatalogChanges(writes, partition)
  for (const part of partsToApply) {
    for (const update of part.metrics) catalog.updateMetric(update)
    for (const registration of part.series) catalog.registerSeries(registration)
  }
  const { conflictingMetricIds, deletedMetricIds } = catalog
  if (conflictingMetricIds.length > 0)
    return {
      outcome: { status: 'conflict', metricIds: conflictingMetricIds, deleted: deletedMetricIds },
      metricIds: [],
    }

  catalog.write()
  const sets = new SetChanges(writes, partition, context.setResolutions)
  for (const part of partsToApply) for (const members of part.members) sets.add(members)
  sets.write()
  for (const part of partsToApply) for (const event of part.events) putEvent(writes, partition, event, part.nowMs)
  for (const { key, nowMs } of markers.values()) {
    writes.put('markers', key, encodeTime(nowMs))
    writes.put('expiry', expiryKey(nowMs + IDEMPOTENCY_MARKER_KEPT_MS, 'marker', key), NO_VALUE)
  }
  addToInbox(writes, inboxes, partition, partsToApply)

  const writtenMs = commit.parts.reduce((latest, { nowMs }) => Math.max(latest, nowMs), Number.NEGATIVE_INFINITY)
  const watermarkRow = {
    commitNumber: commit.commitNumber,
    writtenMs: commit.parts.length === 0 ? context.fenceMs : writtenMs,
  }
  writes.put('watermarks', watermarkRowKey, encodeWatermark(watermarkRow))
  if (watermarkBytes === undefined) {
    writes.put('expiry', expiryKey(watermarkRow.writtenMs + WATERMARK_KEPT_MS, 'watermark', watermarkRowKey), NO_VALUE)
  }
  return { outcome: { status: 'applied', skipped: skippedIndexes }, metricIds: catalog.changedMetricIds }
}

function hasUnexpiredMarker(writes: WriteSet, key: Buffer, nowMs: number): boolean {
  const markerBytes = writes.get('markers', key)
  return markerBytes !== undefined && decodeTime(markerBytes) + IDEMPOTENCY_MARKER_KEPT_MS > nowMs
}

function addToInbox(writes: WriteSet, inboxes: Inboxes, partition: number, parts: readonly CommitPart[]): void {
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
      order: row.newestOrder + 1,
    }
    putBlock(writes, partition, block)
    inboxes.add(writes, partition, entry)
    row = {
      newestOrder: entry.order,
      inboxEntryCount: row.inboxEntryCount + 1,
      inboxBytes: row.inboxBytes + entry.scalarBytes + entry.sketchBytes,
    }
  }
  writes.put('partitions', partitionKey(partition), encodePartition(row))
}
