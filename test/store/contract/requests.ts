import { describe, expect, test } from 'vitest'
import type { Receipt } from '../../../src/store/idempotency-keys.ts'
import { DAY, MINUTE, NOW, type Openers, PARTITIONS, RECEIPTS_MAX } from './fixtures.ts'

export function describeRequests(name: string, { openStore }: Openers): void {
  describe(`${name}: requests`, () => {
    const receipt = (body: string): Receipt => ({ requestHash: 'ab'.repeat(32), status: 201, body })

    test('the first receipt of a key wins, for 24 hours', async () => {
      const store = await openStore()
      const writes = ['first', 'second'].map((body) => store.writeReceipt('shop', 'k', receipt(body), NOW))
      expect(await Promise.all(writes)).toEqual([receipt('first'), receipt('first')])
      expect(await store.readReceipt('shop', 'k', NOW + DAY - 1)).toEqual(receipt('first'))
      expect(await store.readReceipt('other', 'k', NOW)).toBeUndefined()
      expect(await store.readReceipt('shop', 'other', NOW)).toBeUndefined()
      expect(await store.readReceipt('shop', 'k', NOW + DAY + 1)).toBeUndefined()
      expect(await store.writeReceipt('shop', 'k', receipt('third'), NOW + DAY + 1)).toEqual(receipt('third'))
      await store.sweep(NOW + DAY + 2)
      expect(await store.readReceipt('shop', 'k', NOW + DAY + 2)).toEqual(receipt('third'))
    })

    test('the oldest receipts of a project are removed when there are too many', async () => {
      const store = await openStore()
      await store.writeReceipt('other', 'k0', receipt('0'), NOW)
      for (let i = 0; i < RECEIPTS_MAX + 2; i++) await store.writeReceipt('shop', `k${i}`, receipt(`${i}`), NOW + i)
      const kept = []
      for (let i = 0; i < RECEIPTS_MAX + 2; i++) {
        if ((await store.readReceipt('shop', `k${i}`, NOW + 10)) !== undefined) kept.push(i)
      }
      expect(kept).toEqual([2, 3, 4])
      expect(await store.readReceipt('other', 'k0', NOW)).toEqual(receipt('0'))
      await store.sweep(NOW + DAY + 3)
      for (const i of [5, 6]) await store.writeReceipt('shop', `k${i}`, receipt(`${i}`), NOW + DAY + 3)
      expect(await store.readReceipt('shop', 'k4', NOW + DAY + 3)).toEqual(receipt('4'))
    })

    test('the oldest receipts of a project are removed when they have too many bytes', async () => {
      const store = await openStore()
      const kept = async () => {
        const receipts = await Promise.all([0, 1, 2, 3].map((i) => store.readReceipt('shop', `k${i}`, NOW + 10)))
        return receipts.map((row) => row?.body.length)
      }
      const write = (i: number, length: number) =>
        store.writeReceipt('shop', `k${i}`, receipt('x'.repeat(length)), NOW + i)
      for (const [i, length] of [200, 300, 10].entries()) await write(i, length)
      expect(await kept()).toEqual([200, 300, 10, undefined])
      await write(3, 300)
      expect(await kept()).toEqual([undefined, 300, 10, 300])
      // One that alone is too large stays: a retry that comes at once has its answer.
      await write(0, 5_000)
      expect(await kept()).toEqual([5_000, undefined, undefined, undefined])
      await write(1, 10)
      expect(await kept()).toEqual([undefined, 10, undefined, undefined])
      // The room of what expired is free again.
      await store.sweep(NOW + DAY + 10)
      const later = NOW + DAY + 10
      for (const i of [0, 1, 2]) await store.writeReceipt('shop', `k${i}`, receipt('x'.repeat(200)), later + i)
      expect((await store.readReceipt('shop', 'k0', later))?.body.length).toBe(200)
    })

    test('permits are granted up to the limit of each window', async () => {
      const store = await openStore()
      const ask = (permits: number, nowMs: number, limitKey = 'key') =>
        store.takePermits({ limitKey, permits, limit: 10, windowWidthMs: MINUTE, nowMs })
      expect(await ask(4, NOW)).toEqual({ granted: 4, left: 6 })
      expect(await ask(7, NOW + MINUTE - 1)).toEqual({ granted: 6, left: 0 })
      expect(await ask(1, NOW + 5)).toEqual({ granted: 0, left: 0 })
      expect(await ask(1, NOW, 'other')).toEqual({ granted: 1, left: 9 })
      expect(await ask(4, NOW + MINUTE)).toEqual({ granted: 4, left: 6 })
    })

    test('permits are granted once for each window, also if the clock is set back', async () => {
      const store = await openStore()
      const ask = (permits: number, nowMs: number) =>
        store.takePermits({ limitKey: 'key', permits, limit: 10, windowWidthMs: MINUTE, nowMs })
      expect(await ask(6, NOW)).toEqual({ granted: 6, left: 4 })
      expect(await ask(7, NOW + MINUTE)).toEqual({ granted: 7, left: 3 })
      await store.sweep(NOW + MINUTE)
      expect(await ask(10, NOW)).toEqual({ granted: 4, left: 0 })
      expect(await ask(10, NOW + MINUTE)).toEqual({ granted: 3, left: 0 })
    })

    test('every partition is in one group', async () => {
      const store = await openStore()
      const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition)
      expect(store.groups.flat().sort((a, b) => a - b)).toEqual(partitions)
    })

    test('a lease belongs to its holder until it ends or is released, partition by partition', async () => {
      const store = await openStore()
      const take = (holder: string, leaseMs: number, nowMs = NOW, partition = 0) =>
        store.takeLease({ partition, holder, leaseMs, nowMs })
      expect(await take('one', DAY)).toBe(true)
      expect(await take('another', DAY)).toBe(false)
      expect(await take('another', 0)).toBe(false)
      expect(await take('another', DAY, NOW, 1)).toBe(true)
      expect(await take('one', DAY)).toBe(true)
      expect(await take('one', 0)).toBe(true)
      expect(await take('another', DAY)).toBe(true)
      // One that is shortened ends then: a holder that died is not waited for any longer.
      expect(await take('another', 100)).toBe(true)
      await expect.poll(() => take('one', DAY, NOW + 101)).toBe(true)
      expect(await take('another', DAY, NOW + 101)).toBe(false)
    })

    test('API keys are saved, replaced and listed', async () => {
      const store = await openStore()
      const key = {
        hash: '11'.repeat(32),
        project: 'shop',
        scopes: ['ingest', 'query'] as const,
        label: 'one',
        createdMs: NOW,
      }
      const last = {
        ...key,
        hash: 'ff'.repeat(32),
        label: 'two',
        expiresMs: NOW + DAY,
        limits: { batch: 100, query: 'off' as const },
      }
      await store.saveKey(last)
      await store.saveKey(key)
      await store.saveKey({ ...key, revokedMs: NOW + 1 })
      expect(await store.readKey(key.hash)).toEqual({ ...key, revokedMs: NOW + 1 })
      expect(await store.readKey('22'.repeat(32))).toBeUndefined()
      const listed = [...(await store.listKeys())].sort((left, right) => (left.hash < right.hash ? -1 : 1))
      expect(listed).toEqual([{ ...key, revokedMs: NOW + 1 }, last])
    })
  })
}
