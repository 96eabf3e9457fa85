import { afterEach, describe, expect, it } from 'vitest'
import { ApiKeyAuthenticator, hashKey, newKey } from '../../src/access/api-keys.ts'
import { GatewayError } from '../../src/model/errors.ts'
import type { ApiKeyRow } from '../../src/store/api-keys.ts'
import type { Store } from '../../src/store/store.ts'
import { openStore } from '../support/engine.ts'
import { FaultyStore } from '../support/faulty-store.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const T0_MS = Date.UTC(2024, 0, 15, 12)
const KEY = 'gq_a-key-of-high-entropy'
const ROW: ApiKeyRow = { hash: hashKey(KEY), project: 'shop', scopes: ['query'], label: '', createdMs: T0_MS }
const PRINCIPAL = { keyHash: ROW.hash, project: 'shop', scopes: ['query'] }

let store: Store | undefined
afterEach(() => store?.close())

async function setUp(...rows: readonly ApiKeyRow[]) {
  store = await openStore(await temporaryFolder())
  for (const row of rows) await store.saveKey(row)
  const faulty = new FaultyStore(store)
  const clock = { nowMs: T0_MS }
  const keys = new ApiKeyAuthenticator(faulty.store, new Map(), () => clock.nowMs)
  const reads = () => faulty.calls('readKey').length
  return { store, faulty, clock, keys, reads }
}

const unavailable = () => Promise.reject(new GatewayError('store_unavailable', 'unavailable'))

describe('a key', () => {
  it('is found by its hash, with its project, scopes and limits', async () => {
    const limits = { batch: 100, query: 'off' } as const
    const { keys } = await setUp({ ...ROW, limits })
    expect(await keys.authenticate(KEY)).toEqual({ ...PRINCIPAL, limits })
    expect(await keys.authenticate(ROW.hash)).toBeUndefined()
    expect(await keys.authenticate(`${KEY}x`)).toBeUndefined()
  })

  it('is not looked up when it is longer than 512 characters', async () => {
    const { keys, reads } = await setUp()
    expect(await keys.authenticate('x'.repeat(513))).toBeUndefined()
    expect(reads()).toBe(0)
    expect(await keys.authenticate('x'.repeat(512))).toBeUndefined()
    expect(reads()).toBe(1)
  })

  it('is looked up once in 5 s, whether it is valid or not', async () => {
    const { keys, clock, reads } = await setUp(ROW)
    for (const key of [KEY, 'unknown']) for (let i = 0; i < 10; i++) await keys.authenticate(key)
    expect(reads()).toBe(2)
    clock.nowMs += 5_000
    await keys.authenticate(KEY)
    expect(reads()).toBe(3)
  })

  it('is refused at most 5 s after it was revoked', async () => {
    const { keys, clock, store } = await setUp(ROW)
    expect(await keys.authenticate(KEY)).toEqual(PRINCIPAL)
    await store.saveKey({ ...ROW, revokedMs: T0_MS })
    clock.nowMs += 5_000
    expect(await keys.authenticate(KEY)).toBeUndefined()
  })

  it('is refused at most 5 s after it was revoked, also if it was revoked during a slow look-up', async () => {
    const { keys, clock, faulty, store } = await setUp(ROW)
    faulty.next('readKey', async (proceed) => {
      const row = await proceed()
      await store.saveKey({ ...ROW, revokedMs: T0_MS })
      clock.nowMs += 4_000
      return row
    })
    expect(await keys.authenticate(KEY)).toEqual(PRINCIPAL)
    clock.nowMs += 1_000
    expect(await keys.authenticate(KEY)).toBeUndefined()
  })

  it('that expires during its look-up is refused', async () => {
    const { keys, clock, faulty } = await setUp({ ...ROW, expiresMs: T0_MS + 100 })
    faulty.next('readKey', async (proceed) => {
      const row = await proceed()
      clock.nowMs += 100
      return row
    })
    expect(await keys.authenticate(KEY)).toBeUndefined()
  })

  it('that is new is accepted within 5 s, even when it was refused before', async () => {
    const { keys, clock, store } = await setUp()
    expect(await keys.authenticate(KEY)).toBeUndefined()
    await store.saveKey(ROW)
    clock.nowMs += 5_000
    expect(await keys.authenticate(KEY)).toEqual(PRINCIPAL)
  })

  it('is accepted until it expires, to the millisecond', async () => {
    const { keys, clock } = await setUp({ ...ROW, expiresMs: T0_MS + 100 })
    expect(await keys.authenticate(KEY)).toEqual(PRINCIPAL)
    clock.nowMs += 99
    expect(await keys.authenticate(KEY)).toEqual(PRINCIPAL)
    clock.nowMs += 1
    expect(await keys.authenticate(KEY)).toBeUndefined()
    clock.nowMs += 10_000
    expect(await keys.authenticate(KEY)).toBeUndefined()
  })

  it('is not evicted from the cache by guesses of other keys', async () => {
    const { keys, reads } = await setUp(ROW)
    await keys.authenticate(KEY)
    for (let i = 0; i < 11_000; i++) await keys.authenticate(`stranger-${i}`)
    const before = reads()
    await keys.authenticate(KEY)
    expect(reads()).toBe(before)
    // What was tried first has been forgotten, so what is held of strangers is bounded.
    await keys.authenticate('stranger-0')
    expect(reads()).toBe(before + 1)
  })

  it('that was valid is accepted for a minute while the store does not respond, unless it expires', async () => {
    const { keys, clock, faulty } = await setUp({ ...ROW, expiresMs: T0_MS + 50_000 })
    await keys.authenticate(KEY)
    faulty.always('readKey', unavailable)
    clock.nowMs += 10_000
    expect(await keys.authenticate(KEY)).toEqual(PRINCIPAL)
    await expect(keys.authenticate('unknown')).rejects.toMatchObject({ code: 'store_unavailable' })
    clock.nowMs += 45_000
    expect(await keys.authenticate(KEY)).toBeUndefined()
    clock.nowMs += 5_000
    await expect(keys.authenticate(KEY)).rejects.toMatchObject({ code: 'store_unavailable' })
  })

  it('that was valid does not wait for a store that hangs, and is looked up again from time to time', async () => {
    const { keys, clock, faulty, reads } = await setUp(ROW)
    await keys.authenticate(KEY)
    faulty.always('readKey', () => new Promise(() => {}))
    clock.nowMs += 10_000
    for (let i = 0; i < 10; i++) expect(await keys.authenticate(KEY)).toEqual(PRINCIPAL)
    expect(reads()).toBe(2)
    clock.nowMs += 1_000
    faulty.heal()
    expect(await keys.authenticate(KEY)).toEqual(PRINCIPAL)
    expect(reads()).toBe(3)
    expect(await keys.authenticate(KEY)).toEqual(PRINCIPAL)
    expect(reads()).toBe(3)
  })

  it('has 192 random bits', () => {
    const keys = Array.from({ length: 100 }, newKey)
    expect(new Set(keys).size).toBe(100)
    for (const key of keys) expect(key).toMatch(/^gq_[A-Za-z0-9_-]{32}$/)
  })
})

describe('fixed keys', () => {
  it('replace the keys in the store', async () => {
    const { faulty } = await setUp(ROW)
    const keys = new ApiKeyAuthenticator(
      faulty.store,
      new Map([[hashKey('given'), { project: 'a', scopes: ['admin'] }]]),
      () => T0_MS,
    )
    expect(await keys.authenticate('given')).toEqual({ keyHash: hashKey('given'), project: 'a', scopes: ['admin'] })
    expect(await keys.authenticate(KEY)).toBeUndefined()
    expect(faulty.calls('readKey')).toEqual([])
  })
})
