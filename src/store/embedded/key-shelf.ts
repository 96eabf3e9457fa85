import type { KeyRow, KeyStore } from '../store.ts'
import { Environment } from './environment.ts'
import { readFormat } from './format.ts'
import { listKeys, readKey, saveKey } from './requests.ts'

/**
 * The API keys of a folder and nothing else of it, whether a gateway runs on it or not, or never has. LMDB lets processes share an
 * environment; the lock of a folder keeps a second gateway out because the verbs of a store rest on each other. Rows
 * of keys do not: each is written whole, by one verb, on nothing but what its writer was told.
 */
export async function openKeyShelf(folder: string): Promise<KeyStore> {
  const environment = new Environment(folder)
  try {
    await environment.read((tables) => readFormat(tables, folder))
  } catch (error) {
    await environment.close()
    throw error
  }
  return {
    saveKey: (key: KeyRow) => environment.write((writes) => saveKey(writes, key)),
    readKey: (hash) => environment.read((tables) => readKey(tables, hash)),
    listKeys: () => environment.read(listKeys),
    close: () => environment.close(),
  }
}
