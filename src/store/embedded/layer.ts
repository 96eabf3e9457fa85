import type { TableName } from './keys.ts'
import { MemoryTable, type RowWrite } from './memory-table.ts'

/**
 * Changed rows, of all tables, that no complete checkpoint has written to LMDB yet. There are layers for one write, for
 * one frame of the journal, for all frames between the beginnings of two checkpoints, and for the journal at a start.
 */
export class Layer {
  readonly #tables = new Map<TableName, MemoryTable>()

  get isEmpty(): boolean {
    for (const table of this.#tables.values()) if (table.size > 0) return false
    return true
  }

  /** An estimate, with the overhead of each row. */
  get memoryBytes(): number {
    let bytes = 0
    for (const table of this.#tables.values()) bytes += table.memoryBytes
    return bytes
  }

  tables(): Iterable<[TableName, MemoryTable]> {
    return this.#tables
  }

  table(name: TableName): MemoryTable | undefined {
    return this.#tables.get(name)
  }

  get(name: TableName, key: string): RowWrite | undefined {
    return this.#tables.get(name)?.get(key)
  }

  set(name: TableName, key: string, write: RowWrite): void {
    this.#tableOrNew(name).set(key, write)
  }

  /** Forgets the change of a row. */
  delete(name: TableName, key: string): void {
    this.#tables.get(name)?.delete(key)
  }

  /** Adds the changes of a later write to this layer, which becomes a frame of the journal. */
  addWriteSet(later: Layer): void {
    for (const [name, table] of later.tables()) {
      for (const [key, write] of table.entries()) this.set(name, key, write)
    }
  }

  /**
   * Adds the changes of a later frame. A removal is not kept, and the row is deleted from this layer, if the row is
   * known to be new or `mustRecordRemoval` returns false: then no row in LMDB or in the frozen layer has to be hidden.
   * Sorts about as many keys as the frame has, so that a later read does not have to sort the keys of many frames at
   * once.
   */
  addFrame(later: Layer, mustRecordRemoval: (name: TableName, key: string) => boolean): void {
    for (const [name, table] of later.tables()) {
      const target = this.#tableOrNew(name)
      for (const [key, write] of table.entries()) {
        const isRemoval = write.value === undefined && write.addedMembers === undefined
        const isNew = (target.get(key) ?? write).isNew === true
        if (isRemoval && (isNew || !mustRecordRemoval(name, key))) target.delete(key)
        else target.set(key, write)
      }
      target.limitUnsortedKeys()
    }
  }

  #tableOrNew(name: TableName): MemoryTable {
    let table = this.#tables.get(name)
    if (table === undefined) {
      table = new MemoryTable()
      this.#tables.set(name, table)
    }
    return table
  }
}
