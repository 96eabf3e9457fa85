import { compareIds, formatId, type Id64 } from '../../model/id.ts'
import { type CanonicalTags, SharedTagPairs } from '../../model/series.ts'
import { StepBudget, type Steps } from '../../model/steps.ts'
import type { MetricRow, SeriesRow } from '../../store/catalog.ts'
import type { Store } from '../../store/store.ts'
import { type SeriesFilter, tagValueOrEmpty } from './tag-filter.ts'

/** Maximum number of series in one read from the store. */
const SERIES_PER_READ = 10_000
/** Maximum number of cached groupings of one metric: enough for a dashboard. Each takes four bytes per series. */
const CACHED_GROUPINGS_MAX = 8
/** A grouping with more groups is not cached, because each group takes an object. */
const GROUPS_PER_CACHED_GROUPING_MAX = 1_000

let lastListId = 0

/**
 * The cached series of one metric, in the order in which they were registered. The position of a series (its ordinal)
 * does not change during the life of a list, so decoded blocks can cache ordinals by `listId`.
 */
export class SeriesList {
  readonly metricId: Id64
  /** Unique among all lists of this process. */
  readonly listId = ++lastListId
  readonly rows: SeriesRow[] = []
  readonly #tagPairs = new SharedTagPairs()
  /**
   * Groupings by `selectionKey`, least recently used first. A Map, because an empty `LRUCache` for each metric would
   * take 2 KB.
   */
  readonly #groupings = new Map<string, Grouping>()
  /**
   * The ordinal of each series, by the upper half of its id. If several ids have the same upper half, the value is a
   * map from the lower half to the ordinal. Number keys take half the memory of text keys.
   */
  readonly #ordinalsByHi = new Map<number, number | Map<number, number>>()

  constructor(metricId: Id64) {
    this.metricId = metricId
  }

  /** Returns the ordinal of the series whose id has these two halves, or -1 if the list lacks it. */
  ordinal(hi: number, lo: number): number {
    const ordinalOrMap = this.#ordinalsByHi.get(hi)
    if (ordinalOrMap === undefined) return -1
    if (typeof ordinalOrMap === 'number') return this.rows[ordinalOrMap]!.seriesId.lo === lo ? ordinalOrMap : -1
    return ordinalOrMap.get(lo) ?? -1
  }

  /** Groups the series, or returns the grouping cached by `selectionKey`. */
  *groupingFor(selectionKey: string, request: GroupingRequest): Steps<Grouping> {
    const cachedGrouping = this.#groupings.get(selectionKey)
    const grouping = cachedGrouping ?? (yield* groupSeries(this, request))
    this.#groupings.delete(selectionKey)
    // Series may have been added between two steps.
    const isComplete = grouping.groupOfSeries.length === this.rows.length
    if (isComplete && grouping.groups.length <= GROUPS_PER_CACHED_GROUPING_MAX)
      this.#groupings.set(selectionKey, grouping)
    for (const oldest of this.#groupings.keys()) {
      if (this.#groupings.size <= CACHED_GROUPINGS_MAX) break
      this.#groupings.delete(oldest)
    }
    return grouping
  }

  append(rows: readonly SeriesRow[]): void {
    if (rows.length > 0) this.#groupings.clear()
    for (const row of rows) {
      const ordinal = this.rows.push({ seriesId: row.seriesId, tags: this.#tagPairs.share(row.tags) }) - 1
      const { hi, lo } = row.seriesId
      const ordinalOrMap = this.#ordinalsByHi.get(hi)
      if (ordinalOrMap === undefined) this.#ordinalsByHi.set(hi, ordinal)
      else if (typeof ordinalOrMap === 'number') {
        this.#ordinalsByHi.set(
          hi,
          new Map([
            [this.rows[ordinalOrMap]!.seriesId.lo, ordinalOrMap],
            [lo, ordinal],
          ]),
        )
      } else ordinalOrMap.set(lo, ordinal)
    }
  }
}

/**
 * One list of series for each recently queried metric. Together they hold at most `seriesMax` series: the least
 * recently used lists are evicted. The list that was just fetched stays, even if it is longer than that.
 */
export class SeriesCache {
  readonly #store: Store
  readonly #seriesMax: number
  readonly #lists = new Map<string, SeriesList>()
  #cachedSeriesCount = 0
  /** Number of calls that drop lists. `sync` discards a page if this number changed while the page was read. */
  #dropCount = 0

  constructor(store: Store, seriesMax: number) {
    this.#store = store
    this.#seriesMax = seriesMax
  }

  /** Returns the list of a metric, after fetching from the store the series that the list lacks. */
  async sync(metric: MetricRow): Promise<SeriesList> {
    const id = formatId(metric.metricId)
    let list = this.#lists.get(id) ?? new SeriesList(metric.metricId)
    for (;;) {
      const cursor = list.rows.length
      const dropCount = this.#dropCount
      const page = await this.#store.readSeries(metric.partition, metric.metricId, cursor, SERIES_PER_READ)
      if (page === undefined) {
        // The store has fewer series than the list, because it lost writes or removed the series of a deleted metric:
        // the ordinals are no longer valid.
        this.#drop(id)
      }
      if (page === undefined || this.#dropCount !== dropCount) {
        list = this.#lists.get(id) ?? new SeriesList(metric.metricId)
        continue
      }
      // A concurrent call may have appended some of these series during the read.
      const newSeries = page.slice(list.rows.length - cursor)
      list.append(newSeries)
      this.#cacheList(id, list, newSeries.length)
      if (page.length < SERIES_PER_READ) return list
    }
  }

  /** Drops the list of a metric. `sync` then fetches all series of the metric again, even if a call is in progress. */
  drop(metric: MetricRow): void {
    this.#drop(formatId(metric.metricId))
  }

  /** Drops all lists. */
  clear(): void {
    this.#dropCount++
    this.#lists.clear()
    this.#cachedSeriesCount = 0
  }

  #cacheList(id: string, list: SeriesList, addedCount: number): void {
    const previousList = this.#lists.get(id)
    if (previousList === list) this.#cachedSeriesCount += addedCount
    else this.#cachedSeriesCount += list.rows.length - (previousList?.rows.length ?? 0)
    this.#lists.delete(id)
    this.#lists.set(id, list)
    for (const [oldestId, oldestList] of this.#lists) {
      if (this.#cachedSeriesCount <= this.#seriesMax || oldestList === list) return
      this.#lists.delete(oldestId)
      this.#cachedSeriesCount -= oldestList.rows.length
    }
  }

  #drop(id: string): void {
    this.#dropCount++
    const list = this.#lists.get(id)
    if (list === undefined) return
    this.#lists.delete(id)
    this.#cachedSeriesCount -= list.rows.length
  }
}

export interface GroupIdentity {
  readonly tags: readonly (readonly [key: string, value: string])[]
  readonly series: { readonly seriesId: Id64; readonly tags: CanonicalTags } | undefined
  /**
   * Set if this is the remainder: all groups outside of the top n, merged. The remainder has no tags. A group of series
   * without the grouped tags is different: its `tags` have empty values.
   */
  readonly isRemainder?: true
}

export const REMAINDER: GroupIdentity = { tags: [], series: undefined, isRemainder: true }

/** How the series of a metric are divided into groups. */
export interface Grouping {
  /**
   * The index in `groups` of each ordinal's group. -1 for series that do not match the filter, and for those whose
   * group is outside of the top n and not merged into the remainder.
   */
  readonly groupOfSeries: Int32Array
  readonly groups: readonly GroupIdentity[]
  /** Number of series that match the filter. */
  readonly matchedSeriesCount: number
  /** The least and the greatest id of all matching series; undefined if none match. */
  readonly idRange: SeriesIdRange | undefined
}

export interface SeriesIdRange {
  readonly from: Id64
  readonly to: Id64
}

interface GroupingRequest {
  /** Undefined if all series match. */
  readonly filter: SeriesFilter | undefined
  readonly groupBy: readonly string[]
  readonly bySeries: boolean
}

/** Units of work (`StepBudget`) of a series: up to a microsecond. */
const SERIES_STEP_UNITS = 32
/** Number of series that are grouped before a step may end. */
const SERIES_PER_STEP = 256

/** Groups the series that the list has at the start. */
export function* groupSeries(list: SeriesList, request: GroupingRequest): Steps<Grouping> {
  const seriesCount = list.rows.length
  const grouper = new SeriesGrouper(seriesCount, request)
  const budget = new StepBudget()
  for (let ordinal = 0; ordinal < seriesCount; ordinal += SERIES_PER_STEP) {
    const endOrdinal = Math.min(seriesCount, ordinal + SERIES_PER_STEP)
    grouper.add(list.rows, ordinal, endOrdinal)
    if (budget.spend(SERIES_STEP_UNITS * (endOrdinal - ordinal))) yield
  }
  return grouper.grouping
}

class SeriesGrouper {
  readonly #request: GroupingRequest
  readonly #groupOfSeries: Int32Array
  readonly #groups: GroupIdentity[] = []
  readonly #groupByKey = new Map<string, number>()
  #matchedSeriesCount = 0
  #from: Id64 | undefined
  #to: Id64 | undefined

  constructor(seriesCount: number, request: GroupingRequest) {
    this.#request = request
    this.#groupOfSeries = new Int32Array(seriesCount).fill(-1)
    if (request.groupBy.length === 0 && !request.bySeries) this.#groups.push({ tags: [], series: undefined })
  }

  get grouping(): Grouping {
    const idRange = this.#from && this.#to && { from: this.#from, to: this.#to }
    return {
      groupOfSeries: this.#groupOfSeries,
      groups: this.#groups,
      matchedSeriesCount: this.#matchedSeriesCount,
      idRange,
    }
  }

  /** Groups the series with the ordinals from `fromOrdinal` to `toOrdinal` - 1. */
  add(rows: readonly SeriesRow[], fromOrdinal: number, toOrdinal: number): void {
    const { filter } = this.#request
    for (let ordinal = fromOrdinal; ordinal < toOrdinal; ordinal++) {
      const row = rows[ordinal]!
      const { seriesId } = row
      if (filter !== undefined && !filter(row.tags)) continue
      this.#matchedSeriesCount++
      if (this.#from === undefined || compareIds(seriesId, this.#from) < 0) this.#from = seriesId
      if (this.#to === undefined || compareIds(seriesId, this.#to) > 0) this.#to = seriesId
      this.#groupOfSeries[ordinal] = this.#groupOf(row)
    }
  }

  #groupOf({ seriesId, tags }: SeriesRow): number {
    const { groupBy, bySeries } = this.#request
    if (bySeries) return this.#groups.push({ tags, series: { seriesId, tags } }) - 1
    if (groupBy.length === 0) return 0
    const values = groupBy.map((key) => tagValueOrEmpty(tags, key))
    const key = values.length === 1 ? values[0]! : JSON.stringify(values)
    let group = this.#groupByKey.get(key)
    if (group === undefined) {
      const groupTags = groupBy.map((name, i) => [name, values[i]!] as const)
      group = this.#groups.push({ tags: groupTags, series: undefined }) - 1
      this.#groupByKey.set(key, group)
    }
    return group
  }
}
