import { formatId, parseId } from '../../model/id.ts'
import { METRIC_TYPES, type MetricType } from '../../model/metric.ts'
import type { MetricDefinition, MetricRow } from '../catalog.ts'
import type { StoredEvent } from '../events.ts'
import type { Receipt } from '../idempotency-keys.ts'
import type { InboxEntry, IndexEntry, WindowKey } from '../store.ts'
import type { Stretch } from '../windows.ts'

/**
 * Encodes members of sorted sets and values of hashes as texts, and decodes them. The fields of a member, except those
 * of an event, are separated by spaces: no number, id, project or block name contains a space. Numbers are exact up to
 * 2^53. They are decimal, except the times of events.
 */

// Inbox entries: members of a sorted set, by order.

export function encodeInboxEntry({ block, scalarBytes, sketchBytes, arrivedMs }: Omit<InboxEntry, 'order'>): string {
  return `${block} ${scalarBytes} ${sketchBytes} ${arrivedMs}`
}

export function decodeInboxEntry(member: string, score: string): InboxEntry {
  const [block, scalarBytes, sketchBytes, arrivedMs] = member.split(' ')
  return {
    block: block!,
    scalarBytes: Number(scalarBytes),
    sketchBytes: Number(sketchBytes),
    arrivedMs: Number(arrivedMs),
    order: Number(score),
  }
}

// Index entries: members of a sorted set, by start of their window. The member has the window too, because
// `read-index.lua` returns members without scores, and because two entries of one block could otherwise be equal.

export function encodeIndexEntry(entry: IndexEntry): string {
  const { windowMs, order, tier, rollupCount, scalarBytes, sketchBytes, block } = entry
  const range = `${formatId(entry.seriesFrom)} ${formatId(entry.seriesTo)}`
  // Entries of earlier versions end with the block. A removal of an entry must find exactly the same text again.
  const buckets = entry.buckets === undefined ? '' : ` ${entry.buckets.fromMs} ${entry.buckets.toMs}`
  return `${windowMs} ${order} ${tier} ${range} ${rollupCount} ${scalarBytes} ${sketchBytes} ${block}${buckets}`
}

export function decodeIndexEntry(member: string): IndexEntry {
  const fields = member.split(' ')
  return {
    windowMs: Number(fields[0]),
    order: Number(fields[1]),
    tier: Number(fields[2]),
    seriesFrom: parseId(fields[3]!),
    seriesTo: parseId(fields[4]!),
    rollupCount: Number(fields[5]),
    scalarBytes: Number(fields[6]),
    sketchBytes: Number(fields[7]),
    block: fields[8]!,
    buckets: fields.length > 9 ? { fromMs: Number(fields[9]), toMs: Number(fields[10]) } : undefined,
  }
}

// Windows: members of a sorted set, by expiry. Redis sorts members with equal scores by their bytes. So a member begins
// with the resolution, padded with zeros, and finer resolutions come first.

const RESOLUTION_DIGITS = 16

export function encodeWindow({ metricId, resolutionMs, windowMs }: WindowKey): string {
  return `${String(resolutionMs).padStart(RESOLUTION_DIGITS, '0')} ${formatId(metricId)} ${windowMs}`
}

export function decodeWindow(member: string): WindowKey {
  const [resolutionMs, metricId, windowMs] = member.split(' ')
  return { metricId: parseId(metricId!), resolutionMs: Number(resolutionMs), windowMs: Number(windowMs) }
}

export function decodeStretch(member: string): Stretch {
  const [fromMs, toMs] = member.split(' ')
  return { fromMs: Number(fromMs), toMs: Number(toMs) }
}

// Events: members of a sorted set, all with score 0. A member is time, id, NUL and JSON, one right after the other. The
// time is hexadecimal, padded with zeros and made positive by a constant, so sorting by bytes sorts by time and id.

const TIME_BIAS_MS = 2 ** 52
const TIME_DIGITS = 14
const EVENT_ID_END = '\0'

export function encodeEventTime(timeMs: number): string {
  return (timeMs + TIME_BIAS_MS).toString(16).padStart(TIME_DIGITS, '0')
}

export function encodeEvent({ timeMs, id, json }: StoredEvent): string {
  return `${encodeEventTime(timeMs)}${id}${EVENT_ID_END}${json}`
}

/** Encodes project, time and id of an event, which identify it. Neither a project name nor an event id has a space. */
export function encodeEventAge({ project, timeMs, id }: StoredEvent): string {
  return `${project} ${encodeEventTime(timeMs)}${id}`
}

/**
 * Decodes a text of {@link encodeEventAge}. Of all events of `project`, only this one has a member that sorts into
 * [from, to).
 */
export function decodeEventAge(age: string): { readonly project: string; readonly from: string; readonly to: string } {
  const end = age.lastIndexOf(' ')
  const timeAndId = age.slice(end + 1)
  return { project: age.slice(0, end), from: timeAndId + EVENT_ID_END, to: `${timeAndId}\x01` }
}

export function decodeEvent(project: string, member: string): StoredEvent {
  const end = member.indexOf(EVENT_ID_END)
  return {
    project,
    id: member.slice(TIME_DIGITS, end),
    timeMs: Number.parseInt(member.slice(0, TIME_DIGITS), 16) - TIME_BIAS_MS,
    json: member.slice(end + 1),
  }
}

// Rows of metrics: hashes. The field `is` has what identifies a metric: it never changes and is compared as a whole.
// The field `about` has unit and description.

export function encodeMetricIdentity({ project, name, type }: MetricDefinition, generation: number): string {
  return JSON.stringify([project, name, type, generation])
}

export function encodeMetricAbout({ unit, description }: MetricDefinition): string {
  return JSON.stringify([unit ?? null, description ?? null])
}

// Redis sorts members by their UTF-8 bytes, but metrics are listed by the UTF-16 code units of their names. The two
// orders differ only for characters from U+E000 to U+FFFF: in UTF-8 they sort before characters beyond U+FFFF, in
// UTF-16 after them. So the sort key of a name has U+10FFFF before each character from U+E000 to U+FFFF. U+10FFFF
// itself is followed by NUL.

const LAST_CHARACTER = '\u{10FFFF}'

export function sortKeyOfName(name: string): string {
  return name.replaceAll(/[\uE000-\uFFFF]|\u{10FFFF}/gu, (character) =>
    character === LAST_CHARACTER ? `${LAST_CHARACTER}\0` : LAST_CHARACTER + character,
  )
}

export function nameOfSortKey(sortKey: string): string {
  return sortKey.replaceAll(/\u{10FFFF}([\0\uE000-\uFFFF])/gu, (_, next: string) =>
    next === '\0' ? LAST_CHARACTER : next,
  )
}

/** Decodes the reply of `read-metrics.lua` for one metric. The header of the script lists the fields of the reply. */
export function decodeMetric(reply: readonly string[], partition: number): MetricRow {
  const [metricId, identity, about, points, firstMs, lastMs, cumulative, seriesCount, ...tagKeys] = reply
  const [project, name, type, generation] = JSON.parse(identity!) as [string, string, MetricType, number]
  if (!METRIC_TYPES.includes(type)) throw new Error(`metric ${metricId} has type ${type}`)
  const [unit, description] = JSON.parse(about!) as [string | null, string | null]
  return {
    project,
    name,
    type,
    unit: unit ?? undefined,
    description: description ?? undefined,
    generation,
    metricId: parseId(metricId!),
    partition,
    points: Number(points),
    firstSeenMs: firstMs === '' ? undefined : Number(firstMs),
    lastSeenMs: lastMs === '' ? undefined : Number(lastMs),
    tagKeys: tagKeys.map((key) => JSON.parse(key) as string).sort(),
    seriesCount: Number(seriesCount),
    cumulative: cumulative === '1',
  }
}

// Receipts

export function encodeReceipt(receipt: Receipt, writtenMs: number): string {
  return JSON.stringify([writtenMs, receipt.requestHash, receipt.status, receipt.body])
}

export function decodeReceipt(text: string): { readonly writtenMs: number; readonly receipt: Receipt } {
  const [writtenMs, requestHash, status, body] = JSON.parse(text) as [number, string, number, string]
  return { writtenMs, receipt: { requestHash, status, body } }
}
