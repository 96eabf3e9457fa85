import type { RollupKind } from '../../model/metric.ts'
import { ObjectPool } from '../../model/object-pool.ts'
import { RollupTable } from '../../rollup/rollup-table.ts'

/** Maximum memory of the tables in the pool, and of one of them: about 16,384 rows of a gauge. */
const POOL_BYTES_MAX = 1 << 24
const POOLED_TABLE_BYTES_MAX = 1 << 21

/**
 * A pool of rollup tables for reuse. A round usually lasts milliseconds, and allocating the columns of a table takes
 * longer than filling them.
 */
export class TablePool {
  readonly #tables = new ObjectPool<RollupTable>({
    bytesMax: POOL_BYTES_MAX,
    objectBytesMax: POOLED_TABLE_BYTES_MAX,
  })

  /** Returns an empty table, from the pool if it has one. */
  take(kind: RollupKind): RollupTable {
    return this.#tables.take(kind) ?? new RollupTable(kind)
  }

  /** Returns a table to the pool. The caller must not use the table afterwards. */
  giveBack(table: RollupTable): void {
    this.#tables.giveBack(table)
  }
}
