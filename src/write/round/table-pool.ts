import type { RollupKind } from '../../model/metric.ts'
import { RollupTable } from '../../rollup/rollup-table.ts'

/**
 * Rollup tables for reuse. A round lasts milliseconds, and allocating the columns and sketches of a table costs more
 * than filling them. The pool is bounded, and a table that grew unusually large is not kept.
 */
export class TablePool {
  readonly #free = new Map<RollupKind, RollupTable[]>()

  take(kind: RollupKind): RollupTable {
    return this.#free.get(kind)?.pop() ?? new RollupTable(kind)
  }

  /** Returns a table to the pool. The caller must not use the table afterwards. */
  give(table: RollupTable): void {
    if (table.length > ROWS_KEPT_MAX) return
    table.clear()
    const free = this.#free.get(table.kind)
    if (free === undefined) this.#free.set(table.kind, [table])
    else if (free.length < TABLES_MAX) free.push(table)
  }
}

const TABLES_MAX = 64
const ROWS_KEPT_MAX = 16_384
