import { expect, test } from 'vitest'
import type { Sample } from './harness.ts'
import { at, describePlaces, MORNING } from './places.ts'

/** What the numbers of gauges, distributions and sets mean, and how groups and filters choose points. */

describePlaces(({ ask, foldAll, given, groups, post, rows }) => {
  test('a late point does not disturb last', async () => {
    await given(
      'late.last',
      'gauge',
      [{ at: at('09:30:00'), value: 7 }],
      [{ at: at('09:10:00'), value: 3 }],
      [{ at: at('09:29:59.999'), value: 4 }],
    )
    expect(await rows('late.last', { ...MORNING, aggregations: ['last', 'first', 'count'] })).toEqual([
      '2026-05-05T09:00:00Z 7 3 3',
    ])
  })

  test('a member of two hours and two series counts once over both', async () => {
    await given(
      'users',
      'set',
      [
        { at: at('09:10:00'), member: 'ada', tags: { app: 'web' } },
        { at: at('09:11:00'), member: 'bob', tags: { app: 'web' } },
      ],
      [
        { at: at('10:10:00'), member: 'ada', tags: { app: 'ios' } },
        { at: at('10:10:30'), member: 'eve', tags: { app: 'ios' } },
      ],
    )
    expect(await rows('users', MORNING)).toEqual(['2026-05-05T09:00:00Z 2', '2026-05-05T10:00:00Z 2'])
    expect(await rows('users', { ...MORNING, interval: '1d' })).toEqual(['2026-05-05T00:00:00Z 3'])
    const { groups: byApp } = await ask({ metric: 'users', ...MORNING, groupBy: ['app'] })
    expect(byApp.map(({ totals }) => totals.get('count'))).toEqual([2, 2])
    const { groups: together } = await ask({ metric: 'users', ...MORNING })
    expect(together[0]?.totals.get('count')).toBe(3)
  })

  test('a thousand members count within 3 %, a hundred nearly exactly', async () => {
    const members = (from: number, count: number, hour: string): Sample[] =>
      Array.from({ length: count }, (_, i) => ({
        at: at(`${hour}:${String(i % 60).padStart(2, '0')}:00`),
        member: `user-${from + i}`,
        tags: { app: i % 2 === 0 ? 'web' : 'ios' },
      }))
    await given('thousand', 'set', members(0, 600, '09'), members(500, 500, '10'), members(0, 100, '11'))
    const { groups: resultGroups } = await ask({ metric: 'thousand', ...MORNING })
    const [, nine, ten, eleven] = resultGroups[0]!.values.get('count')!
    expect(Math.abs(nine! - 600)).toBeLessThanOrEqual(18)
    expect(Math.abs(ten! - 500)).toBeLessThanOrEqual(15)
    expect(Math.abs(eleven! - 100)).toBeLessThanOrEqual(1)
    expect(Math.abs(resultGroups[0]!.totals.get('count')! - 1_000)).toBeLessThanOrEqual(30)
  })

  test('the second of two gauges without a time in one batch is last', async () => {
    const item = (value: number) => ({ name: 'pair', type: 'gauge', value })
    expect(await post('/metrics/batch', [item(9), item(2)])).toEqual({
      status: 201,
      body: { data: { accepted: 2, rejected: 0 } },
    })
    await foldAll()
    expect(await rows('pair', { last: '1m', interval: '1m', aggregations: ['last', 'first', 'max'] })).toEqual([
      '2026-05-05T12:34:00Z 2 9 9',
    ])
  })

  test('the average of two series is weighted by their points', async () => {
    await given('weights', 'gauge', [
      { at: at('09:00:01'), value: 1, tags: { host: 'a' } },
      { at: at('09:00:02'), value: 1, tags: { host: 'a' } },
      { at: at('09:00:03'), value: 1, tags: { host: 'a' } },
      { at: at('09:00:04'), value: 5, tags: { host: 'b' } },
    ])
    expect(await rows('weights', { ...MORNING, aggregations: ['avg'] })).toEqual(['2026-05-05T09:00:00Z 2'])
    await given('heavy', 'distribution', [
      { at: at('09:00:01'), value: 1, weight: 3 },
      { at: at('09:00:04'), value: 5 },
    ])
    expect(await rows('heavy', { ...MORNING, aggregations: ['avg', 'count', 'p50'] })).toEqual([
      '2026-05-05T09:00:00Z 2 4 1',
    ])
  })

  test('percentiles interpolate between neighbouring ranks; the outermost are exact', async () => {
    const tens = Array.from({ length: 10 }, (_, i) => ({
      at: at(`09:0${i}:00`),
      value: (i + 1) * 10 + (i === 0 ? 0.123 : 0),
    }))
    await given('tens', 'distribution', tens.slice(0, 4), tens.slice(4))
    const { groups: resultGroups } = await ask({
      metric: 'tens',
      ...MORNING,
      aggregations: ['p95', 'p0', 'p100', 'min', 'p50', 'p99.999'],
    })
    const value = (name: string): number => resultGroups[0]!.values.get(name)![1]!
    expect(Math.abs(value('p95') - 95.5)).toBeLessThanOrEqual(0.955)
    expect(Math.abs(value('p50') - 55)).toBeLessThanOrEqual(0.55)
    expect([value('p0'), value('min'), value('p100')]).toEqual([10.123, 10.123, 100])
    expect(value('p99.999')).toBeLessThanOrEqual(100)
    expect(resultGroups[0]!.totals.get('p0')).toBe(10.123)
    await given(
      'below',
      'distribution',
      [-10, 0, 10].map((n, i) => ({ at: at(`09:00:0${i}`), value: n })),
    )
    const below = await ask({ metric: 'below', ...MORNING, aggregations: ['p0', 'p50', 'p100', 'p25'] })
    const [lowest, middle, highest, quarter] = ['p0', 'p50', 'p100', 'p25'].map(
      (name) => below.groups[0]!.values.get(name)![1]!,
    )
    expect([lowest, middle, highest]).toEqual([-10, 0, 10])
    expect(Math.abs(quarter! + 5)).toBeLessThanOrEqual(0.05)
  })

  test('groups by two tags; a missing tag is an empty one', async () => {
    await given('two.tags', 'counter', [
      { at: at('09:00:00'), value: 1, tags: { a: 'x', b: 'y' } },
      { at: at('09:00:00'), value: 2, tags: { a: 'x' } },
      { at: at('09:00:00'), value: 4, tags: { a: 'x', b: '' } },
      { at: at('09:00:00'), value: 8, tags: { b: 'y' } },
      { at: at('09:00:00'), value: 16 },
    ])
    expect(await groups('two.tags', { ...MORNING, groupBy: ['a', 'b'] })).toEqual({
      '|': ['2026-05-05T09:00:00Z 16'],
      '|y': ['2026-05-05T09:00:00Z 8'],
      'x|': ['2026-05-05T09:00:00Z 6'],
      'x|y': ['2026-05-05T09:00:00Z 1'],
    })
    // Two of the five have the same tags.
    expect((await ask({ metric: 'two.tags', ...MORNING, bySeries: true })).groups).toHaveLength(4)
    expect(await rows('two.tags', { ...MORNING, tags: new Map([['b', ['']]]) })).toEqual(['2026-05-05T09:00:00Z 22'])
  })

  test('names and tags may be called __proto__', async () => {
    await given('__proto__', 'counter', [
      { at: at('09:00:00'), value: 1, tags: { a: '__proto__' } },
      { at: at('09:00:00'), value: 2, tags: { a: 'constructor' } },
      { at: at('09:00:00'), value: 4, tags: { ['__proto__']: 'x' } },
    ])
    const { groups: byA } = await ask({ metric: '__proto__', ...MORNING, groupBy: ['a'] })
    expect(byA.map(({ tags, totals }) => [tags[0]?.[1], totals.get('sum')])).toEqual([
      ['', 4],
      ['__proto__', 1],
      ['constructor', 2],
    ])
    const { groups: byProto } = await ask({ metric: '__proto__', ...MORNING, groupBy: ['__proto__'] })
    expect(byProto.map(({ tags, totals }) => [tags[0]?.[1], totals.get('sum')])).toEqual([
      ['', 3],
      ['x', 4],
    ])
    expect(await rows('__proto__', { ...MORNING, tags: new Map([['__proto__', ['x']]]) })).toEqual([
      '2026-05-05T09:00:00Z 4',
    ])
  })

  test('values of one filter are alternatives, filters of several keys hold together', async () => {
    await given('filters', 'counter', [
      { at: at('09:00:00'), value: 1, tags: { a: 'x', b: 'p' } },
      { at: at('09:00:00'), value: 2, tags: { a: 'y', b: 'p' } },
      { at: at('09:00:00'), value: 4, tags: { a: 'z', b: 'q' } },
    ])
    const sum = async (...tags: [string, string[]][]): Promise<string[]> =>
      rows('filters', { ...MORNING, tags: new Map(tags) })
    expect(await sum(['a', ['x', 'y', 'y']])).toEqual(['2026-05-05T09:00:00Z 3'])
    expect(await sum(['a', ['x', 'z']], ['b', ['p']])).toEqual(['2026-05-05T09:00:00Z 1'])
    expect(await sum(['a', ['nobody']])).toEqual([])
    expect(await sum(['nobody', ['x']])).toEqual([])
    expect(await groups('filters', { ...MORNING, tags: new Map([['a', ['nobody']]]), groupBy: ['b'] })).toEqual({})
  })

  test('of equal times the later arrival is last in one series, the greater value among several', async () => {
    await given(
      'ties',
      'gauge',
      [
        { at: at('09:00:00'), value: 8, tags: { host: 'a' } },
        { at: at('09:00:00'), value: 2, tags: { host: 'a' } },
      ],
      [{ at: at('09:00:00'), value: 1, tags: { host: 'a' } }],
      [{ at: at('09:00:00'), value: 5, tags: { host: 'b' } }],
    )
    const ends = { ...MORNING, aggregations: ['last', 'first', 'max', 'count'] }
    expect(await groups('ties', { ...ends, groupBy: ['host'] })).toEqual({
      a: ['2026-05-05T09:00:00Z 1 8 8 3'],
      b: ['2026-05-05T09:00:00Z 5 5 5 1'],
    })
    expect(await rows('ties', ends)).toEqual(['2026-05-05T09:00:00Z 5 5 8 4'])
  })

  test('a sum above the largest double is null, the other aggregations are returned', async () => {
    const huge = [1e308, 1.5e308].map((value, i) => ({ at: at(`09:00:0${i}`), value }))
    await given('huge', 'gauge', huge)
    expect(await rows('huge', { ...MORNING, aggregations: ['sum', 'avg', 'max', 'last', 'count'] })).toEqual([
      '2026-05-05T09:00:00Z null null 1.5e+308 1.5e+308 2',
    ])
    await given('huge.counter', 'counter', huge)
    expect(await rows('huge.counter', { ...MORNING, aggregations: ['sum', 'rate', 'count'] })).toEqual([
      '2026-05-05T09:00:00Z null null 2',
    ])
    await given('huge.distribution', 'distribution', huge)
    expect(await rows('huge.distribution', { ...MORNING, aggregations: ['sum', 'p100', 'p0'] })).toEqual([
      '2026-05-05T09:00:00Z null 1.5e+308 1e+308',
    ])
    await given('huge.both', 'gauge', [
      ...huge,
      ...huge.map(({ value }, i) => ({ at: at(`10:00:0${i}`), value: -value })),
    ])
    expect(await rows('huge.both', { ...MORNING, interval: '1d', aggregations: ['sum', 'min'] })).toEqual([
      '2026-05-05T00:00:00Z null -1.5e+308',
    ])
  })
})
