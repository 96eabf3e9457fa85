import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  afterPrefix,
  dueKey,
  dueKeysEnd,
  indexKey,
  metricKey,
  readDueKey,
  readTime,
  WINDOW_TIME_OFFSET,
  windowKey,
} from '../../../src/store/embedded/keys.ts'
import { decodeIndexEntry, encodeIndexEntry } from '../../../src/store/embedded/rows.ts'

const u32 = fc.nat({ max: 0xffffffff })
const id = fc.record({ hi: u32, lo: u32 })
const time = fc.integer({ min: -8_640_000_000_000_000 / 2, max: 8_640_000_000_000_000 / 2 })
const resolution = fc.constantFrom(10_000, 60_000, 3_600_000, 86_400_000)

describe('keys', () => {
  test('of times sort as the times, before 1970 too', () => {
    fc.assert(
      fc.property(time, time, id, (a, b, metricId) => {
        const keys = [a, b].map((ms) => windowKey(3, metricId, 10_000, ms))
        expect(Math.sign(Buffer.compare(keys[0]!, keys[1]!))).toBe(Math.sign(a - b))
        expect(readTime(keys[0]!, WINDOW_TIME_OFFSET)).toBe(a)
      }),
    )
  })

  test('of metrics sort as names do in JavaScript, within their project', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        const order = Buffer.compare(metricKey('p', a), metricKey('p', b))
        expect(Math.sign(order)).toBe(a < b ? -1 : a > b ? 1 : 0)
      }),
    )
    expect(metricKey('p', 'a').subarray(0, 16)).not.toEqual(metricKey('q', 'a').subarray(0, 16))
  })

  test('of due windows are read back and sort before the end of their time', () => {
    fc.assert(
      fc.property(id, resolution, time, time, (metricId, resolutionMs, windowMs, expiresMs) => {
        const window = { metricId, resolutionMs, windowMs }
        const key = dueKey(7, expiresMs, window)
        expect(readDueKey(key)).toEqual(window)
        expect(Buffer.compare(key, dueKeysEnd(7, expiresMs))).toBe(-1)
        expect(Buffer.compare(key, dueKeysEnd(7, expiresMs - 1))).toBe(1)
      }),
    )
  })

  test('of index entries are read back with their rows', () => {
    const entries = fc.record({
      block: fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/),
      windowMs: time,
      tier: fc.nat({ max: 20 }),
      order: fc.maxSafeNat(),
      seriesFrom: id,
      seriesTo: id,
      buckets: fc.option(fc.record({ fromMs: time, toMs: time }), { nil: undefined }),
      rollupCount: u32,
      scalarBytes: u32,
      sketchBytes: u32,
    })
    fc.assert(
      fc.property(entries, id, resolution, (entry, metricId, resolutionMs) => {
        expect(decodeIndexEntry(indexKey(1, metricId, resolutionMs, entry), encodeIndexEntry(entry))).toEqual(entry)
      }),
    )
  })

  test('after a prefix lie before everything that does not begin with it', () => {
    expect([...afterPrefix(Buffer.from([1, 2]))]).toEqual([1, 3])
    expect([...afterPrefix(Buffer.from([1, 0xff, 0xff]))]).toEqual([2])
    expect(() => afterPrefix(Buffer.from([0xff]))).toThrow(RangeError)
  })
})
