import type { HyperLogLog } from '../../sketch/hyperloglog.ts'
import type { TableName } from './keys.ts'
import { Layer } from './layer.ts'
import { keyTextOf, type Tables } from './table.ts'

/**
 * Maximum number of entries that one write of background work removes. With its look-ups in LMDB, an entry costs up to
 * 20 microseconds. The writes of requests wait meanwhile, so work with more to remove takes several writes.
 */
export const REMOVALS_PER_WRITE_MAX = 100

/**
 * The changes of one write to the store. `get` and `has` see these changes, but reads through `tables` do not. After
 * `addMembers`, `get` and `has` do not find the set sketch.
 */
export class WriteSet {
  /** The tables with the changes of all earlier writes, but not of this one. */
  readonly tables: Tables
  readonly #layer = new Layer()
  #actionsOnceDurable: (() => void)[] = []

  constructor(tables: Tables) {
    this.tables = tables
  }

  /** The changes as a layer, not a copy. After the write has run, the caller may change it. */
  get layer(): Layer {
    return this.#layer
  }

  /** Returns the value of a row. `text`: the key as text (`keyTextOf`), if the caller has it already. */
  get(table: TableName, key: Uint8Array, text: string = keyTextOf(key)): Uint8Array | undefined {
    const write = this.#layer.get(table, text)
    return write === undefined ? this.tables[table].get(key, text) : write.value
  }

  has(table: TableName, key: Uint8Array): boolean {
    const text = keyTextOf(key)
    const write = this.#layer.get(table, text)
    return write === undefined ? this.tables[table].has(key, text) : write.value !== undefined
  }

  /**
   * Like `get`, but does not look in LMDB. Only for rows of which it is known that a layer has them if they exist.
   * `text`: the key as text (`keyTextOf`).
   */
  getFromLayers(table: TableName, text: string): Uint8Array | undefined {
    const write = this.#layer.get(table, text)
    return write === undefined ? this.tables[table].getFromLayers(text) : write.value
  }

  put(table: TableName, key: Uint8Array, value: Uint8Array): void {
    this.#layer.set(table, keyTextOf(key), { value })
  }

  /** Puts several rows with the same value. `texts`: the keys as text (`keyTextOf`). */
  putEach(table: TableName, texts: readonly string[], value: Uint8Array): void {
    const write = { value }
    for (const text of texts) this.#layer.set(table, text, write)
  }

  /** Puts a row of which it is known that no row with its key exists, for example because the key is a unique name. */
  putNew(table: TableName, key: Uint8Array, value: Uint8Array): void {
    this.#layer.set(table, keyTextOf(key), { value, isNew: true })
  }

  /** Adds members to a set sketch. The write set becomes the owner of `members`. */
  addMembers(key: Uint8Array, members: HyperLogLog): void {
    this.#layer.set('sets', keyTextOf(key), { value: undefined, addedMembers: members })
  }

  remove(table: TableName, key: Uint8Array, text: string = keyTextOf(key)): void {
    this.#layer.set(table, text, { value: undefined })
  }

  /**
   * Runs `action` when the changes are durable, and never if the write fails. A write may change the memory of the
   * store only in such actions.
   */
  onceDurable(action: () => void): void {
    this.#actionsOnceDurable.push(action)
  }

  /** Runs the actions of `onceDurable`. */
  runActions(): void {
    for (const action of this.#actionsOnceDurable) action()
    this.#actionsOnceDurable = []
  }
}
