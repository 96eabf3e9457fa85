import { HyperLogLog, unionEncoded } from '../../sketch/hyperloglog.ts'
import type { TableName } from './keys.ts'
import { MemoryTable, type Write } from './memory-table.ts'

/**
 * Writes to any tables that are not in LMDB yet: of one write set, of one frame of the journal, or since the last
 * checkpoint.
 */
export class Layer {
  readonly #tables = new Map<TableName, MemoryTable>()

  get isEmpty(): boolean {
    for (const table of this.#tables.values()) if (table.size > 0) return false
    return true
  }

  /** Estimated memory in bytes. */
  get bytes(): number {
    let bytes = 0
    for (const table of this.#tables.values()) bytes += table.bytes
    return bytes
  }

  tables(): Iterable<[TableName, MemoryTable]> {
    return this.#tables
  }

  table(name: TableName): MemoryTable | undefined {
    return this.#tables.get(name)
  }

  get(name: TableName, key: string): Write | undefined {
    return this.#tables.get(name)?.get(key)
  }

  set(name: TableName, key: string, write: Write): void {
    const table = this.#made(name)
    if (write.added === undefined) {
      table.set(key, write)
      return
    }
    // If the earlier write is journaled with its whole value, the combined write must be as well.
    const before = table.get(key)
    table.set(key, before === undefined ? write : { value: write.value, ...addedTogether(before, write.added) })
  }

  /** Adds the later writes of a write set, for the journal. */
  stage(later: Layer): void {
    for (const [name, table] of later.tables()) {
      for (const [key, write] of table.entries()) this.set(name, key, write)
    }
  }

  /**
   * Adds the later writes of a journal frame. A removal is kept only if `isStored` returns true: it then hides a row in
   * LMDB.
   */
  absorb(later: Layer, isStored: (name: TableName, key: string) => boolean): void {
    for (const [name, table] of later.tables()) {
      const target = this.#made(name)
      for (const [key, { value }] of table.entries()) {
        if (value === undefined && !isStored(name, key)) target.delete(key)
        else target.set(key, { value })
      }
    }
  }

  #made(name: TableName): MemoryTable {
    let table = this.#tables.get(name)
    if (table === undefined) {
      table = new MemoryTable()
      this.#tables.set(name, table)
    }
    return table
  }
}

function addedTogether(before: Write, added: Uint8Array): { readonly added?: Uint8Array } {
  if (before.added === undefined) return {}
  const sketch = HyperLogLog.decode(before.added)
  unionEncoded(sketch, added)
  return { added: sketch.encode() }
}
