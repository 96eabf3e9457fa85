import { compareIds, formatId, type Id64 } from '../../model/id.ts'
import { metricIdOf, partitionOf } from '../../model/metric.ts'
import { areTagsEqual, type CanonicalTags } from '../../model/series.ts'
import type { MetricDefinition, MetricDeletion, MetricListing, MetricPage, MetricRow, SeriesRow } from '../catalog.ts'
import { LISTED_TAG_KEY_CHARS_MAX, tagKeyChars } from '../listing.ts'
import type { MetricUpdate, SeriesRegistration } from '../store.ts'
import {
  afterPrefix,
  metricIdKey,
  metricKey,
  metricPrefix,
  partitionKey,
  projectKey,
  readMetricName,
  readSeriesRowKey,
  seriesIdKey,
  seriesKey,
  seriesPlace,
  seriesRowKey,
  seriesRowKeyOf,
  tagKeyKey,
} from './keys.ts'
import {
  decodeMetric,
  decodePartition,
  decodeSeriesRow,
  decodeSeriesTags,
  decodeText,
  decodeU32,
  type EmbeddedMetricRow,
  encodeMetric,
  encodeOrder,
  encodeSeriesRows,
  encodeText,
  encodeU32,
} from './rows.ts'
import { keyTextOf, type Tables } from './table.ts'
import type { WriteSet } from './write-set.ts'

/** Stores metrics and series. Definitions create metrics; commits create series, and metrics whose rows are lost. */

export function readMetric(tables: Tables, project: string, name: string): MetricRow | undefined {
  const bytes = tables.metrics.get(metricKey(project, name))
  return bytes && withTagKeys(tables, decodeMetric(bytes))
}

/**
 * Returns the number of defined metrics of a project. Counts the rows if no number is stored: earlier versions stored
 * none, and the next creation or deletion of a metric in the project stores it.
 */
export function countMetrics(tables: Tables, project: string): number {
  const countBytes = tables['metric-counts'].get(projectKey(project))
  if (countBytes !== undefined) return decodeU32(countBytes)
  let count = 0
  const start = projectKey(project)
  for (const _ of tables.metrics.keys({ start, end: afterPrefix(start) })) count++
  return count
}

/**
 * Adds 1 or -1 to the number of defined metrics of a project. Must be called in the write that creates or deletes the
 * metric.
 */
function changeMetricCount(writes: WriteSet, project: string, change: 1 | -1): void {
  const countBytes = writes.get('metric-counts', projectKey(project))
  const before = countBytes === undefined ? countMetrics(writes.tables, project) : decodeU32(countBytes)
  writes.put('metric-counts', projectKey(project), encodeU32(before + change))
}

function withTagKeys(tables: Tables, metric: EmbeddedMetricRow): MetricRow {
  return { ...metric, tagKeys: metric.tagKeys ?? storedTagKeysOf(tables, metric).sort() }
}

function storedTagKeysOf(tables: Tables, { partition, metricId }: EmbeddedMetricRow): string[] {
  const start = metricPrefix(partition, metricId)
  const tagKeys: string[] = []
  for (const { value } of tables['tag-keys'].rows({ start, end: afterPrefix(start) })) tagKeys.push(decodeText(value))
  return tagKeys
}

export function listMetrics(tables: Tables, project: string, { after, namesMax, matches }: MetricListing): MetricPage {
  const start = after === undefined ? projectKey(project) : metricKey(project, after)
  const metrics: MetricRow[] = []
  let nameCount = 0
  let tagKeyCharCount = 0
  let lastName: string | undefined
  for (const key of tables.metrics.keys({ start, end: afterPrefix(projectKey(project)) })) {
    const name = readMetricName(key)
    if (name === after) continue
    if (nameCount === namesMax || tagKeyCharCount > LISTED_TAG_KEY_CHARS_MAX) return { metrics, next: lastName }
    nameCount++
    lastName = name
    if (matches?.(name) === false) continue
    const metric = withTagKeys(tables, decodeMetric(tables.metrics.get(key)!))
    if (metric.points === 0) continue
    metrics.push(metric)
    tagKeyCharCount += tagKeyChars(metric)
  }
  return { metrics, next: undefined }
}

/** Returns the last deleted generation of a metric name; 0 if none was deleted. */
function lastDeletedGeneration(writes: WriteSet, key: Uint8Array): number {
  return decodeU32(writes.get('deleted', key))
}

/** Returns the deleted metric; undefined if no metric of this or an earlier generation has the name. */
export function deleteMetric(
  writes: WriteSet,
  { project, name, generation }: MetricDeletion,
): EmbeddedMetricRow | undefined {
  const key = metricKey(project, name)
  if (generation > lastDeletedGeneration(writes, key)) writes.put('deleted', key, encodeU32(generation))
  const bytes = writes.get('metrics', key)
  const row = bytes && decodeMetric(bytes)
  if (row === undefined || row.generation > generation) return undefined
  writes.remove('metrics', key)
  writes.remove('metric-ids', metricIdKey(row.metricId))
  changeMetricCount(writes, project, -1)
  const { newestOrder } = decodePartition(writes.get('partitions', partitionKey(row.partition)))
  writes.put('dying', metricPrefix(row.partition, row.metricId), encodeOrder(newestOrder))
  return row
}

export function defineMetric(writes: WriteSet, definition: MetricDefinition, partitions: number): MetricRow {
  const key = metricKey(definition.project, definition.name)
  const bytes = writes.get('metrics', key)
  if (bytes !== undefined) return withTagKeys(writes.tables, decodeMetric(bytes))
  let generation = lastDeletedGeneration(writes, key) + 1
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
  changeMetricCount(writes, definition.project, 1)
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
  const series: SeriesRow[] = []
  // If the series before the cursor exists, the cursor is not greater than the number of series.
  let isBeforeCursorStored = cursor === 0
  const start = seriesKey(partition, metricId, Math.max(0, cursor - 1))
  for (const { key, value } of tables.series.rows({ start, end: afterPrefix(metricPrefix(partition, metricId)) })) {
    const { lastPosition, count } = readSeriesRowKey(key)
    const firstPosition = lastPosition + 1 - (count ?? 1)
    isBeforeCursorStored ||= firstPosition < cursor
    if (!isBeforeCursorStored) return undefined
    if (lastPosition < cursor) continue
    const from = Math.max(0, cursor - firstPosition)
    for (const row of decodeSeriesRow(value, count).slice(from, from + limit - series.length)) series.push(row)
    if (series.length === limit) break
  }
  return isBeforeCursorStored ? series : undefined
}

export function hasSeries(tables: Tables, partition: number, metricId: Id64, seriesIds: readonly Id64[]): boolean[] {
  return seriesIds.map((seriesId) => tables['series-ids'].has(seriesIdKey(partition, metricId, seriesId)))
}

/**
 * Collects the changes of one commit to the catalog, before any is written. So each metric row is written once, even if
 * several parts of the commit change it, and a conflict leaves the catalog unchanged.
 */
export class CatalogChanges {
  readonly #writes: WriteSet
  readonly #partition: number
  readonly #metrics = new Map<string, ChangedMetric>()
  /** The result of the last `#changedMetricOf`. */
  #latestMetric: ChangedMetric | undefined
  /** Keys of the metric rows that this commit creates. */
  readonly #createdKeys = new Set<string>()
  /** By the text of their key in `series-ids`. */
  readonly #newSeries = new Map<string, SeriesRegistration>()
  readonly #conflictingIds = new Map<string, Id64>()
  readonly #deletedIds = new Map<string, Id64>()

  constructor(writes: WriteSet, partition: number) {
    this.#writes = writes
    this.#partition = partition
  }

  /**
   * Ids of the metrics for which the commit contradicts the catalog: the metric has another type or generation, its
   * generation was deleted, an id belongs to another metric or series, or a series comes without its metric.
   */
  get conflictingMetricIds(): readonly Id64[] {
    return [...this.#conflictingIds.values()].sort(compareIds)
  }

  /** Those of `conflictingMetricIds` whose generation was deleted. */
  get deletedMetricIds(): readonly Id64[] {
    return [...this.#deletedIds.values()].sort(compareIds)
  }

  /** Ids of the metrics that the commit changes. */
  get changedMetricIds(): Id64[] {
    return [...this.#metrics.values()].map(({ row }) => row.metricId)
  }

  updateMetric(update: MetricUpdate): void {
    const changed = this.#changedMetric(update)
    if (changed === undefined) {
      this.#conflictingIds.set(formatId(update.metricId), update.metricId)
      if (this.#isDeleted(update)) this.#deletedIds.set(formatId(update.metricId), update.metricId)
      return
    }
    const { row } = changed
    const hasPoints = update.points > 0
    changed.row = {
      ...row,
      points: row.points + update.points,
      firstSeenMs: hasPoints ? Math.min(row.firstSeenMs ?? update.firstMs, update.firstMs) : row.firstSeenMs,
      lastSeenMs: hasPoints ? Math.max(row.lastSeenMs ?? update.lastMs, update.lastMs) : row.lastSeenMs,
      cumulative: row.cumulative || update.cumulative,
    }
  }

  registerSeries(registration: SeriesRegistration): void {
    const changed = this.#changedMetricOf(registration.metricId)
    if (changed === undefined) {
      // The commit has no update of this metric before the series, or the update is in conflict.
      this.#conflictingIds.set(formatId(registration.metricId), registration.metricId)
      return
    }
    const key = seriesIdKey(this.#partition, registration.metricId, registration.seriesId)
    const keyText = keyTextOf(key)
    const registeredTags = this.#registeredTags(registration, key, keyText)
    if (registeredTags !== undefined) {
      if (!areTagsEqual(registeredTags, registration.tags))
        this.#conflictingIds.set(formatId(registration.metricId), registration.metricId)
      return
    }
    this.#newSeries.set(keyText, registration)
    changed.newSeries.push(registration)
    changed.newSeriesKeys.push(keyText)
    for (const [tagKey] of registration.tags) this.#addTagKey(changed, tagKey)
  }

  #addTagKey(changed: ChangedMetric, tagKey: string): void {
    const { row, newTagKeys } = changed
    changed.tagKeys ??= new Set(row.tagKeys)
    if (changed.tagKeys.has(tagKey)) return
    changed.tagKeys.add(tagKey)
    const isStored =
      row.tagKeys === undefined && this.#writes.has('tag-keys', tagKeyKey(this.#partition, row.metricId, tagKey))
    if (!isStored) newTagKeys.push(tagKey)
  }

  /** Adds all changes to the write set. */
  write(): void {
    for (const changed of this.#metrics.values()) {
      const { key, storedBytes } = changed
      const row = changed.newSeries.length === 0 ? changed.row : this.#withNewSeries(changed)
      this.#writes.put('metrics', key, encodeMetric(row, storedBytes))
      if (storedBytes !== undefined) continue
      this.#writes.put('metric-ids', metricIdKey(row.metricId), key)
      changeMetricCount(this.#writes, row.project, 1)
    }
  }

  /** Writes the new series. Returns the metric's row with them and their tag keys. */
  #withNewSeries(changed: ChangedMetric): EmbeddedMetricRow {
    this.#writeSeries(changed)
    const { row } = changed
    return { ...row, seriesCount: row.seriesCount + changed.newSeries.length, tagKeys: this.#writeTagKeys(changed) }
  }

  #writeSeries({ row, newSeries, newSeriesKeys }: ChangedMetric): void {
    let written = 0
    for (const { count, bytes } of encodeSeriesRows(newSeries)) {
      const keys = newSeriesKeys.slice(written, written + count)
      written += count
      const rowKey = seriesRowKey(this.#partition, row.metricId, row.seriesCount + written - 1, count)
      this.#writes.put('series', rowKey, bytes)
      this.#writes.putEach('series-ids', keys, seriesPlace(rowKey))
    }
  }

  /** Returns the tag keys for the metric's row. If each has its own row, writes missing rows and returns undefined. */
  #writeTagKeys({ row, newTagKeys }: ChangedMetric): readonly string[] | undefined {
    const all = row.tagKeys === undefined || newTagKeys.length === 0 ? row.tagKeys : [...row.tagKeys, ...newTagKeys]
    if (all !== undefined && all.length <= TAG_KEYS_IN_ROW_MAX) return newTagKeys.length === 0 ? all : [...all].sort()
    for (const tagKey of all ?? newTagKeys)
      this.#writes.put('tag-keys', tagKeyKey(this.#partition, row.metricId, tagKey), encodeText(tagKey))
    return undefined
  }

  /** Returns a metric that this commit has updated before; undefined if it has not. */
  #changedMetricOf(metricId: Id64): ChangedMetric | undefined {
    // Most series are of the same metric as the series before them. Formatting an id takes longer than comparing it.
    if (this.#latestMetric === undefined || compareIds(this.#latestMetric.row.metricId, metricId) !== 0)
      this.#latestMetric = this.#metrics.get(formatId(metricId))
    return this.#latestMetric
  }

  /**
   * Returns the metric's row with the changes of this commit so far; undefined if the update contradicts the catalog.
   */
  #changedMetric(update: MetricUpdate): ChangedMetric | undefined {
    const id = formatId(update.metricId)
    let changed = this.#metrics.get(id)
    if (changed === undefined) {
      changed = this.#readMetric(update)
      if (changed !== undefined && matchesUpdate(changed.row, update)) this.#metrics.set(id, changed)
    }
    return changed !== undefined && matchesUpdate(changed.row, update) ? changed : undefined
  }

  #readMetric(update: MetricUpdate): ChangedMetric | undefined {
    const { definition } = update
    const key = metricKey(definition.project, definition.name)
    let bytes = this.#writes.get('metrics', key)
    if (bytes === undefined) {
      // The id may belong to a metric with another name; then the update contradicts the catalog.
      const keyOfId = this.#writes.get('metric-ids', metricIdKey(update.metricId))
      if (keyOfId !== undefined) bytes = this.#writes.get('metrics', keyOfId)
    }
    if (bytes !== undefined) return changedMetricOf(key, decodeMetric(bytes), bytes)
    const keyText = keyTextOf(key)
    if (this.#createdKeys.has(keyText) || this.#isDeleted(update)) return undefined
    this.#createdKeys.add(keyText)
    return changedMetricOf(key, newMetric(definition, update.metricId, update.generation, this.#partition), undefined)
  }

  #isDeleted({ definition: { project, name }, generation }: MetricUpdate): boolean {
    return lastDeletedGeneration(this.#writes, metricKey(project, name)) >= generation
  }

  /**
   * Returns the tags with which the series is stored or was registered earlier in this commit; undefined if neither.
   */
  #registeredTags({ seriesId }: SeriesRegistration, key: Buffer, keyText: string): CanonicalTags | undefined {
    const earlier = this.#newSeries.get(keyText)
    if (earlier !== undefined) return earlier.tags
    const place = this.#writes.get('series-ids', key, keyText)
    if (place === undefined) return undefined
    const rowKey = seriesRowKeyOf(key, place)
    const bytes = this.#writes.get('series', rowKey)
    return bytes && decodeSeriesTags(bytes, readSeriesRowKey(rowKey).count, seriesId)
  }
}

/**
 * Maximum number of tag keys in a metric's row, which every commit with points of the metric rewrites. If there are
 * more, each tag key has its own row.
 */
const TAG_KEYS_IN_ROW_MAX = 16

interface ChangedMetric {
  readonly key: Uint8Array
  /** The row without the new series and tag keys. */
  row: EmbeddedMetricRow
  readonly newSeries: SeriesRegistration[]
  /** For each new series, the text of its key in `series-ids`. */
  readonly newSeriesKeys: string[]
  /** The stored bytes of the row; undefined if the commit creates the metric. */
  readonly storedBytes: Uint8Array | undefined
  /** The tag keys in the stored row, and those of this commit. Undefined until the commit registers a series. */
  tagKeys: Set<string> | undefined
  /** The tag keys of this commit that are not stored yet. */
  readonly newTagKeys: string[]
}

function changedMetricOf(key: Uint8Array, row: EmbeddedMetricRow, storedBytes: Uint8Array | undefined): ChangedMetric {
  return { key, row, newSeries: [], newSeriesKeys: [], storedBytes, tagKeys: undefined, newTagKeys: [] }
}

function matchesUpdate(row: EmbeddedMetricRow, update: MetricUpdate): boolean {
  const { definition } = update
  return (
    row.name === definition.name &&
    row.project === definition.project &&
    row.type === definition.type &&
    row.generation === update.generation &&
    compareIds(row.metricId, update.metricId) === 0
  )
}
