import type { Database } from 'lmdb'
import { TABLES, type TableName } from './keys.ts'
import type { Layer } from './layer.ts'
import type { MemoryTable } from './memory-table.ts'

/**
 * A table as readers see it: the rows in LMDB, hidden by the rows of the layers that are not in LMDB yet. A newer layer
 * hides older ones.
 */

export type LmdbTable = Database<Uint8Array, Uint8Array>

export interface Range {
  readonly start: Uint8Array
  /** The exclusive end of the range. */
  readonly end: Uint8Array
  readonly limit?: number
  /** Reads from `start` down to `end`. */
  readonly reverse?: boolean
  readonly exclusiveStart?: boolean
}

export interface Row {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

/** The empty value of rows whose key has all the data. */
export const NO_VALUE: Uint8Array = new Uint8Array(0)

export type Tables = Readonly<Record<TableName, Table>>

/** Returns all tables. `layers` returns the layers that are not in LMDB yet, newest first. */
export function tablesOver(lmdb: Readonly<Record<TableName, LmdbTable>>, layers: () => readonly Layer[]): Tables {
  return Object.fromEntries(TABLES.map((name) => [name, new Table(name, lmdb[name], layers)])) as Record<
    TableName,
    Table
  >
}

export class Table {
  readonly name: TableName
  readonly #lmdb: LmdbTable
  readonly #layers: () => readonly Layer[]

  constructor(name: TableName, lmdb: LmdbTable, layers: () => readonly Layer[]) {
    this.name = name
    this.#lmdb = lmdb
    this.#layers = layers
  }

  get(key: Uint8Array, text: string = textOf(key)): Uint8Array | undefined {
    for (const layer of this.#layers()) {
      const write = layer.get(this.name, text)
      if (write !== undefined) return write.value
    }
    return this.#lmdb.getBinary(key)
  }

  has(key: Uint8Array, text: string = textOf(key)): boolean {
    for (const layer of this.#layers()) {
      const write = layer.get(this.name, text)
      if (write !== undefined) return write.value !== undefined
    }
    return this.#lmdb.doesExist(key)
  }

  /** Returns whether LMDB has the row, whatever the layers say. */
  isInLmdb(key: Uint8Array): boolean {
    return this.#lmdb.doesExist(key)
  }

  /** Returns the rows of a range in the order of their keys. */
  rows(range: Range): Iterable<Row> {
    const layered = this.#layered(range)
    if (layered.length === 0) return this.#lmdb.getRange(range) as Iterable<Row>
    const stored = this.#lmdb.getRange(unlimited(range)) as Iterable<Row>
    return merged(layered, stored, range)
  }

  /** Returns the keys of a range in ascending order, or descending with `reverse`. */
  keys(range: Range): Iterable<Uint8Array> {
    const layered = this.#layered(range)
    if (layered.length === 0) return this.#lmdb.getKeys(range) as Iterable<Uint8Array>
    const stored = this.#lmdb.getKeys(unlimited(range)) as Iterable<Uint8Array>
    return keysOf(merged(layered, withoutValues(stored), range))
  }

  /** Returns the last row at or before `start` and after `end`. */
  rowBefore(start: Uint8Array, end: Uint8Array): Row | undefined {
    for (const row of this.rows({ start, end, reverse: true, limit: 1 })) return row
    return undefined
  }

  /** Returns an iterator for each layer that has rows in the range. */
  #layered(range: Range): Iterator<Found>[] {
    const found: Iterator<Found>[] = []
    for (const layer of this.#layers()) {
      const table = layer.table(this.name)
      if (table === undefined || table.size === 0) continue
      if (!writesOf(table, range).next().done) found.push(writesOf(table, range))
    }
    return found
  }
}

function unlimited({ limit: _, ...range }: Range): Range {
  return range
}

/** Returns a key as a string with one character per byte, the form of keys in a memory table. */
export function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1')
}

interface Found {
  readonly text: string
  /** The row; undefined if it was removed. */
  readonly row: Row | undefined
}

function* writesOf(table: MemoryTable, { start, end, reverse = false, exclusiveStart }: Range): Generator<Found> {
  const first = textOf(start)
  const last = textOf(end)
  for (const text of table.keysFrom(first, reverse)) {
    if (reverse ? text <= last : text >= last) return
    if (exclusiveStart === true && text === first) continue
    const { value } = table.get(text)!
    yield { text, row: value === undefined ? undefined : { key: Buffer.from(text, 'latin1'), value } }
  }
}

/**
 * Merges the rows of the layers and of LMDB in key order. Of several rows with the same key, the one of the newest
 * layer is used.
 */
function* merged(layered: Iterator<Found>[], stored: Iterable<Row>, range: Range): Generator<Row> {
  const { limit = Number.POSITIVE_INFINITY, reverse = false } = range
  const lowest = stored[Symbol.iterator]()
  const sources = [...layered, asFound(lowest)]
  const heads = sources.map((source) => source.next())
  try {
    for (let rows = 0; rows < limit; ) {
      let best: Found | undefined
      for (const { done, value } of heads) {
        if (done !== true && (best === undefined || (reverse ? value.text > best.text : value.text < best.text))) {
          best = value
        }
      }
      if (best === undefined) return
      for (const [i, { done, value }] of heads.entries()) {
        if (done !== true && value.text === best.text) heads[i] = sources[i]!.next()
      }
      if (best.row === undefined) continue
      yield best.row
      rows++
    }
  } finally {
    lowest.return?.()
  }
}

function asFound(rows: Iterator<Row>): Iterator<Found> {
  return {
    next() {
      const { done, value } = rows.next()
      return done === true
        ? { done, value: undefined }
        : { done: false, value: { text: textOf(value.key), row: value } }
    },
  }
}

function* withoutValues(keys: Iterable<Uint8Array>): Generator<Row> {
  for (const key of keys) yield { key, value: NO_VALUE }
}

function* keysOf(rows: Iterable<Row>): Generator<Uint8Array> {
  for (const { key } of rows) yield key
}
