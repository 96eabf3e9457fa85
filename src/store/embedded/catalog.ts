import { compareIds, formatId, type Id64 } from '../../model/id.ts'
import { metricIdOf, partitionOf } from '../../model/metric.ts'
import { LISTED_CHARS_MAX, tagKeyChars } from '../listing.ts'
import type {
  MetricDefinition,
  MetricDeletion,
  MetricListing,
  MetricPage,
  MetricRow,
  MetricUpdate,
  SeriesRegistration,
  SeriesRow,
} from '../store.ts'
import {
  afterPrefix,
  metricIdKey,
  metricKey,
  metricPrefix,
  nameOfMetricKey,
  partitionKey,
  projectKey,
  seriesIdKey,
  seriesKey,
  tagKeyKey,
} from './keys.ts'
import {
  decodeMetric,
  decodePartition,
  decodeSeries,
  decodeText,
  decodeU32,
  encodeMetric,
  encodeOrder,
  encodeSeries,
  encodeText,
  encodeU32,
  type StoredMetric,
} from './rows.ts'
import type { Tables } from './table.ts'
import type { WriteSet } from './write-set.ts'

/** Stores metrics and their series, which definitions and commits create. Every row is read and written as a whole. */

export function readMetric(tables: Tables, project: string, name: string): MetricRow | undefined {
  const bytes = tables.metrics.get(metricKey(project, name))
  return bytes && withTagKeys(tables, decodeMetric(bytes))
}

export function countMetrics(tables: Tables, project: string): number {
  const counted = tables['metric-counts'].get(projectKey(project))
  if (counted !== undefined) return decodeU32(counted)
  let count = 0
  const start = projectKey(project)
  for (const _ of tables.metrics.keys({ start, end: afterPrefix(start) })) count++
  return count
}

/**
 * Changes the number of defined metrics of a project. Must be called in the write set that creates or deletes the
 * metric.
 */
function addToCount(writes: WriteSet, project: string, change: 1 | -1): void {
  const counted = writes.get('metric-counts', projectKey(project))
  const before = counted === undefined ? countMetrics(writes.tables, project) : decodeU32(counted)
  writes.put('metric-counts', projectKey(project), encodeU32(before + change))
}

function withTagKeys(tables: Tables, metric: StoredMetric): MetricRow {
  return { ...metric, tagKeys: metric.tagKeys ?? tagKeysOf(tables, metric).sort() }
}

function tagKeysOf(tables: Tables, { partition, metricId }: StoredMetric): string[] {
  const start = metricPrefix(partition, metricId)
  const found: string[] = []
  for (const { value } of tables['tag-keys'].rows({ start, end: afterPrefix(start) })) found.push(decodeText(value))
  return found
}

export function listMetrics(tables: Tables, project: string, { after, namesMax, matches }: MetricListing): MetricPage {
  const start = after === undefined ? projectKey(project) : metricKey(project, after)
  const metrics: MetricRow[] = []
  let names = 0
  let chars = 0
  let last: string | undefined
  for (const key of tables.metrics.keys({ start, end: afterPrefix(projectKey(project)) })) {
    const name = nameOfMetricKey(key)
    if (name === after) continue
    if (names === namesMax || chars > LISTED_CHARS_MAX) return { metrics, next: last }
    names++
    last = name
    if (matches?.(name) === false) continue
    const metric = withTagKeys(tables, decodeMetric(tables.metrics.get(key)!))
    if (metric.points === 0) continue
    metrics.push(metric)
    chars += tagKeyChars(metric)
  }
  return { metrics, next: undefined }
}

/** Returns the last deleted generation of a metric name; 0 if none was deleted. */
function lastDeleted(writes: WriteSet, key: Uint8Array): number {
  return decodeU32(writes.get('deleted', key))
}

/** Deletes a metric. Returns the deleted metric; undefined if there was none. */
export function deleteMetric(
  writes: WriteSet,
  { project, name, generation }: MetricDeletion,
): StoredMetric | undefined {
  const key = metricKey(project, name)
  if (generation > lastDeleted(writes, key)) writes.put('deleted', key, encodeU32(generation))
  const bytes = writes.get('metrics', key)
  const row = bytes && decodeMetric(bytes)
  if (row === undefined || row.generation > generation) return undefined
  writes.remove('metrics', key)
  writes.remove('metric-ids', metricIdKey(row.metricId))
  addToCount(writes, project, -1)
  const { order } = decodePartition(writes.get('partitions', partitionKey(row.partition)))
  writes.put('dying', metricPrefix(row.partition, row.metricId), encodeOrder(order))
  return row
}

export function defineMetric(writes: WriteSet, definition: MetricDefinition, partitions: number): MetricRow {
  const key = metricKey(definition.project, definition.name)
  const bytes = writes.get('metrics', key)
  if (bytes !== undefined) return withTagKeys(writes.tables, decodeMetric(bytes))
  let generation = lastDeleted(writes, key) + 1
  // Skips generations whose id already belongs to another metric.
  while (writes.has('metric-ids', metricIdKey(metricIdOf(definition.project, definition.name, generation))))
    generation++
  const metric = newMetric(
    definition,
    metricIdOf(definition.project, definition.name, generation),
    generation,
    partitionOf(definition.project, definition.name, partitions),
  )
  writes.put('metrics', key, encodeMetric(metric))
  writes.put('metric-ids', metricIdKey(metric.metricId), key)
  addToCount(writes, definition.project, 1)
  return metric
}

function newMetric(definition: MetricDefinition, metricId: Id64, generation: number, partition: number): MetricRow {
  return {
    project: definition.project,
    name: definition.name,
    type: definition.type,
    unit: definition.unit,
    description: definition.description,
    generation,
    metricId,
    partition,
    points: 0,
    firstSeenMs: undefined,
    lastSeenMs: undefined,
    tagKeys: [],
    seriesCount: 0,
    cumulative: false,
  }
}

export function readSeries(
  tables: Tables,
  partition: number,
  metricId: Id64,
  cursor: number,
  limit: number,
): SeriesRow[] | undefined {
  // The cursor is valid if the row before it exists: it is then in the list or at its end.
  if (cursor > 0 && !tables.series.has(seriesKey(partition, metricId, cursor - 1))) return undefined
  const found: SeriesRow[] = []
  const start = seriesKey(partition, metricId, cursor)
  for (const { value } of tables.series.rows({ start, end: afterPrefix(metricPrefix(partition, metricId)), limit })) {
    found.push(decodeSeries(value))
  }
  return found
}

export function hasSeries(tables: Tables, partition: number, metricId: Id64, seriesIds: readonly Id64[]): boolean[] {
  return seriesIds.map((seriesId) => tables['series-ids'].has(seriesIdKey(partition, metricId, seriesId)))
}

/**
 * Collects the changes of one commit to the catalog before any is written. Each row is read once and written once,
 * however many parts of the commit touch it, and a conflict leaves the catalog unchanged.
 */
export class CatalogChange {
  readonly #writes: WriteSet
  readonly #partition: number
  readonly #metrics = new Map<string, Changed>()
  /** Keys of the metric rows that this commit creates. */
  readonly #madeKeys = new Set<string>()
  readonly #series: { readonly touch: SeriesRegistration; readonly position: number }[] = []
  readonly #seriesIds = new Map<string, SeriesRegistration>()
  readonly #conflicts = new Map<string, Id64>()
  readonly #deleted = new Map<string, Id64>()

  constructor(writes: WriteSet, partition: number) {
    this.#writes = writes
    this.#partition = partition
  }

  /**
   * Ids of metrics in conflict: the metric exists with another type or id, or its id or a series id belongs to
   * something else.
   */
  get conflicts(): readonly Id64[] {
    return [...this.#conflicts.values()].sort(compareIds)
  }

  /** Ids of metrics in conflict because their generation was deleted. */
  get deleted(): readonly Id64[] {
    return [...this.#deleted.values()].sort(compareIds)
  }

  get metricIds(): Id64[] {
    return [...this.#metrics.values()].map(({ row }) => row.metricId)
  }

  touchMetric(touch: MetricUpdate): void {
    const changed = this.#metric(touch)
    if (changed === undefined) {
      this.#conflicts.set(formatId(touch.metricId), touch.metricId)
      if (this.#isDeleted(touch)) this.#deleted.set(formatId(touch.metricId), touch.metricId)
      return
    }
    const { row } = changed
    const seen = touch.points > 0
    changed.row = {
      ...row,
      points: row.points + touch.points,
      firstSeenMs: seen ? Math.min(row.firstSeenMs ?? touch.firstMs, touch.firstMs) : row.firstSeenMs,
      lastSeenMs: seen ? Math.max(row.lastSeenMs ?? touch.lastMs, touch.lastMs) : row.lastSeenMs,
      cumulative: row.cumulative || touch.cumulative,
    }
  }

  touchSeries(touch: SeriesRegistration): void {
    const changed = this.#metrics.get(formatId(touch.metricId))
    if (changed === undefined) {
      // The commit does not touch the series' metric, or the metric is in conflict.
      this.#conflicts.set(formatId(touch.metricId), touch.metricId)
      return
    }
    const key = seriesIdKey(this.#partition, touch.metricId, touch.seriesId)
    const known = this.#knownTags(touch, key)
    if (known !== undefined) {
      if (!sameTags(known.tags, touch.tags)) this.#conflicts.set(formatId(touch.metricId), touch.metricId)
      return
    }
    const { row } = changed
    this.#series.push({ touch, position: row.seriesCount })
    this.#seriesIds.set(key.toString('latin1'), touch)
    changed.row = { ...row, seriesCount: row.seriesCount + 1 }
    for (const [tagKey] of touch.tags) this.#touchTagKey(changed, tagKey)
  }

  #touchTagKey({ row, tagKeys, newTagKeys }: Changed, tagKey: string): void {
    if (tagKeys.has(tagKey)) return
    tagKeys.add(tagKey)
    const isKnown =
      row.tagKeys === undefined && this.#writes.has('tag-keys', tagKeyKey(this.#partition, row.metricId, tagKey))
    if (!isKnown) newTagKeys.push(tagKey)
  }

  write(): void {
    for (const changed of this.#metrics.values()) {
      const { key, row, before } = changed
      this.#writes.put('metrics', key, encodeMetric({ ...row, tagKeys: this.#writeTagKeys(changed) }, before))
      if (before !== undefined) continue
      this.#writes.put('metric-ids', metricIdKey(row.metricId), key)
      addToCount(this.#writes, row.project, 1)
    }
    for (const { touch, position } of this.#series) {
      const { metricId, seriesId } = touch
      this.#writes.put('series', seriesKey(this.#partition, metricId, position), encodeSeries(touch))
      this.#writes.put('series-ids', seriesIdKey(this.#partition, metricId, seriesId), encodeU32(position))
    }
  }

  /** Writes new tag keys. Returns those to be stored in the metric's row; undefined if each tag key has its own row. */
  #writeTagKeys({ row, newTagKeys }: Changed): readonly string[] | undefined {
    const all = row.tagKeys === undefined || newTagKeys.length === 0 ? row.tagKeys : [...row.tagKeys, ...newTagKeys]
    if (all !== undefined && all.length <= TAG_KEYS_IN_ROW_MAX) return newTagKeys.length === 0 ? all : [...all].sort()
    for (const tagKey of all ?? newTagKeys)
      this.#writes.put('tag-keys', tagKeyKey(this.#partition, row.metricId, tagKey), encodeText(tagKey))
    return undefined
  }

  /** Returns the metric's row with the touches of this commit so far; undefined if the touch contradicts the row. */
  #metric(touch: MetricUpdate): Changed | undefined {
    const id = formatId(touch.metricId)
    let changed = this.#metrics.get(id)
    if (changed === undefined) {
      changed = this.#readMetric(touch)
      if (changed !== undefined && matchesTouch(changed.row, touch)) this.#metrics.set(id, changed)
    }
    return changed !== undefined && matchesTouch(changed.row, touch) ? changed : undefined
  }

  #readMetric(touch: MetricUpdate): Changed | undefined {
    const { definition } = touch
    const knownKey = this.#writes.get('metric-ids', metricIdKey(touch.metricId))
    const key = knownKey ?? metricKey(definition.project, definition.name)
    const bytes = this.#writes.get('metrics', key)
    if (bytes !== undefined) return changedOf(key, decodeMetric(bytes), bytes)
    const text = Buffer.from(key).toString('latin1')
    if (this.#madeKeys.has(text) || this.#isDeleted(touch)) return undefined
    this.#madeKeys.add(text)
    return changedOf(key, newMetric(definition, touch.metricId, touch.generation, this.#partition), undefined)
  }

  #isDeleted({ definition: { project, name }, generation }: MetricUpdate): boolean {
    return lastDeleted(this.#writes, metricKey(project, name)) >= generation
  }

  #knownTags(touch: SeriesRegistration, key: Buffer): Pick<SeriesRow, 'tags'> | undefined {
    const staged = this.#seriesIds.get(key.toString('latin1'))
    if (staged !== undefined) return staged
    const position = this.#writes.get('series-ids', key)
    if (position === undefined) return undefined
    const bytes = this.#writes.get('series', seriesKey(this.#partition, touch.metricId, decodeU32(position)))
    return bytes && decodeSeries(bytes)
  }
}

/**
 * Maximum number of tag keys in a metric's row, because every commit rewrites that row. If there are more, each tag key
 * has its own row.
 */
const TAG_KEYS_IN_ROW_MAX = 16

interface Changed {
  readonly key: Uint8Array
  row: StoredMetric
  /** The stored bytes of the row; undefined if the commit creates the metric. */
  readonly before: Uint8Array | undefined
  /** `tagKeys` has the stored tag keys and those of this commit; `newTagKeys` those that are not stored yet. */
  readonly tagKeys: Set<string>
  readonly newTagKeys: string[]
}

function changedOf(key: Uint8Array, row: StoredMetric, before: Uint8Array | undefined): Changed {
  return { key, row, before, tagKeys: new Set(row.tagKeys), newTagKeys: [] }
}

function matchesTouch(row: StoredMetric, touch: MetricUpdate): boolean {
  const { definition } = touch
  return (
    row.name === definition.name &&
    row.project === definition.project &&
    row.type === definition.type &&
    row.generation === touch.generation &&
    compareIds(row.metricId, touch.metricId) === 0
  )
}

function sameTags(a: SeriesRegistration['tags'], b: SeriesRegistration['tags']): boolean {
  return a.length === b.length && a.every(([key, value], i) => b[i]![0] === key && b[i]![1] === value)
}
