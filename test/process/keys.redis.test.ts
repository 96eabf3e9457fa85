import { afterAll, beforeAll } from 'vitest'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { describeKeys } from './keys.ts'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis({ appendonly: true, args: ['--maxmemory-policy', 'noeviction'] })
})
afterAll(() => server.stop())

let stores = 0
describeKeys('Redis', async () => ({ REDIS_URL: server.url, REDIS_PREFIX: `k${stores++}` }))
