import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { compileFilters, type TagFilter, tagValueOrEmpty } from '../../../src/query/plan/tag-filter.ts'

const NONE = new Map<string, readonly string[]>()
/** By their host: a, b, none. */
const SERIES = [
  [
    ['host', 'a'],
    ['zone', 'x'],
  ],
  [
    ['host', 'b'],
    ['zone', 'x'],
  ],
  [['zone', 'y']],
] as const

const texts = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i))

const wanted = (where: readonly TagFilter[], tags = NONE): number[] => {
  const filter = compileFilters(tags, where)
  return SERIES.flatMap((series, i) => (filter === undefined || filter(series) ? [i] : []))
}

describe('compileFilters', () => {
  it('matches every series without filters', () => {
    expect(compileFilters(NONE, [])).toBeUndefined()
  })

  it.each<[TagFilter, number[]]>([
    [{ key: 'host', eq: 'a' }, [0]],
    [{ key: 'host', eq: '' }, [2]],
    [{ key: 'host', neq: 'a' }, [1, 2]],
    [{ key: 'host', neq: '' }, [0, 1]],
    [{ key: 'host', in: ['a', ''] }, [0, 2]],
    [{ key: 'host', in: [] }, []],
    [{ key: 'host', notIn: ['a'] }, [1, 2]],
    [{ key: 'host', notIn: [] }, [0, 1, 2]],
    [{ key: 'host', startsWith: 'a' }, [0]],
    [{ key: 'host', startsWith: '' }, [0, 1, 2]],
    [{ key: 'host', glob: '?' }, [0, 1]],
    [{ key: 'host', glob: '*' }, [0, 1, 2]],
    [{ key: 'host', exists: true }, [0, 1]],
    [{ key: 'host', exists: false }, [2]],
    [{ key: '__proto__', exists: true }, []],
    [{ key: 'host', exists: true, neq: 'b' }, [0]],
  ])('%j', (filter, series) => {
    expect(wanted([filter])).toEqual(series)
  })

  it('matches what all filters and the selector match', () => {
    const zone: TagFilter = { key: 'zone', eq: 'x' }
    expect(wanted([zone, { key: 'host', neq: 'a' }])).toEqual([1])
    expect(wanted([zone], new Map([['host', ['a', '']]]))).toEqual([0])
    expect(wanted([], new Map([['host', ['b', '']]]))).toEqual([1, 2])
    expect(wanted([], new Map([['host', []]]))).toEqual([])
  })

  it.each<[string, readonly TagFilter[], string]>([
    ['too many filters', Array.from({ length: 21 }, (_, i) => ({ key: `k${i}`, eq: '1' })), '21 filters'],
    ['too many values', [{ key: 'a', in: texts(600), notIn: texts(401) }], '1001 tag values'],
    ['too long globs together', ['a', 'b'].map((key) => ({ key, glob: '*'.repeat(129) })), '258 characters of globs'],
    ['a filter without a condition', [{ key: 'a' }], 'has no condition'],
    ['an empty key', [{ key: '', eq: 'a' }], 'key of a filter is empty'],
  ])('refuses %s', (_, where, message) => {
    let error: unknown
    try {
      compileFilters(NONE, where)
    } catch (caught) {
      error = caught
    }
    expect(error).toBeInstanceOf(GatewayError)
    expect(error).toMatchObject({ code: 'invalid_tags', message: expect.stringContaining(message) })
  })
})

describe('tagValue', () => {
  it('is the empty text of a tag that is missing', () => {
    expect(tagValueOrEmpty(SERIES[0], 'zone')).toBe('x')
    expect(tagValueOrEmpty(SERIES[2], 'host')).toBe('')
  })
})
