import { describe, expect, it } from 'vitest'
import { SeriesList } from '../../src/query/plan/series-cache.ts'
import { tagValuesOf } from '../../src/query/tag-values.ts'

const list = new SeriesList({ hi: 1, lo: 1 })
const hosts = ['b', 'a', 'c', 'c', 'B', undefined, '__proto__']
list.append(
  hosts.map((host, i) => ({
    seriesId: { hi: 0, lo: i },
    tags: [['app', `app-${i}`] as const, ...(host === undefined ? [] : [['host', host] as const])],
  })),
)

describe('tagValuesOf', () => {
  it('lists values of the most series first, equal ones by code units, series without the tag left out', () => {
    expect(tagValuesOf(list, 'host', 10)).toEqual([
      { value: 'c', seriesCount: 2 },
      { value: 'B', seriesCount: 1 },
      { value: '__proto__', seriesCount: 1 },
      { value: 'a', seriesCount: 1 },
      { value: 'b', seriesCount: 1 },
    ])
  })

  it('lists at most the requested number', () => {
    expect(tagValuesOf(list, 'host', 2).map(({ value }) => value)).toEqual(['c', 'B'])
    expect(tagValuesOf(list, 'host', 0)).toEqual([])
    expect(tagValuesOf(list, 'nothing', 10)).toEqual([])
  })
})
