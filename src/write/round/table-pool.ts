import type { RollupKind } from '../../model/metric.ts'
import { RollupTable } from '../../rollup/rollup-table.ts'

/**
 * A pool of rollup tables for reuse. A round usually lasts milliseconds, and allocating the columns and sketches of a
 * table takes longer than filling them. The number of tables is bounded, and tables with many rows are not kept.
 */
export class TablePool {
  readonly #free = new Map<RollupKind, RollupTable[]>()

  take(kind: RollupKind): RollupTable {
    return this.#free.get(kind)?.pop() ?? new RollupTable(kind)
  }

  /** Returns a table to the pool. The caller must not use the table afterwards. */
  giveBack(table: RollupTable): void {
    if (table.length > POOLED_TABLE_ROWS_MAX) return
    table.clear()
    const free = this.#free.get(table.kind)
    if (free === undefined) this.#free.set(table.kind, [table])
    else if (free.length < TABLES_PER_KIND_MAX) free.push(table)
  }
}

/** Maximum number of tables in the pool for each kind of rollup, and maximum number of rows of such a table. */
const TABLES_PER_KIND_MAX = 64
const POOLED_TABLE_ROWS_MAX = 16_384
