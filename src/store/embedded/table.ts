import type { Database } from 'lmdb'
import { HyperLogLog } from '../../sketch/hyperloglog.ts'
import { EmptyRanges, keyAfter, type TextRange } from './empty-ranges.ts'
import { TABLES, type TableName } from './keys.ts'
import type { Layer } from './layer.ts'
import type { MemoryTable, RowWrite } from './memory-table.ts'

/**
 * A table as readers and writes see it: the rows in LMDB, and in front of them the rows of layers (changes that are not
 * in LMDB yet). A row of a layer hides rows with the same key in older layers and in LMDB. Only members that a layer
 * adds to a set sketch hide nothing: the sketch is the union of these members and of the sketch in older layers and
 * LMDB.
 *
 * A table remembers ranges in which all rows were removed (`EmptyRanges`). So it must be told of all changes that
 * become visible in its layers.
 */

export type LmdbTable = Database<Uint8Array, Uint8Array>

export interface KeyRange {
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

const NO_MEMBERS: readonly HyperLogLog[] = []

/**
 * A read that meets this many removed rows in succession looks for an empty range to skip, and remembers the range of
 * the removed rows. For fewer rows, restarting the read beyond them would cost more than it saves.
 */
const SKIPPED_ROWS_MIN = 16

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
  readonly #emptyRanges = new EmptyRanges()

  constructor(name: TableName, lmdb: LmdbTable, layers: () => readonly Layer[]) {
    this.name = name
    this.#lmdb = lmdb
    this.#layers = layers
  }

  /** Returns the value of a row. `text`: the key as text (`keyTextOf`), if the caller has it already. */
  get(key: Uint8Array, text: string = keyTextOf(key)): Uint8Array | undefined {
    for (const layer of this.#layers()) {
      const write = layer.get(this.name, text)
      if (write === undefined) continue
      if (write.addedMembers === undefined) return write.value
      const united = new HyperLogLog()
      this.addMembersTo(united, key)
      return united.encode()
    }
    return this.#lmdb.getBinary(key)
  }

  /** Returns the row's value in the newest layer that changes it. Undefined if none does, or if it is removed there. */
  getFromLayers(text: string): Uint8Array | undefined {
    for (const layer of this.#layers()) {
      const write = layer.get(this.name, text)
      if (write !== undefined) return write.value
    }
    return undefined
  }

  /** Adds the members of the set sketch at `key` to `united`. */
  addMembersTo(united: HyperLogLog, key: Uint8Array): void {
    const { added, base } = this.#readSketch(keyTextOf(key))
    for (const members of added) united.union(members)
    const value = base === undefined ? this.#lmdb.getBinary(key) : base.value
    if (value !== undefined) united.unionEncoded(value)
  }

  /** Returns the members that layers have added to a set sketch since its last put or removal, newest layer first. */
  addedMembers(text: string): readonly HyperLogLog[] {
    return this.#readSketch(text).added
  }

  /**
   * Returns the members that layers have added to a set sketch, newest layer first, and the put or removal in an older
   * layer to which they are added (`base`). Without `base`, they are added to the sketch in LMDB.
   */
  #readSketch(text: string): { readonly added: readonly HyperLogLog[]; readonly base: RowWrite | undefined } {
    let added: readonly HyperLogLog[] = NO_MEMBERS
    for (const layer of this.#layers()) {
      const write = layer.get(this.name, text)
      if (write === undefined) continue
      if (write.addedMembers === undefined) return { added, base: write }
      // `push` would reserve memory for 17 elements.
      added = added.length === 0 ? [write.addedMembers] : [...added, write.addedMembers]
    }
    return { added, base: undefined }
  }

  has(key: Uint8Array, text: string = keyTextOf(key)): boolean {
    for (const layer of this.#layers()) {
      const write = layer.get(this.name, text)
      if (write !== undefined) return write.value !== undefined || write.addedMembers !== undefined
    }
    return this.#lmdb.doesExist(key)
  }

  /**
   * Returns whether LMDB has the row, even if a layer changes or removes it. A row that a layer has as new counts as
   * not in LMDB, although a checkpoint may just be writing it.
   */
  isInLmdb(key: Uint8Array, text: string = keyTextOf(key)): boolean {
    for (const layer of this.#layers()) if (layer.get(this.name, text)?.isNew === true) return false
    return this.#lmdb.doesExist(key)
  }

  /** Returns the rows of a range in ascending order of their keys, or descending with `reverse`. */
  rows(range: KeyRange): Iterable<Row> {
    const layerIterators = this.#layerIterators(range)
    if (layerIterators.length === 0) return this.#lmdb.getRange(range) as Iterable<Row>
    return this.#visibleRows(range, layerIterators, (rest) => this.#lmdb.getRange(rest) as Iterable<Row>)
  }

  /** Returns the keys of a range in ascending order, or descending with `reverse`. */
  keys(range: KeyRange): Iterable<Uint8Array> {
    // A copy of the range, because `getKeys` changes the object.
    const lmdbKeys = (rest: KeyRange) => this.#lmdb.getKeys({ ...rest }) as Iterable<Uint8Array>
    const layerIterators = this.#layerIterators(range)
    if (layerIterators.length === 0) return lmdbKeys(range)
    return keysOf(this.#visibleRows(range, layerIterators, (rest) => withoutValues(lmdbKeys(rest))))
  }

  /** Returns the row with the greatest key that is at most `key` and greater than `lowerBound`; undefined if none. */
  lastRowUpTo(key: Uint8Array, lowerBound: Uint8Array): Row | undefined {
    for (const row of this.rows({ start: key, end: lowerBound, reverse: true, limit: 1 })) return row
    return undefined
  }

  /** Must be called for all changes that become visible in the layers, before the next read. */
  noteChanges(changes: MemoryTable): void {
    if (this.#emptyRanges.size === 0) return
    for (const [text, { value, addedMembers }] of changes.entries()) {
      if (value !== undefined || addedMembers !== undefined) this.#emptyRanges.exclude(text)
    }
  }

  /** Must be called when visible changes are dropped from the layers because they could not be written. */
  forgetEmptyRanges(): void {
    this.#emptyRanges.clear()
  }

  /** Yields the visible rows of a range. Skips empty ranges, and remembers those that it finds. */
  *#visibleRows(
    range: KeyRange,
    layerIterators: readonly Iterator<LayeredRow>[],
    lmdbRows: (range: KeyRange) => Iterable<Row>,
  ): Generator<Row> {
    const { limit = Number.POSITIVE_INFINITY, reverse = false } = range
    let merge = new RowMerge(layerIterators, lmdbRows(unlimited(range)), reverse)
    let firstRemoved = ''
    let removedCount = 0
    try {
      for (let yieldedCount = 0; yieldedCount < limit; ) {
        const next = merge.next()
        const row = next?.row
        if (next !== undefined && row === undefined) {
          if (removedCount++ === 0) firstRemoved = next.text
          const emptyRange = removedCount < SKIPPED_ROWS_MIN ? undefined : this.#emptyRanges.find(next.text)
          if (emptyRange === undefined) continue
          merge.close()
          const rest = rangeBeyond(emptyRange, range)
          merge = new RowMerge(this.#layerIterators(rest), lmdbRows(rest), reverse)
          continue
        }
        if (removedCount >= SKIPPED_ROWS_MIN) {
          const nextText = next?.text ?? keyTextOf(range.end)
          this.#emptyRanges.add(
            reverse
              ? { start: keyAfter(nextText), end: keyAfter(firstRemoved) }
              : { start: firstRemoved, end: nextText },
          )
        }
        removedCount = 0
        if (row === undefined) return
        yield row
        yieldedCount++
      }
    } finally {
      merge.close()
    }
  }

  /** Returns an iterator for each layer that has changes in the range, newest layer first. */
  #layerIterators(range: KeyRange): Iterator<LayeredRow>[] {
    const iterators: Iterator<LayeredRow>[] = []
    for (const layer of this.#layers()) {
      const table = layer.table(this.name)
      if (table === undefined || table.size === 0) continue
      if (!this.#layeredRows(table, range).next().done) iterators.push(this.#layeredRows(table, range))
    }
    return iterators
  }

  *#layeredRows(table: MemoryTable, { start, end, reverse = false, exclusiveStart }: KeyRange): Generator<LayeredRow> {
    const startText = keyTextOf(start)
    const endText = keyTextOf(end)
    for (const text of table.keysFrom(startText, reverse)) {
      if (reverse ? text <= endText : text >= endText) return
      if (exclusiveStart === true && text === startText) continue
      const write = table.get(text)!
      yield { text, row: this.#rowOf(text, write) }
    }
  }

  #rowOf(text: string, { value, addedMembers }: RowWrite): Row | undefined {
    if (value === undefined && addedMembers === undefined) return undefined
    const key = Buffer.from(text, 'latin1')
    if (value !== undefined) return { key, value }
    // The union of the members is computed only when the value is read.
    const wholeValue = () => this.get(key, text)!
    return {
      key,
      get value() {
        return wholeValue()
      },
    }
  }
}

function unlimited({ limit: _, ...range }: KeyRange): KeyRange {
  return range
}

/** Returns the part of a range that a read reaches after an empty range, without the limit. */
function rangeBeyond(emptyRange: TextRange, range: KeyRange): KeyRange {
  const { reverse = false } = range
  const start = Buffer.from(reverse ? emptyRange.start : emptyRange.end, 'latin1')
  return { ...unlimited(range), start, exclusiveStart: reverse }
}

/** Returns a key as a string with one character per byte, as `MemoryTable` needs it. */
export function keyTextOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1')
}

/** A change of a row in a layer, or a row of LMDB in the same form. */
interface LayeredRow {
  /** The key as text. */
  readonly text: string
  /** The row; undefined if it was removed. */
  readonly row: Row | undefined
}

/**
 * Merges the changes of the layers, newest layer first, and the rows of LMDB in the order of their keys. Of several
 * changes with the same key, the one of the newest layer is used.
 */
class RowMerge {
  readonly #lmdbRows: Iterator<Row>
  readonly #sources: readonly Iterator<LayeredRow>[]
  readonly #heads: (LayeredRow | undefined)[]
  readonly #reverse: boolean

  constructor(layers: readonly Iterator<LayeredRow>[], lmdbRows: Iterable<Row>, reverse: boolean) {
    this.#lmdbRows = lmdbRows[Symbol.iterator]()
    this.#sources = [...layers, asLayeredRows(this.#lmdbRows)]
    this.#heads = this.#sources.map(nextOf)
    this.#reverse = reverse
  }

  /** Returns the next row, which may be a removed one; undefined at the end. */
  next(): LayeredRow | undefined {
    const heads = this.#heads
    let next: LayeredRow | undefined
    for (const row of heads) {
      if (row === undefined) continue
      if (next === undefined || (this.#reverse ? row.text > next.text : row.text < next.text)) next = row
    }
    if (next === undefined) return undefined
    for (let i = 0; i < heads.length; i++) if (heads[i]?.text === next.text) heads[i] = nextOf(this.#sources[i]!)
    return next
  }

  close(): void {
    this.#lmdbRows.return?.()
  }
}

function nextOf(rows: Iterator<LayeredRow>): LayeredRow | undefined {
  const { done, value } = rows.next()
  return done === true ? undefined : value
}

function asLayeredRows(rows: Iterator<Row>): Iterator<LayeredRow> {
  return {
    next() {
      const { done, value } = rows.next()
      return done === true
        ? { done, value: undefined }
        : { done: false, value: { text: keyTextOf(value.key), row: value } }
    },
  }
}

function* withoutValues(keys: Iterable<Uint8Array>): Generator<Row> {
  for (const key of keys) yield { key, value: NO_VALUE }
}

function* keysOf(rows: Iterable<Row>): Generator<Uint8Array> {
  for (const { key } of rows) yield key
}
