import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Principal } from '../../src/access/api-keys.ts'
import { RateLimiter } from '../../src/access/rate-limiter.ts'
import { openRedisStore } from '../../src/store/redis/redis-store.ts'
import { DEFAULT_RATE_LIMITS } from '../support/defaults.ts'
import { FOLD_SETTINGS } from '../support/engine.ts'
import { FaultyStore } from '../support/faulty-store.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { describeRateLimits } from './rate-limits.ts'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

let stores = 0
describeRateLimits('Redis', () => ({ REDIS_URL: server.url, REDIS_PREFIX: `r${stores++}` }))

it('gateways that share a Redis never let more through than the limit, each asking for a fiftieth at a time', async () => {
  const prefix = `r${stores++}`
  const { resolutions, setResolutions } = FOLD_SETTINGS
  const open = () => openRedisStore({ url: server.url, prefix, partitions: 2, resolutions, setResolutions })
  const faulty = [new FaultyStore(await open()), new FaultyStore(await open())]
  const nowMs = Date.UTC(2024, 0, 15, 12)
  const limiters = faulty.map(
    ({ store }) => new RateLimiter(store, { limits: DEFAULT_RATE_LIMITS, countersPerClassMax: 100 }, () => nowMs),
  )
  const me: Principal = { keyHash: 'me', project: 'shop', scopes: [] }
  let granted = 0
  for (let i = 0; i < 1_500; i++) {
    if ((await limiters[i % 3 === 0 ? 0 : 1]!.take(me, 'single', ''))?.isGranted === true) granted++
  }
  expect(granted).toBe(1_000)
  // Each reservation is 20 permits, and one more question may find none left.
  const asked = faulty.map((store) => store.calls('takePermits').length)
  expect(asked[0]! + asked[1]!).toBeLessThanOrEqual(52)
  await Promise.all(faulty.map(({ store }) => store.close()))
})
