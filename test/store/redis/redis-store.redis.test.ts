import { Redis } from 'ioredis'
import { afterAll, beforeAll } from 'vitest'
import { openRedisStore, type RedisStoreOptions } from '../../../src/store/redis/redis-store.ts'
import { type RedisCluster, type RedisServer, startCluster, startRedis } from '../../support/redis-server.ts'
import { describeStore } from '../contract/describe-store.ts'
import {
  DAY,
  type OpenedStore,
  PARTITIONS,
  RECEIPTS_BYTES_MAX,
  RECEIPTS_MAX,
  RESOLUTION_STEPS,
  SET_RESOLUTION_STEPS,
} from '../contract/fixtures.ts'

let server: RedisServer
let cluster: RedisCluster

beforeAll(async () => {
  ;[server, cluster] = await Promise.all([startRedis({ appendonly: true }), startCluster()])
})

afterAll(async () => {
  await Promise.all([server?.stop(), cluster?.stop()])
})

let stores = 0

/** Each store has a prefix of its own, so that all share the server. */
async function openEmpty(address: Pick<RedisStoreOptions, 'url' | 'clusterNodes'>): Promise<OpenedStore> {
  const options: RedisStoreOptions = {
    ...address,
    prefix: `t${++stores}`,
    partitions: PARTITIONS,
    resolutions: RESOLUTION_STEPS.map((bucketWidthMs) => ({ bucketWidthMs, keptMs: DAY })),
    setResolutions: SET_RESOLUTION_STEPS.map((bucketWidthMs) => ({ bucketWidthMs, keptMs: DAY })),
    receiptBounds: { receiptsMax: RECEIPTS_MAX, receiptsBytesMax: RECEIPTS_BYTES_MAX },
  }
  let store = await openRedisStore(options)
  return {
    store,
    async reopen() {
      await store.close()
      store = await openRedisStore(options)
      return store
    },
    async contents() {
      await store.close()
      return keysOf(address, options.prefix)
    },
    dispose: () => store.close(),
  }
}

async function keysOf(
  { url, clusterNodes }: Pick<RedisStoreOptions, 'url' | 'clusterNodes'>,
  prefix: string,
): Promise<readonly string[]> {
  const urls = url === undefined ? clusterNodes!.map((node) => `redis://${node}`) : [url]
  const keys = await Promise.all(
    urls.map(async (node) => {
      const redis = new Redis(node)
      try {
        return await redis.keys(`${prefix}:*`)
      } finally {
        redis.disconnect()
      }
    }),
  )
  // Each store has a prefix of its own.
  return keys
    .flat()
    .map((key) => key.slice(prefix.length))
    .sort()
}

describeStore('one Redis', () => openEmpty({ url: server.url }))
describeStore('Redis Cluster', () => openEmpty({ clusterNodes: cluster.nodes }))
