import type { RollupKind } from '../../model/metric.ts'
import { RollupTable } from '../../rollup/rollup-table.ts'

/**
 * A pool of rollup tables for reuse. A round usually lasts milliseconds, and allocating the columns of a table takes
 * longer than filling them. The number of tables is bounded, and a table that has many rows when it is returned is not
 * kept.
 */
export class TablePool {
  readonly #freeTables = new Map<RollupKind, RollupTable[]>()

  /** Returns an empty table, from the pool if it has one. */
  take(kind: RollupKind): RollupTable {
    return this.#freeTables.get(kind)?.pop() ?? new RollupTable(kind)
  }

  /** Returns a table to the pool. The caller must not use the table afterwards. */
  giveBack(table: RollupTable): void {
    if (table.length > POOLED_TABLE_ROWS_MAX) return
    table.clear()
    const tables = this.#freeTables.get(table.kind)
    if (tables === undefined) this.#freeTables.set(table.kind, [table])
    else if (tables.length < TABLES_PER_KIND_MAX) tables.push(table)
  }
}

/**
 * Maximum number of tables in the pool for each kind of rollup, and maximum number of rows of a table that is returned
 * to the pool and kept.
 */
const TABLES_PER_KIND_MAX = 64
const POOLED_TABLE_ROWS_MAX = 16_384
