import { mkdirSync } from 'node:fs'
import { open } from 'lmdb'
import { GatewayError } from '../../model/errors.ts'
import { checkDataFile, checkFreeSpace } from './check-files.ts'
import { TABLES, type TableName } from './keys.ts'
import type { LmdbTable } from './table.ts'

/**
 * The LMDB environment of a folder. Each write is one transaction; it is synced to disk before it becomes visible and
 * before it resolves. Several processes may open the folder: `lock.ts` ensures that only one of them is a gateway.
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

  /** Opens the tables. LMDB creates missing tables. */
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
   * Runs `puts`, which calls `put` and `remove` of tables, as one transaction. Resolves when the transaction is
   * durable.
   */
  async write(puts: () => void): Promise<void> {
    try {
      await this.#root.batch(puts)
    } catch (error) {
      throw unavailableError(await causeOf(error))
    }
  }

  async close(): Promise<void> {
    await this.#root.close()
  }
}

/** Runs a read or write of the store. If it throws an LMDB error, throws `store_unavailable` instead. */
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

export function asUnavailable(error: unknown): GatewayError {
  return error instanceof GatewayError ? error : unavailableError(error)
}

/**
 * Returns whether the error is from LMDB. Errors of LMDB have a numeric code: LMDB's own (negative) or the system's.
 * Any other error is a bug of the gateway.
 */
function isLmdbError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return ('code' in error && typeof error.code === 'number') || /\bclosed\b/.test(error.message)
}

/** Returns the reason of a failed commit: LMDB rejects with an error whose `commitError` is a promise of the reason. */
async function causeOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error
  return Promise.resolve(error.commitError).catch((cause: unknown) => cause)
}
