import { afterEach, describe, expect, it } from 'vitest'
import type { Principal } from '../../src/access/api-keys.ts'
import { type RateLimitDecision, RateLimiter } from '../../src/access/rate-limiter.ts'
import { GatewayError } from '../../src/model/errors.ts'
import { networkOf } from '../../src/model/network.ts'
import type { RateLimits } from '../../src/model/rate.ts'
import type { Store } from '../../src/store/store.ts'
import { DEFAULT_RATE_LIMITS } from '../support/defaults.ts'
import { openStore } from '../support/engine.ts'
import { FaultyStore } from '../support/faulty-store.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const T0_MS = Date.UTC(2024, 0, 15, 12)
const ME: Principal = { keyHash: 'me', project: 'shop', scopes: [] }
const HERE = '192.0.2.1'

let store: Store | undefined
afterEach(() => store?.close())

interface Clock {
  nowMs: number
}

async function faultyStore(): Promise<FaultyStore> {
  store = await openStore(await temporaryFolder())
  return new FaultyStore(store)
}

function limiterOf(
  faulty: FaultyStore,
  limits: Partial<RateLimits> = {},
  clock: Clock = { nowMs: T0_MS },
  countersPerClassMax = 1_000,
): RateLimiter {
  return new RateLimiter(
    faulty.store,
    { limits: { ...DEFAULT_RATE_LIMITS, ...limits }, countersPerClassMax },
    () => clock.nowMs,
  )
}

async function granted(count: number, take: () => ReturnType<RateLimiter['take']>): Promise<number> {
  let grants = 0
  for (let i = 0; i < count; i++) if ((await take())?.isGranted === true) grants++
  return grants
}

const unavailable = () => Promise.reject(new GatewayError('store_unavailable', 'unavailable'))

describe('a rate limit', () => {
  it.each([
    ['single', 1_000],
    ['batch', 10],
    ['query', 60],
    ['graphql', 600],
    ['betterstack', 500],
  ] as const)('of %s grants exactly %d requests of a minute', async (rateClass, limit) => {
    const limiter = limiterOf(await faultyStore())
    const permits: RateLimitDecision[] = []
    for (let i = 0; i < limit; i++) permits.push((await limiter.take(ME, rateClass, HERE))!)
    expect(permits.map(({ isGranted }) => isGranted)).not.toContain(false)
    expect(permits.map(({ remaining }) => remaining)).toEqual(permits.map((_, i) => limit - 1 - i))
    expect(await limiter.take(ME, rateClass, HERE)).toEqual({ isGranted: false, limit, remaining: 0, resetSeconds: 60 })
  })

  it('starts again with each clock minute, and reports when', async () => {
    const clock = { nowMs: T0_MS + 59_001 }
    const limiter = limiterOf(await faultyStore(), {}, clock)
    const batch = () => limiter.take(ME, 'batch', HERE)
    expect(await granted(11, batch)).toBe(10)
    expect(await batch()).toMatchObject({ isGranted: false, resetSeconds: 1 })
    clock.nowMs = T0_MS + 60_000
    expect(await batch()).toEqual({ isGranted: true, limit: 10, remaining: 9, resetSeconds: 60 })
    // A clock set back does not lock anybody out.
    clock.nowMs = T0_MS - 3_600_000
    expect(await batch()).toMatchObject({ isGranted: true })
  })

  it('holds for each class and key, and for Better Stack for each address', async () => {
    const limiter = limiterOf(await faultyStore(), { single: 2, batch: 2, betterstack: 2 })
    const other = { ...ME, keyHash: 'other' }
    expect(await granted(3, () => limiter.take(ME, 'single', HERE))).toBe(2)
    expect(await granted(3, () => limiter.take(ME, 'single', '192.0.2.2'))).toBe(0)
    expect(await granted(3, () => limiter.take(ME, 'batch', HERE))).toBe(2)
    expect(await granted(3, () => limiter.take(other, 'single', HERE))).toBe(2)
    expect(await granted(2, () => limiter.take(ME, 'betterstack', HERE))).toBe(2)
    expect(await granted(2, () => limiter.take(other, 'betterstack', HERE))).toBe(0)
    expect(await granted(3, () => limiter.take(ME, 'betterstack', '192.0.2.2'))).toBe(2)
  })

  it('can be different for a key, or off', async () => {
    const limiter = limiterOf(await faultyStore(), { query: 2, betterstack: 2, graphql: 'off' })
    const own: Principal = { ...ME, keyHash: 'own', limits: { query: 3, batch: 'off', betterstack: 4 } }
    expect(await granted(9, () => limiter.take(own, 'query', HERE))).toBe(3)
    expect(await limiter.take(own, 'batch', HERE)).toBeUndefined()
    expect(await limiter.take(own, 'graphql', HERE)).toBeUndefined()
    expect(await granted(9, () => limiter.take(ME, 'betterstack', HERE))).toBe(2)
    expect(await granted(9, () => limiter.take(own, 'betterstack', HERE))).toBe(4)
  })

  it('reserves a fiftieth of the limit at a time, and nothing when it is used up', async () => {
    const faulty = await faultyStore()
    const limiter = limiterOf(faulty)
    expect(await granted(1_000, () => limiter.take(ME, 'single', HERE))).toBe(1_000)
    expect(faulty.calls('takePermits')).toHaveLength(50)
    expect(await granted(100, () => limiter.take(ME, 'single', HERE))).toBe(0)
    expect(faulty.calls('takePermits')).toHaveLength(50)
    // A permit at hand is given without waiting.
    await limiter.take(ME, 'graphql', HERE)
    expect(limiter.take(ME, 'graphql', HERE)).not.toBeInstanceOf(Promise)
  })

  it('holds for concurrent requests, which share their reservations', async () => {
    const faulty = await faultyStore()
    const limiter = limiterOf(faulty)
    const permits = await Promise.all(Array.from({ length: 300 }, () => limiter.take(ME, 'query', HERE)))
    expect(permits.filter((permit) => permit?.isGranted)).toHaveLength(60)
    expect(faulty.calls('takePermits')).toHaveLength(1)
  })

  it('is never exceeded by gateways that share a store, and refused at most one reservation early', async () => {
    const faulty = await faultyStore()
    const clock = { nowMs: T0_MS }
    const limiters = [limiterOf(faulty, {}, clock), limiterOf(faulty, {}, clock), limiterOf(faulty, {}, clock)]
    let grants = 0
    for (let i = 0; i < 2_000; i++) {
      // The first gateway has most of the requests.
      const limiter = limiters[i % 10 < 8 ? 0 : 1 + (i % 2)]!
      if ((await limiter.take(ME, 'betterstack', HERE))?.isGranted === true) grants++
    }
    expect(grants).toBe(500)
    const idle = limiterOf(faulty, {}, clock)
    await idle.take({ ...ME, keyHash: 'x' }, 'betterstack', '192.0.2.9')
    const early = await granted(500, () => limiters[0]!.take(ME, 'betterstack', '192.0.2.9'))
    expect(early).toBe(500 - 10)
  })

  it('keeps a bounded number of counters', async () => {
    const faulty = await faultyStore()
    const limiter = limiterOf(faulty, {}, { nowMs: T0_MS }, 3)
    for (let i = 0; i < 100; i++) {
      expect(await limiter.take({ ...ME, keyHash: `k${i}` }, 'single', HERE)).toMatchObject({ isGranted: true })
    }
    expect(limiter.counterCount).toBe(3)
    // One that was pushed out loses its reservation, and the store still knows what it took.
    expect(await limiter.take({ ...ME, keyHash: 'k0' }, 'single', HERE)).toMatchObject({ remaining: 979 })
  })
})

describe('while the store is unavailable, a rate limit', () => {
  it('is counted locally up to the last known permits, without asking the store each time', async () => {
    const faulty = await faultyStore()
    const limiter = limiterOf(faulty)
    const query = () => limiter.take(ME, 'query', HERE)
    expect(await granted(20, query)).toBe(20)
    faulty.always('takePermits', unavailable)
    const before = faulty.calls('takePermits').length
    expect(await granted(100, query)).toBe(40)
    expect(faulty.calls('takePermits').length - before).toBe(1)
  })

  it.each([
    ['', 1_000],
    [', also when the clock was set back', -1_000],
  ])('uses the permits of the store when it responds again%s', async (_, passedMs) => {
    const faulty = await faultyStore()
    const clock = { nowMs: T0_MS + 30_000 }
    const limiter = limiterOf(faulty, {}, clock)
    faulty.always('takePermits', unavailable)
    expect(await granted(30, () => limiter.take(ME, 'query', HERE))).toBe(30)
    faulty.always('takePermits', (proceed) => proceed())
    clock.nowMs += passedMs
    const before = faulty.calls('takePermits').length
    expect(await limiter.take(ME, 'query', HERE)).toMatchObject({ isGranted: true, remaining: 59 })
    expect(faulty.calls('takePermits').length - before).toBe(1)
    expect(await granted(100, () => limiter.take(ME, 'query', HERE))).toBe(59)
  })

  it('does not wait for a store that hangs', async () => {
    const faulty = await faultyStore()
    const limiter = limiterOf(faulty)
    let release = (): void => {}
    const hangs = new Promise<void>((resolve) => {
      release = resolve
    })
    faulty.next('takePermits', (proceed) => hangs.then(proceed))
    expect(await limiter.take(ME, 'query', HERE)).toMatchObject({ isGranted: true, remaining: 59 })
    release()
  })

  it('passes on errors other than an unavailable store', async () => {
    const faulty = await faultyStore()
    faulty.next('takePermits', () => Promise.reject(new TypeError('defect')))
    await expect(limiterOf(faulty).take(ME, 'query', HERE)).rejects.toThrow('defect')
  })
})

describe('the network of an address', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:DB8:1:2::6', '2001:db8:1:2'],
    ['2001:0db8:0001:0002::', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['::1', '0:0:0:0'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0'],
  ])('of %s is %s', (address, network) => {
    expect(networkOf(address)).toBe(network)
  })
})
