import type { ApiKeyRow } from '../api-keys.ts'
import type { ApiKeyStore } from '../store.ts'
import { readFormat } from './format.ts'
import { apiKeyKey } from './keys.ts'
import { convertLmdbErrors, Lmdb, unavailableError } from './lmdb.ts'
import { decodeJson, encodeJson } from './rows.ts'
import { type Tables, tablesOver } from './table.ts'

/**
 * Opens the API keys of a folder, one row for each. This needs no lock of the folder, so that keys can be managed while
 * a gateway runs: LMDB allows several processes, and saving a key writes a single row that does not depend on others.
 * Keys are never in the journal, because only the gateway process may write it.
 */
export async function openEmbeddedApiKeys(folder: string): Promise<ApiKeyStore> {
  const lmdb = new Lmdb(folder)
  const tables = tablesOver(lmdb.tables, () => [])
  try {
    convertLmdbErrors(() => readFormat(lmdb, folder))
  } catch (error) {
    await lmdb.close()
    throw error
  }
  let isClosed = false
  async function read<T>(verb: () => T): Promise<T> {
    if (isClosed) throw unavailableError()
    return convertLmdbErrors(verb)
  }
  return {
    saveKey: (key) => lmdb.write(() => saveKey(lmdb, key)),
    readKey: (hash) => read(() => readKey(tables, hash)),
    listKeys: () => read(() => listKeys(tables)),
    async close() {
      isClosed = true
      await lmdb.close()
    },
  }
}

/** Writes the row of a key. Must be called in an LMDB transaction. */
export function saveKey(lmdb: Lmdb, key: ApiKeyRow): void {
  lmdb.tables.keys.put(apiKeyKey(key.hash), encodeJson(key))
}

export function readKey(tables: Tables, hash: string): ApiKeyRow | undefined {
  const bytes = tables.keys.get(apiKeyKey(hash))
  return bytes && (decodeJson(bytes) as ApiKeyRow)
}

export function listKeys(tables: Tables): ApiKeyRow[] {
  const apiKeys: ApiKeyRow[] = []
  for (const { value } of tables.keys.rows({ start: Buffer.alloc(1), end: Buffer.alloc(33, 0xff) })) {
    apiKeys.push(decodeJson(value) as ApiKeyRow)
  }
  return apiKeys
}
