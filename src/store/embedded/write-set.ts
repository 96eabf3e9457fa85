import type { TableName } from './keys.ts'
import { Layer } from './layer.ts'
import { type Tables, textOf } from './table.ts'

/** The writes of one verb. `get` and `has` see them; ranges of `tables` do not. */
export class WriteSet {
  /** Everything that was written before this verb. */
  readonly tables: Tables
  readonly #layer = new Layer()
  #afterwards: (() => void)[] = []

  constructor(tables: Tables) {
    this.tables = tables
  }

  /** The writes. They belong to the caller once the verb is done. */
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

  /** Puts a set sketch. `added` is an encoded sketch of what it has beyond the stored one. */
  putSketch(table: TableName, key: Uint8Array, value: Uint8Array, added: Uint8Array): void {
    this.#layer.set(table, textOf(key), added.length < value.length ? { value, added } : { value })
  }

  remove(table: TableName, key: Uint8Array): void {
    this.#layer.set(table, textOf(key), { value: undefined })
  }

  /** Runs `action` once the writes are durable. A verb changes memory only in such actions. */
  afterwards(action: () => void): void {
    this.#afterwards.push(action)
  }

  finish(): void {
    for (const action of this.#afterwards) action()
    this.#afterwards = []
  }
}
