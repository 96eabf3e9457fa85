import { isGroup, isLine, timeOf } from './find-charts.ts'
import { isObject, type JsonObject } from './json.ts'

/**
 * Applies an update to the result of a live query, which the query may have restricted to some fields. A PATCH replaces
 * the buckets with the same start. Then buckets before `dropBefore` are removed, and lines and groups that have lost
 * all their buckets. Anything else, such as a SNAPSHOT, replaces the result.
 */
export function applyUpdate(before: unknown, update: unknown): unknown {
  if (!isObject(update) || !isObject(before) || update['kind'] !== 'PATCH') return update
  const dropBeforeMs =
    typeof update['dropBefore'] === 'string' ? timeOf(update['dropBefore']) : Number.NEGATIVE_INFINITY
  return Object.fromEntries(
    Object.entries(update).map(([field, value]) => {
      const previous = before[field]
      if (!Array.isArray(value) || !Array.isArray(previous)) return [field, value]
      // An empty list may be lines or groups without changes. Early buckets are removed in both cases.
      return [field, mergeList(previous.filter(isObject), value.filter(isObject), dropBeforeMs)]
    }),
  )
}

/** Applies a GraphQL result to the previous one: merges each root field that is a live update, replaces the others. */
export function applyResultUpdate(before: unknown, data: unknown): unknown {
  if (!isObject(data)) return data
  const previous = isObject(before) ? before : {}
  return Object.fromEntries(Object.entries(data).map(([field, value]) => [field, applyUpdate(previous[field], value)]))
}

function mergeList(
  previous: readonly JsonObject[],
  changed: readonly JsonObject[],
  dropBeforeMs: number,
): readonly JsonObject[] {
  const merged = new Map(previous.map((item) => [identityOf(item), item]))
  for (const item of changed) {
    const before = merged.get(identityOf(item))
    merged.set(identityOf(item), before === undefined ? item : mergeItem(before, item))
  }
  return [...merged.values()].flatMap((item) => dropRowsBefore(item, dropBeforeMs))
}

/**
 * Returns a text that identifies the line or group in later updates: its id, or else the JSON of all fields that no
 * update changes, such as `tags`.
 */
function identityOf(item: JsonObject): string {
  if (typeof item['id'] === 'string') return item['id']
  const {
    total: _total,
    points: _points,
    timestamps: _times,
    values: _values,
    buckets: _buckets,
    ...otherFields
  } = item
  const { comparison: _comparison, ...identifyingFields } = otherFields
  return JSON.stringify(identifyingFields)
}

function mergeItem(before: JsonObject, item: JsonObject): JsonObject {
  if (isLine(item)) return mergeRows(before, item, rowsOfLine, withRowsOfLine)
  if (isGroup(item)) return mergeRows(before, item, rowsOfGroup, withRowsOfGroup)
  return item
}

/** One bucket: its start and its cell in each column. */
interface Row {
  readonly startMs: number
  readonly cells: readonly unknown[]
}

type RowsOf = (item: JsonObject) => readonly Row[]
type WithRows = (item: JsonObject, rows: readonly Row[]) => JsonObject

function mergeRows(before: JsonObject, item: JsonObject, rowsOf: RowsOf, withRows: WithRows): JsonObject {
  const rows = new Map([...rowsOf(before), ...rowsOf(item)].map((row) => [row.startMs, row]))
  return withRows(
    item,
    [...rows.values()].sort((a, b) => a.startMs - b.startMs),
  )
}

/**
 * Returns a list of the item without its buckets before `dropBeforeMs`. The list is empty if the item had buckets and
 * none remains.
 */
function dropRowsBefore(item: JsonObject, dropBeforeMs: number): readonly JsonObject[] {
  const [rowsOf, withRows]: [RowsOf, WithRows] = isLine(item)
    ? [rowsOfLine, withRowsOfLine]
    : [rowsOfGroup, withRowsOfGroup]
  const rows = rowsOf(item)
  if (rows.length === 0) return [item]
  const remainingRows = rows.filter(({ startMs }) => startMs >= dropBeforeMs)
  if (remainingRows.length === rows.length) return [item]
  return remainingRows.length === 0 ? [] : [withRows(item, remainingRows)]
}

const LINE_COLUMNS = ['timestamps', 'values', 'points'] as const

function rowsOfLine(line: JsonObject): readonly Row[] {
  const columns = columnsOfLine(line)
  const times =
    listOf(line['timestamps']) ?? listOf(line['points'])?.map((point) => isObject(point) && point['timestamp'])
  return (times ?? []).map((time, row) => ({ startMs: timeOf(time), cells: columns.map((column) => column?.[row]) }))
}

function withRowsOfLine(line: JsonObject, rows: readonly Row[]): JsonObject {
  const [timestamps, values, points, ...earlier] = columnsOfLine(line).map((column, index) =>
    column === undefined ? undefined : rows.map(({ cells }) => cells[index]),
  )
  const comparison = isObject(line['comparison'])
    ? { comparison: { ...line['comparison'], ...columnFields(earlier) } }
    : {}
  return { ...line, ...columnFields([timestamps, values, points]), ...comparison }
}

/** The columns of the line, then those of its comparison. Undefined: the query does not select this column. */
function columnsOfLine({ comparison, ...line }: JsonObject): readonly (readonly unknown[] | undefined)[] {
  const compared = isObject(comparison) ? comparison : {}
  return [...LINE_COLUMNS.map((name) => listOf(line[name])), ...LINE_COLUMNS.map((name) => listOf(compared[name]))]
}

function columnFields(columns: readonly (readonly unknown[] | undefined)[]): JsonObject {
  return Object.fromEntries(
    LINE_COLUMNS.flatMap((name, index) => (columns[index] === undefined ? [] : [[name, columns[index]]])),
  )
}

function rowsOfGroup({ buckets }: JsonObject): readonly Row[] {
  return (listOf(buckets) ?? [])
    .filter(isObject)
    .map((bucket) => ({ startMs: timeOf(bucket['start']), cells: [bucket] }))
}

function withRowsOfGroup(group: JsonObject, rows: readonly Row[]): JsonObject {
  return { ...group, buckets: rows.map(({ cells }) => cells[0]) }
}

function listOf(value: unknown): readonly unknown[] | undefined {
  return Array.isArray(value) ? value : undefined
}
