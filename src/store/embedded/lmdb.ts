import { mkdirSync } from 'node:fs'
import { open } from 'lmdb'
import { GatewayError } from '../../model/errors.ts'
import { checkDataFile, checkFreeSpace } from './check-files.ts'
import { TABLES, type TableName } from './keys.ts'
import type { LmdbTable } from './table.ts'

/**
 * The LMDB environment of a folder. Each write is one transaction, which is synced to disk before the write resolves.
 * Several processes may open the folder: `lock.ts` ensures that only one of them is a gateway.
 */

export type LmdbTables = Readonly<Record<TableName, LmdbTable>>

/**
 * Address space that is reserved for the data file. It takes no memory. If the file grows beyond it, LMDB maps the file
 * again at twice the size and keeps the earlier mapping. A page that is read through several mappings then counts
 * several times in the memory of the process.
 */
const MAP_BYTES = 2 ** 36

function openRoot(folder: string) {
  return open<Uint8Array, Uint8Array>({
    path: folder,
    noSubdir: false,
    maxDbs: TABLES.length + 8,
    overlappingSync: false,
    // With batching by event turn, a failed commit would reject a promise that no caller can handle.
    eventTurnBatching: false,
    // Windows would allocate the whole map size on disk.
    ...(process.platform === 'win32' ? {} : { mapSize: MAP_BYTES }),
    encoding: 'binary',
    keyEncoding: 'binary',
  })
}

export class Lmdb {
  readonly tables: LmdbTables
  readonly #root: ReturnType<typeof openRoot>

  /** Opens the environment. Throws an Error that names the folder if it cannot be used. */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true })
    checkDataFile(folder)
    checkFreeSpace(folder)
    try {
      this.#root = openRoot(folder)
      this.tables = this.#openTables()
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new Error(`the store in ${folder} cannot be opened: ${reason}`, { cause })
    }
  }

  /** Opens the tables; creates missing ones. Throws an Error if the folder has a table of another program. */
  #openTables(): LmdbTables {
    const names: readonly string[] = TABLES
    for (const key of this.#root.getKeys()) {
      const name = Buffer.from(key).toString('latin1').replace(/\0$/, '')
      if (!names.includes(name)) throw new Error('it holds the data of another program')
    }
    const openTable = (name: TableName): LmdbTable =>
      this.#root.openDB<Uint8Array, Uint8Array>({ name, encoding: 'binary', keyEncoding: 'binary' })
    return Object.fromEntries(TABLES.map((name) => [name, openTable(name)])) as Record<TableName, LmdbTable>
  }

  /**
   * Runs `changeRows`, which calls `put` and `remove` of tables, as one transaction. Resolves when the transaction is
   * durable; rejects with `store_unavailable` if it fails.
   */
  async write(changeRows: () => void): Promise<void> {
    try {
      await this.#root.batch(changeRows)
    } catch (error) {
      throw unavailableError(await causeOf(error))
    }
  }

  async close(): Promise<void> {
    await this.#root.close()
  }
}

/** Returns the result of `verb`, a read or write of the store. Throws LMDB errors as `store_unavailable`. */
export function convertLmdbErrors<T>(verb: () => T): T {
  try {
    return verb()
  } catch (error) {
    throw isLmdbError(error) ? unavailableError(error) : error
  }
}

export function unavailableError(cause?: unknown): GatewayError {
  return new GatewayError('store_unavailable', 'the store is unavailable', cause === undefined ? {} : { cause })
}

/** Returns a `GatewayError` as it is, and any other error as the cause of `store_unavailable`. */
export function asUnavailable(error: unknown): GatewayError {
  return error instanceof GatewayError ? error : unavailableError(error)
}

/**
 * Returns whether the error is from LMDB. Errors of LMDB have a numeric code, LMDB's own (negative) or the system's, or
 * say that the environment is closed.
 */
function isLmdbError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return ('code' in error && typeof error.code === 'number') || /\bclosed\b/.test(error.message)
}

/** Returns the cause of a failed transaction: the error of lmdb-js may have a promise of the cause, `commitError`. */
async function causeOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error
  return Promise.resolve(error.commitError).catch((cause: unknown) => cause)
}
