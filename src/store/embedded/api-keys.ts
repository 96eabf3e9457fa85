import type { KeyRow } from '../api-keys.ts'
import type { KeyStore } from '../store.ts'
import { Environment, rows, type Tables, type WriteSet } from './environment.ts'
import { readFormat } from './format.ts'
import { apiKeyKey } from './keys.ts'
import { decodeJson, encodeJson } from './rows.ts'

/**
 * API keys, a row each. They can be opened alone, whether or not a gateway runs on the folder, and without the folder's
 * lock: LMDB allows several processes, and saving a key writes one row that depends on no other.
 */
export async function openEmbeddedKeys(folder: string): Promise<KeyStore> {
  const environment = new Environment(folder)
  try {
    await environment.read((tables) => readFormat(tables, folder))
  } catch (error) {
    await environment.close()
    throw error
  }
  return {
    saveKey: (key) => environment.write((writes) => saveKey(writes, key)),
    readKey: (hash) => environment.read((tables) => readKey(tables, hash)),
    listKeys: () => environment.read(listKeys),
    close: () => environment.close(),
  }
}

export function saveKey(writes: WriteSet, key: KeyRow): void {
  writes.put('keys', apiKeyKey(key.hash), encodeJson(key))
}

export function readKey(tables: Tables, hash: string): KeyRow | undefined {
  const bytes = tables.keys.getBinary(apiKeyKey(hash))
  return bytes && (decodeJson(bytes) as KeyRow)
}

export function listKeys(tables: Tables): KeyRow[] {
  const apiKeys: KeyRow[] = []
  for (const { value } of rows(tables.keys, { start: Buffer.alloc(1), end: Buffer.alloc(33, 0xff) })) {
    apiKeys.push(decodeJson(value) as KeyRow)
  }
  return apiKeys
}
