import type { TableName } from './keys.ts'
import { Layer } from './layer.ts'
import { type Tables, textOf } from './table.ts'

/** The changes of one write to the store. `get` and `has` see these changes; range reads of `tables` do not. */
export class WriteSet {
  /** The tables with all earlier writes. */
  readonly tables: Tables
  readonly #layer = new Layer()
  #afterwards: (() => void)[] = []

  constructor(tables: Tables) {
    this.tables = tables
  }

  /** The changes. After the write has run, the caller owns them. */
  get layer(): Layer {
    return this.#layer
  }

  get(table: TableName, key: Uint8Array): Uint8Array | undefined {
    const text = textOf(key)
    const write = this.#layer.get(table, text)
    return write === undefined ? this.tables[table].get(key, text) : write.value
  }

  has(table: TableName, key: Uint8Array): boolean {
    const text = textOf(key)
    const write = this.#layer.get(table, text)
    return write === undefined ? this.tables[table].has(key, text) : write.value !== undefined
  }

  put(table: TableName, key: Uint8Array, value: Uint8Array): void {
    this.#layer.set(table, textOf(key), { value })
  }

  /** Puts a set sketch. `added` is an encoded sketch of the members that the stored sketch does not have. */
  putSketch(table: TableName, key: Uint8Array, value: Uint8Array, added: Uint8Array): void {
    this.#layer.set(table, textOf(key), added.length < value.length ? { value, added } : { value })
  }

  remove(table: TableName, key: Uint8Array): void {
    this.#layer.set(table, textOf(key), { value: undefined })
  }

  /** Runs `action` once the changes are durable. A write must change state in memory only in such actions. */
  afterwards(action: () => void): void {
    this.#afterwards.push(action)
  }

  finish(): void {
    for (const action of this.#afterwards) action()
    this.#afterwards = []
  }
}
