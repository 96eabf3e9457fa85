import type { Logger } from 'pino'
import { type Config, usesRedis } from '../config/config.ts'
import { openEmbeddedApiKeys } from '../store/embedded/api-keys.ts'
import { openEmbeddedStore } from '../store/embedded/embedded-store.ts'
import { openRedisStore } from '../store/redis/redis-store.ts'
import type { ApiKeyStore, Store } from '../store/store.ts'

/** Opens the configured store: Redis, or the embedded store in a folder. */
export function openStore(config: Config, log: Logger, now: () => number): Promise<Store> {
  const { store, redis, write } = config
  if (!usesRedis(config)) return addSettingName(openEmbeddedStore({ ...store, log, now }))
  return openRedisStore({ ...store, ...redis, log, commandTimeoutMs: write.storeWaitMsMax, now })
}

/** Opens the configured store to manage its API keys. This also works while gateways use the store. */
export function openApiKeyStore(config: Config, log: Logger): Promise<ApiKeyStore> {
  return usesRedis(config) ? openStore(config, log, Date.now) : addSettingName(openEmbeddedApiKeys(config.store.folder))
}

/** Adds the name of the setting `DATA_DIR` to an error that opening the embedded store throws. */
function addSettingName<T>(opening: Promise<T>): Promise<T> {
  return opening.catch((cause: unknown) => {
    throw new Error(`DATA_DIR cannot be used: ${reasonOf(cause)}`, { cause })
  })
}

/** Returns the message of an error, followed by the message of its cause if the error's own does not contain it. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error && !error.message.includes(error.cause.message)
    ? `${error.message}: ${error.cause.message}`
    : error.message
}
