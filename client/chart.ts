/** The current result of a live query. `applyUpdate` applies its updates (docs/graphql.md, "Live queries"). */
export interface Chart {
  readonly series: readonly ChartLine[]
  readonly groups: readonly ChartGroup[]
  /** Gateway time of the last update, if `at` is selected. */
  readonly at?: string | undefined
}

/** A line with the fields that the query selects. Columns and points are sorted by time and cover the whole range. */
export interface ChartLine {
  readonly id: string
  readonly label?: string
  readonly aggregation?: string
  readonly tags?: Readonly<Record<string, string>> | null
  readonly total?: number | null
  readonly timestamps?: readonly number[]
  readonly values?: readonly (number | null)[]
  readonly points?: readonly ChartPoint[]
  readonly comparison?: Omit<ChartLine, 'id' | 'comparison'> | null
}

export interface ChartPoint {
  readonly timestamp: string
  readonly value?: number | null
  readonly complete?: boolean
}

export interface ChartGroup {
  readonly tags: Readonly<Record<string, string>> | null
  readonly buckets?: readonly Bucket[]
  readonly total?: unknown
}

export interface Bucket {
  readonly start: string
  readonly [field: string]: unknown
}

export interface LiveUpdate {
  readonly kind: 'SNAPSHOT' | 'PATCH'
  readonly dropBefore?: string | null
  readonly series?: readonly ChartLine[]
  readonly groups?: readonly ChartGroup[]
  readonly at?: string
}

export const EMPTY_CHART: Chart = { series: [], groups: [] }

/** Applies an update to a chart. Throws if the query does not select a field that patches need. */
export function applyUpdate(chart: Chart, update: LiveUpdate): Chart {
  const { kind, dropBefore, series = [], groups = [], at } = update
  if (kind === undefined || dropBefore === undefined) throw new TypeError('select kind and dropBefore of live')
  if (series.some(({ id }) => id === undefined)) throw new TypeError('select id of series')
  if (groups.some(({ tags }) => tags === undefined)) throw new TypeError('select tags of groups')
  const previous = kind === 'SNAPSHOT' ? EMPTY_CHART : chart
  const dropBeforeMs = dropBefore === null ? Number.NEGATIVE_INFINITY : Date.parse(dropBefore)
  return {
    series: mergeItems(
      previous.series,
      series,
      ({ id }) => id,
      (before, after) => mergeLine(before, after, dropBeforeMs),
    ),
    groups: mergeItems(
      previous.groups,
      groups,
      ({ tags }) => tagsKeyOf(tags),
      (before, after) => mergeGroup(before, after, dropBeforeMs),
    ),
    at,
  }
}

/** Merges each item with the changed item of the same key, if any. Removes an item if `mergeTwo` returns undefined. */
function mergeItems<T>(
  previous: readonly T[],
  changed: readonly T[],
  key: (item: T) => string,
  mergeTwo: (before: T | undefined, after: T | undefined) => T | undefined,
): T[] {
  const changedByKey = new Map(changed.map((item) => [key(item), item]))
  const merged = previous.map((item) => {
    const after = changedByKey.get(key(item))
    changedByKey.delete(key(item))
    return mergeTwo(item, after)
  })
  for (const item of changedByKey.values()) merged.push(mergeTwo(undefined, item))
  return merged.filter((item) => item !== undefined)
}

function tagsKeyOf(tags: ChartGroup['tags']): string {
  return JSON.stringify(tags && Object.entries(tags).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The position of a bucket: index `index` in every column of the line or group `source`. */
interface Row<T> {
  readonly source: T
  readonly index: number
}

/**
 * Merges the rows of all sources, sorted by start. At equal starts the later source wins. Drops rows before
 * `dropBeforeMs`.
 */
function mergeRows<T>(
  sources: readonly T[],
  startsMsOf: (source: T) => readonly number[],
  dropBeforeMs: number,
): Row<T>[] {
  const rows = new Map<number, Row<T>>()
  for (const source of sources) {
    for (const [index, startMs] of startsMsOf(source).entries())
      if (startMs >= dropBeforeMs) rows.set(startMs, { source, index })
  }
  return [...rows].sort(([a], [b]) => a - b).map(([, row]) => row)
}

function mergeGroup(
  before: ChartGroup | undefined,
  after: ChartGroup | undefined,
  dropBeforeMs: number,
): ChartGroup | undefined {
  const sources = [before, after].filter((group) => group !== undefined)
  const newest = sources.at(-1)!
  if (newest.buckets === undefined) return newest
  const starts = ({ buckets = [] }: ChartGroup): number[] => buckets.map(({ start }) => Date.parse(start))
  const rows = mergeRows(sources, starts, dropBeforeMs)
  if (rows.length === 0 && Number.isFinite(dropBeforeMs)) return undefined
  return { ...newest, buckets: rows.map(({ source, index }) => source.buckets![index]!) }
}

function mergeLine(
  before: ChartLine | undefined,
  after: ChartLine | undefined,
  dropBeforeMs: number,
): ChartLine | undefined {
  const sources = [before, after].filter((line) => line !== undefined)
  const newest = sources.at(-1)!
  if (newest.timestamps === undefined && newest.points === undefined) return newest
  const rows = mergeRows(sources, startsOf, dropBeforeMs)
  if (rows.length === 0 && Number.isFinite(dropBeforeMs)) return undefined
  const merged = { ...newest, ...columnsOfRows(newest, rows) }
  if (newest.comparison == null) return merged
  // The values of a comparison correspond to those of its line by index, so the same rows are merged.
  const compared = rows.map(({ source, index }) => ({ source: source.comparison ?? {}, index }))
  return { ...merged, comparison: { ...newest.comparison, ...columnsOfRows(newest.comparison, compared) } }
}

type Columns = Pick<ChartLine, 'timestamps' | 'values' | 'points'>

function startsOf({ timestamps, points = [] }: ChartLine): readonly number[] {
  return timestamps ?? points.map(({ timestamp }) => Date.parse(timestamp))
}

/** Builds the columns that `template` has, from these rows. */
function columnsOfRows(template: Columns, rows: readonly Row<Columns>[]): Columns {
  const { timestamps, values, points } = template
  return {
    ...(timestamps && { timestamps: rows.map(({ source, index }) => source.timestamps?.[index] ?? Number.NaN) }),
    ...(values && { values: rows.map(({ source, index }) => source.values?.[index] ?? null) }),
    ...(points && { points: rows.map(({ source, index }) => source.points![index]!) }),
  }
}
