import { type Bar, type BarList, CHARTS_MAX, type Chart, type ChartLine } from './chart.ts'
import { isObject, type JsonObject } from './json.ts'

/**
 * Finds the charts in the data of any GraphQL result. An alias may rename the field that holds a list, so lists are
 * recognised by the objects in them: objects with `values` or `points` are lines, objects with `total` or `buckets` are
 * groups. All lists of lines and groups in one object become one chart.
 */
export function findCharts(data: unknown): readonly Chart[] {
  const charts: Chart[] = []
  collectCharts(data, [], charts)
  return charts
}

/** Maximum depth of the search, where each list adds a level. A result nested deeper has no charts. */
const DEPTH_MAX = 30

function collectCharts(value: unknown, path: readonly string[], charts: Chart[]): void {
  if (path.length > DEPTH_MAX || charts.length >= CHARTS_MAX) return
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) collectCharts(item, [...path, nameOf(item) ?? String(index)], charts)
  } else if (isObject(value)) {
    const chart = chartOf(value, path)
    if (chart !== undefined) charts.push(chart)
    for (const [key, inner] of Object.entries(value)) {
      if (chart === undefined || !isDrawableList(inner)) collectCharts(inner, [...path, key], charts)
    }
  }
}

/** Builds one chart from the lists of lines and groups in an object. Undefined: the object has no such list. */
function chartOf(parent: JsonObject, path: readonly string[]): Chart | undefined {
  const lists = Object.values(parent).filter(isDrawableList)
  if (lists.length === 0) return undefined
  const series = lists.flat().filter(isLine)
  const groups = lists.flat().filter(isGroup)
  const lines = series.flatMap((line, index) => linesOf(line, index))
  const metric = Object.values(parent).find((inner) => isObject(inner) && typeof inner['unit'] === 'string')
  return {
    title: path.join(' › '),
    unit: isObject(metric) ? String(metric['unit']) : null,
    timezone: typeof parent['timezone'] === 'string' ? parent['timezone'] : undefined,
    // If both are selected, the buckets of `groups` have the same values as the lines of `series`.
    lines: lines.length > 0 ? lines : groups.flatMap(linesOfBuckets),
    bars: barsOf(groups),
    lineCountWithoutTimes: series.filter(hasNoTimes).length,
  }
}

function isDrawableList(value: unknown): value is readonly JsonObject[] {
  return Array.isArray(value) && value.some((item) => isLine(item) || isGroup(item))
}

/** Whether a value looks like the selected fields of a GraphQL `Series`. */
export function isLine(value: unknown): value is JsonObject {
  return isObject(value) && (Array.isArray(value['values']) || hasPoints(value))
}

/** Whether a value looks like the selected fields of a GraphQL `Group`. */
export function isGroup(value: unknown): value is JsonObject {
  if (!isObject(value)) return false
  const { total, buckets } = value
  return isObject(total) || (Array.isArray(buckets) && buckets.some((bucket) => isObject(bucket) && 'start' in bucket))
}

function hasPoints({ points }: JsonObject): boolean {
  return Array.isArray(points) && points.every((point) => isObject(point) && 'timestamp' in point && 'value' in point)
}

function hasNoTimes(line: JsonObject): boolean {
  return !Array.isArray(line['timestamps']) && !hasPoints(line)
}

function linesOf(line: JsonObject, index: number): readonly ChartLine[] {
  if (hasNoTimes(line)) return []
  const id = typeof line['id'] === 'string' ? line['id'] : `${index}`
  const label = labelOf(line) ?? `line ${index + 1}`
  const { timestamps, values } = columnsOf(line)
  const isRemainder = isRemainderOf(line)
  const total = numberOf(line['total'])
  const requestedLine = { id, label, timestamps, values, total, comparedWith: undefined, isRemainder }
  const { comparison } = line
  if (!isLine(comparison)) return [requestedLine]
  const earlier = valuesOf(comparison)
  return [
    requestedLine,
    {
      id: `${id} compared`,
      label: labelOf(comparison) ?? `${label} before`,
      // Values of both lines correspond by index, so the earlier line is drawn at the times of the later one.
      timestamps,
      values: timestamps.map((_, row) => earlier[row] ?? null),
      total: numberOf(comparison['total']),
      comparedWith: id,
      isRemainder,
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

/** Returns the lines of one group, from its buckets: one per aggregation, and one for its `previous` if selected. */
function linesOfBuckets(group: JsonObject): readonly ChartLine[] {
  const { buckets } = group
  if (!Array.isArray(buckets)) return []
  const rows = buckets.filter((bucket): bucket is JsonObject => isObject(bucket) && 'start' in bucket)
  const timestamps = rows.map(({ start }) => timeOf(start))
  const isRemainder = isRemainderOf(group)
  const line = (name: string, field: 'values' | 'previous'): ChartLine => {
    const label = [name, labelOf(group)].filter((text) => text !== undefined).join(' · ')
    // An ordinary group with the tag value `other` has the same label as the remainder.
    const id = isRemainder ? `remainder ${label}` : label
    const values = rows.map(({ [field]: aggregates }) => (isObject(aggregates) ? numberOf(aggregates[name]) : null))
    const total = totalOf(group, name)
    const valuesLine = { id, label, timestamps, values, total, comparedWith: undefined, isRemainder }
    if (field === 'values') return valuesLine
    return { ...valuesLine, id: `${id} compared`, label: `${label} · before`, total: null, comparedWith: id }
  }
  const namesIn = (field: 'values' | 'previous'): readonly string[] => [
    ...new Set(rows.flatMap(({ [field]: aggregates }) => (isObject(aggregates) ? namesOfNumbers(aggregates) : []))),
  ]
  const names = namesIn('values')
  const earlier = namesIn('previous').filter((name) => names.includes(name))
  return names.flatMap((name) => [line(name, 'values'), ...(earlier.includes(name) ? [line(name, 'previous')] : [])])
}

/** Returns one list of bars per aggregation that the groups have in `total`. */
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

/** Whether a line or group is the remainder of `top`, whose tags are null. */
function isRemainderOf({ tags }: JsonObject): boolean {
  return tags === null
}

/** Returns the text of `label`; else the tag values; else all selected text fields but ids; undefined without any. */
function labelOf(item: JsonObject): string | undefined {
  if (typeof item['label'] === 'string') return item['label']
  if (isRemainderOf(item)) return 'other'
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

/** Converts a GraphQL `DateTime` to UNIX milliseconds. */
export function timeOf(value: unknown): number {
  return typeof value === 'number' ? value : Date.parse(String(value))
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' ? value : null
}
