import { type Bar, type BarList, CHARTS_MAX, type Chart, type ChartLine } from './chart.ts'
import { isObject, type JsonObject } from './json.ts'

/**
 * Finds the charts in any GraphQL answer, by the shape of its parts and not by their names, since aliases may change
 * those. A list of objects with `timestamps` and `values`, or with `points`, is lines; a list of objects with `total` or
 * `buckets` is groups. What lies in one object is one chart.
 */
export function chartsOf(data: unknown): readonly Chart[] {
  const charts: Chart[] = []
  collect(data, [], charts)
  return charts
}

/** The gateway limits the depth of a document to less. */
const DEPTH_MAX = 30

function collect(value: unknown, path: readonly string[], charts: Chart[]): void {
  if (path.length > DEPTH_MAX || charts.length >= CHARTS_MAX) return
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) collect(item, [...path, nameOf(item) ?? String(index)], charts)
  } else if (isObject(value)) {
    const chart = chartOf(value, path)
    if (chart !== undefined) charts.push(chart)
    for (const [key, inner] of Object.entries(value)) {
      if (chart === undefined || !isDrawn(inner)) collect(inner, [...path, key], charts)
    }
  }
}

/** The chart of the lists that an object holds; undefined when it holds none. */
function chartOf(holder: JsonObject, path: readonly string[]): Chart | undefined {
  const lists = Object.values(holder).filter(isDrawn)
  if (lists.length === 0) return undefined
  const series = lists.flat().filter(isLine)
  const groups = lists.flat().filter(isGroup)
  const lines = series.flatMap((line, index) => linesOf(line, index))
  const metric = Object.values(holder).find((inner) => isObject(inner) && typeof inner['unit'] === 'string')
  return {
    title: path.join(' › '),
    unit: isObject(metric) ? String(metric['unit']) : null,
    timezone: typeof holder['timezone'] === 'string' ? holder['timezone'] : undefined,
    // Buckets of groups repeat the lines of `series`.
    lines: lines.length > 0 ? lines : groups.flatMap(linesOfBuckets),
    bars: barsOf(groups),
    timelessLines: series.filter(isTimeless).length,
  }
}

function isDrawn(value: unknown): value is readonly JsonObject[] {
  return Array.isArray(value) && value.some((item) => isLine(item) || isGroup(item))
}

/** A line of `Series`, or what an answer has selected of it. */
export function isLine(value: unknown): value is JsonObject {
  return isObject(value) && (Array.isArray(value['values']) || hasPoints(value))
}

export function isGroup(value: unknown): value is JsonObject {
  if (!isObject(value)) return false
  const { total, buckets } = value
  return isObject(total) || (Array.isArray(buckets) && buckets.some((bucket) => isObject(bucket) && 'start' in bucket))
}

function hasPoints({ points }: JsonObject): boolean {
  return Array.isArray(points) && points.every((point) => isObject(point) && 'timestamp' in point && 'value' in point)
}

function isTimeless(line: JsonObject): boolean {
  return !Array.isArray(line['timestamps']) && !hasPoints(line)
}

function linesOf(line: JsonObject, index: number): readonly ChartLine[] {
  if (isTimeless(line)) return []
  const id = typeof line['id'] === 'string' ? line['id'] : `${index}`
  const label = labelOf(line) ?? `line ${index + 1}`
  const { timestamps, values } = columnsOf(line)
  const own = { id, label, timestamps, values, total: numberOf(line['total']), comparedWith: undefined }
  const { comparison } = line
  if (!isLine(comparison)) return [own]
  const earlier = valuesOf(comparison)
  return [
    own,
    {
      id: `${id} compared`,
      label: labelOf(comparison) ?? `${label} before`,
      // Aligned bucket by bucket: drawn at the times of the line that it is compared with.
      timestamps,
      values: timestamps.map((_, row) => earlier[row] ?? null),
      total: numberOf(comparison['total']),
      comparedWith: id,
    },
  ]
}

function columnsOf(line: JsonObject): { timestamps: readonly number[]; values: readonly (number | null)[] } {
  const { timestamps } = line
  const times = Array.isArray(timestamps)
    ? timestamps.map(Number)
    : pointsOf(line).map(({ timestamp }) => timeOf(timestamp))
  const values = valuesOf(line)
  return { timestamps: times, values: times.map((_, row) => values[row] ?? null) }
}

function valuesOf(line: JsonObject): readonly (number | null)[] {
  const { values } = line
  return (Array.isArray(values) ? values : pointsOf(line).map(({ value }) => value)).map(numberOf)
}

function pointsOf({ points }: JsonObject): readonly JsonObject[] {
  return Array.isArray(points) ? points.filter(isObject) : []
}

/** One line per group and aggregation, from its buckets. */
function linesOfBuckets(group: JsonObject): readonly ChartLine[] {
  const { buckets } = group
  if (!Array.isArray(buckets)) return []
  const rows = buckets.filter((bucket): bucket is JsonObject => isObject(bucket) && 'start' in bucket)
  const timestamps = rows.map(({ start }) => timeOf(start))
  const line = (name: string, part: 'values' | 'previous'): ChartLine => {
    const label = [name, labelOf(group)].filter((text) => text !== undefined).join(' · ')
    const values = rows.map(({ [part]: held }) => (isObject(held) ? numberOf(held[name]) : null))
    const own = { id: label, label, timestamps, values, total: totalOf(group, name), comparedWith: undefined }
    if (part === 'values') return own
    return { ...own, id: `${label} compared`, label: `${label} · before`, total: null, comparedWith: label }
  }
  const namesIn = (part: 'values' | 'previous'): readonly string[] => [
    ...new Set(rows.flatMap(({ [part]: held }) => (isObject(held) ? namesOfNumbers(held) : []))),
  ]
  const names = namesIn('values')
  const earlier = namesIn('previous').filter((name) => names.includes(name))
  return names.flatMap((name) => [line(name, 'values'), ...(earlier.includes(name) ? [line(name, 'previous')] : [])])
}

/** One list of bars per aggregation in `total`. */
function barsOf(groups: readonly JsonObject[]): readonly BarList[] {
  const names = new Set(groups.flatMap(({ total }) => (isObject(total) ? namesOfNumbers(total) : [])))
  return [...names].map((name) => ({
    title: name,
    bars: groups.map((group): Bar => ({ label: labelOf(group) ?? 'all', value: totalOf(group, name) })),
  }))
}

function totalOf({ total }: JsonObject, name: string): number | null {
  return isObject(total) ? numberOf(total[name]) : null
}

function namesOfNumbers(object: JsonObject): readonly string[] {
  return Object.keys(object).filter((name) => typeof object[name] === 'number' || object[name] === null)
}

/** `label`, or the tags, or whatever texts the answer has selected beside the numbers. */
function labelOf(item: JsonObject): string | undefined {
  if (typeof item['label'] === 'string') return item['label']
  if (item['tags'] === null) return 'other'
  if (isObject(item['tags'])) {
    const tags = Object.values(item['tags']).join(', ')
    if (tags !== '') return tags
  }
  const texts = Object.entries(item).filter(
    ([name, value]) => typeof value === 'string' && !/^(id|seriesId)$/.test(name),
  )
  return texts.length === 0 ? undefined : texts.map(([, text]) => text).join(', ')
}

function nameOf(item: unknown): string | undefined {
  return isObject(item) && typeof item['name'] === 'string' ? item['name'] : undefined
}

/** UNIX milliseconds of a `DateTime`. */
export function timeOf(value: unknown): number {
  return typeof value === 'number' ? value : Date.parse(String(value))
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' ? value : null
}
