import type { KeyRow } from '../api-keys.ts'
import { type Engine, texts } from './engine.ts'
import { apiKeysKey } from './keys.ts'

/** API keys: one hash, by the SHA-256 of each key. */

export async function saveKey(engine: Engine, key: KeyRow): Promise<void> {
  await engine.call('hset', apiKeysKey(engine.prefix), key.hash, JSON.stringify(key))
}

export async function readKey(engine: Engine, hash: string): Promise<KeyRow | undefined> {
  const text = await engine.call('hget', apiKeysKey(engine.prefix), hash)
  return text === null ? undefined : (JSON.parse(String(text)) as KeyRow)
}

export async function listKeys(engine: Engine): Promise<KeyRow[]> {
  return texts(await engine.call('hvals', apiKeysKey(engine.prefix))).map((text) => JSON.parse(text) as KeyRow)
}
