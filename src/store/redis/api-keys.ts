import type { ApiKeyRow } from '../api-keys.ts'
import { apiKeysKey } from './keys.ts'
import { type RedisAccess, textList } from './redis-access.ts'

/** API keys, stored in one Redis hash. The field is the SHA-256 of the key, the value its row as JSON. */

export async function saveKey(redis: RedisAccess, key: ApiKeyRow): Promise<void> {
  await redis.call('hset', apiKeysKey(redis.prefix), key.hash, JSON.stringify(key))
}

export async function readKey(redis: RedisAccess, hash: string): Promise<ApiKeyRow | undefined> {
  const text = await redis.call('hget', apiKeysKey(redis.prefix), hash)
  return text === null ? undefined : (JSON.parse(String(text)) as ApiKeyRow)
}

export async function listKeys(redis: RedisAccess): Promise<ApiKeyRow[]> {
  return textList(await redis.call('hvals', apiKeysKey(redis.prefix))).map((text) => JSON.parse(text) as ApiKeyRow)
}
