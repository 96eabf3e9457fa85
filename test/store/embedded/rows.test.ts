import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CanonicalTags } from '../../../src/model/series.ts'
import { decodeSeriesRow, decodeSeriesTags, encodeSeriesRows } from '../../../src/store/embedded/rows.ts'

const u32 = fc.nat({ max: 0xffffffff })
const text = fc.string({ unit: 'binary', maxLength: 40 })
const series = fc.record({
  seriesId: fc.record({ hi: u32, lo: u32 }),
  tags: fc.array(fc.tuple(text, text), { maxLength: 4 }),
})
const HALF_A_PAGE_BYTES = 2_048

describe('rows of series', () => {
  test('are read back, whole and one by one, and are short', () => {
    const many = fc.uniqueArray(series, { maxLength: 100, selector: ({ seriesId }) => `${seriesId.hi} ${seriesId.lo}` })
    fc.assert(
      fc.property(many, (all) => {
        const rows = encodeSeriesRows(all)
        expect(rows.flatMap(({ bytes, count }) => decodeSeriesRow(bytes, count))).toEqual(all)
        let next = 0
        for (const { bytes, count } of rows) {
          expect(count === 1 || bytes.length < HALF_A_PAGE_BYTES).toBe(true)
          for (const { seriesId, tags } of all.slice(next, next + count))
            expect(decodeSeriesTags(bytes, count, seriesId)).toEqual(tags)
          next += count
        }
      }),
    )
  })

  test('have as many series as fit', () => {
    const tags: CanonicalTags = [['host', 'a'.repeat(100)]]
    const all = Array.from({ length: 100 }, (_, lo) => ({ seriesId: { hi: 0, lo }, tags }))
    expect(encodeSeriesRows(all).map(({ count }) => count)).toEqual([15, 15, 15, 15, 15, 15, 10])
    const long: CanonicalTags = [['host', 'é'.repeat(900)]]
    const few = all.slice(0, 3).map(({ seriesId }, i) => ({ seriesId, tags: i === 1 ? tags : long }))
    expect(encodeSeriesRows(few).map(({ count }) => count)).toEqual([1, 1, 1])
    expect(encodeSeriesRows([])).toEqual([])
  })

  test('do not have the tags of a series of another row', () => {
    const [row] = encodeSeriesRows([{ seriesId: { hi: 1, lo: 2 }, tags: [] }])
    expect(decodeSeriesTags(row!.bytes, 1, { hi: 1, lo: 2 })).toEqual([])
    expect(decodeSeriesTags(row!.bytes, 1, { hi: 2, lo: 2 })).toBeUndefined()
    expect(decodeSeriesTags(row!.bytes, 1, { hi: 1, lo: 1 })).toBeUndefined()
  })
})
