import { isGroup, isLine, timeOf } from './charts-of.ts'
import { isObject, type JsonObject } from './json.ts'

/**
 * Keeps a live query up to date. A SNAPSHOT replaces everything. A PATCH replaces the buckets with the same start;
 * buckets before `dropBefore` go, then lines and groups without buckets. The result has the shape of a snapshot, with
 * whatever fields were selected.
 */
export function applyUpdate(before: unknown, update: unknown): unknown {
  if (!isObject(update) || !isObject(before) || update['kind'] !== 'PATCH') return update
  const dropBeforeMs =
    typeof update['dropBefore'] === 'string' ? timeOf(update['dropBefore']) : Number.NEGATIVE_INFINITY
  return Object.fromEntries(
    Object.entries(update).map(([field, value]) => {
      const old = before[field]
      if (!Array.isArray(value) || !Array.isArray(old)) return [field, value]
      // An empty list is one of the two kinds, whose buckets may have to go.
      return [field, mergeList(old.filter(isObject), value.filter(isObject), dropBeforeMs)]
    }),
  )
}

/** Applies an answer to the answer before: each root field that is a live update is merged. */
export function applyAnswer(before: unknown, data: unknown): unknown {
  if (!isObject(data)) return data
  const old = isObject(before) ? before : {}
  return Object.fromEntries(Object.entries(data).map(([field, value]) => [field, applyUpdate(old[field], value)]))
}

function mergeList(
  old: readonly JsonObject[],
  news: readonly JsonObject[],
  dropBeforeMs: number,
): readonly JsonObject[] {
  const merged = new Map(old.map((item) => [identityOf(item), item]))
  for (const item of news) {
    const before = merged.get(identityOf(item))
    merged.set(identityOf(item), before === undefined ? item : mergeItem(before, item))
  }
  return [...merged.values()].flatMap((item) => dropEarly(item, dropBeforeMs))
}

/** Lines have an id. Groups are found by their tags, or by the texts that were selected instead. */
function identityOf(item: JsonObject): string {
  if (typeof item['id'] === 'string') return item['id']
  const { total: _total, points: _points, timestamps: _times, values: _values, buckets: _buckets, ...rest } = item
  const { comparison: _comparison, ...texts } = rest
  return JSON.stringify(texts)
}

function mergeItem(before: JsonObject, item: JsonObject): JsonObject {
  if (isLine(item)) return mergeRows(before, item, rowsOfLine, withRowsOfLine)
  if (isGroup(item)) return mergeRows(before, item, rowsOfGroup, withRowsOfGroup)
  return item
}

/** One bucket, with its cell of each column. */
interface Row {
  readonly atMs: number
  readonly cells: readonly unknown[]
}

type RowsOf = (item: JsonObject) => readonly Row[]
type WithRows = (item: JsonObject, rows: readonly Row[]) => JsonObject

function mergeRows(before: JsonObject, item: JsonObject, rowsOf: RowsOf, withRows: WithRows): JsonObject {
  const rows = new Map([...rowsOf(before), ...rowsOf(item)].map((row) => [row.atMs, row]))
  return withRows(
    item,
    [...rows.values()].sort((a, b) => a.atMs - b.atMs),
  )
}

/** Without the early buckets; nothing when there are no others. */
function dropEarly(item: JsonObject, dropBeforeMs: number): readonly JsonObject[] {
  const [rowsOf, withRows]: [RowsOf, WithRows] = isLine(item)
    ? [rowsOfLine, withRowsOfLine]
    : [rowsOfGroup, withRowsOfGroup]
  const rows = rowsOf(item)
  if (rows.length === 0) return [item]
  const kept = rows.filter(({ atMs }) => atMs >= dropBeforeMs)
  if (kept.length === rows.length) return [item]
  return kept.length === 0 ? [] : [withRows(item, kept)]
}

const LINE_COLUMNS = ['timestamps', 'values', 'points'] as const

function rowsOfLine(line: JsonObject): readonly Row[] {
  const columns = columnsOfLine(line)
  const times =
    listOf(line['timestamps']) ?? listOf(line['points'])?.map((point) => isObject(point) && point['timestamp'])
  return (times ?? []).map((time, row) => ({ atMs: timeOf(time), cells: columns.map((column) => column?.[row]) }))
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

/** The columns of the line, then those of its comparison; undefined where one was not selected. */
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
  return (listOf(buckets) ?? []).filter(isObject).map((bucket) => ({ atMs: timeOf(bucket['start']), cells: [bucket] }))
}

function withRowsOfGroup(group: JsonObject, rows: readonly Row[]): JsonObject {
  return { ...group, buckets: rows.map(({ cells }) => cells[0]) }
}

function listOf(value: unknown): readonly unknown[] | undefined {
  return Array.isArray(value) ? value : undefined
}
