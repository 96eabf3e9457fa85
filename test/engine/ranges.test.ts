import { expect, test } from 'vitest'
import { rowsOf, type Sample } from './harness.ts'
import { at, describePlaces, MORNING, NOW } from './places.ts'

/** Time ranges of queries: their buckets, calendar days, intervals, and what stands in empty buckets. */

const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000

describePlaces(({ ask, foldAll, get, given, groups, post, rows }) => {
  test('points of 2024 and of the next minute land in their buckets, 24 h and a second ahead is refused', async () => {
    const item = (timestamp: string) => ({ name: 'far', type: 'gauge', value: 1, timestamp })
    expect((await post('/metrics', item('2024-02-29T23:59:59.999Z'))).status).toBe(201)
    expect((await post('/metrics', item('2026-05-05T12:35:56Z'))).status).toBe(201)
    expect((await post('/metrics', item('2026-05-06T12:34:56.789Z'))).status).toBe(201)
    expect(await post('/metrics', item('2026-05-06T12:34:57.790Z'))).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid_timestamp' } },
    })
    await foldAll()
    expect(await rows('far', { from: '2024-02-29T00:00:00Z', to: '2026-05-07T00:00:00Z', interval: '1d' })).toEqual([
      '2024-02-29T00:00:00Z 1',
      '2026-05-05T00:00:00Z 1',
      '2026-05-06T00:00:00Z 1',
    ])
    expect(await rows('far', { from: at('12:00:00'), to: at('12:59:59'), interval: '1m' })).toEqual([
      '2026-05-05T12:35:00Z 1',
    ])
  })

  test('days of Berlin have 23 and 25 hours when the clock changes', async () => {
    const hourly = (from: string, hours: number): Sample[] =>
      Array.from({ length: hours }, (_, i) => ({ at: Date.parse(from) + i * HOUR_MS, value: 1 }))
    await given('dst', 'counter', hourly('2025-10-24T22:00:00Z', 4 * 24), hourly('2026-03-27T23:00:00Z', 4 * 24))
    const daily = { interval: '1d', timezone: 'Europe/Berlin' }
    expect(await rows('dst', { ...daily, from: '2025-10-24T22:00:00Z', to: '2025-10-27T22:59:59Z' })).toEqual([
      '2025-10-24T22:00:00Z 24',
      '2025-10-25T22:00:00Z 25',
      '2025-10-26T23:00:00Z 24',
    ])
    expect(await rows('dst', { ...daily, from: '2026-03-27T23:00:00Z', to: '2026-03-30T21:59:59Z' })).toEqual([
      '2026-03-27T23:00:00Z 24',
      '2026-03-28T23:00:00Z 23',
      '2026-03-29T22:00:00Z 24',
    ])
    expect(
      await rows('dst', { ...daily, interval: '1mo', from: '2026-03-01T00:00:00Z', to: '2026-03-30T23:59:59Z' }),
    ).toEqual(['2026-02-28T23:00:00Z 73'])
  })

  test('days of Kathmandu begin at a quarter past six in the evening', async () => {
    await given('nepal', 'counter', [
      { at: '2026-05-03T18:14:59.999Z', value: 1 },
      { at: '2026-05-03T18:15:00Z', value: 10 },
      { at: '2026-05-04T18:14:59.999Z', value: 100 },
      { at: '2026-05-04T18:15:00Z', value: 1_000 },
    ])
    const input = {
      from: '2026-05-03T00:00:00Z',
      to: '2026-05-05T00:00:00Z',
      interval: '1d',
      timezone: 'Asia/Kathmandu',
    }
    expect(await rows('nepal', input)).toEqual([
      '2026-05-02T18:15:00Z 1',
      '2026-05-03T18:15:00Z 110',
      '2026-05-04T18:15:00Z 1000',
    ])
  })

  test('from and to are widened to whole stored buckets, and the resolutions are named', async () => {
    await given('edges', 'counter', [
      { at: at('09:59:49.999'), value: 1 },
      { at: at('09:59:50'), value: 10 },
      { at: at('10:00:00'), value: 100 },
      { at: at('11:00:09.999'), value: 1_000 },
      { at: at('11:00:10'), value: 10_000 },
    ])
    const result = await ask({ metric: 'edges', from: at('09:59:55'), to: at('11:00:00'), interval: '1h' })
    expect(rowsOf(result)).toEqual({
      '': ['2026-05-05T09:00:00Z 10', '2026-05-05T10:00:00Z 100', '2026-05-05T11:00:00Z 1000'],
    })
    expect([result.fromMs, result.toMs].map((ms) => new Date(ms).toISOString().slice(11, 19))).toEqual([
      '09:59:50',
      '11:00:10',
    ])
    expect(result.meta.resolutionsMs).toEqual([10_000, HOUR_MS])
    const query = `from=${at('09:59:55')}&to=${at('11:00:00')}&interval=1h`
    const response = await get(`/metrics/edges/query?${query}`)
    expect(response.headers.get('x-resolution')).toBe('10s,1h')
    const single = await ask({ metric: 'edges', from: at('10:00:00'), to: at('10:00:00'), interval: 'auto' })
    expect(rowsOf(single)).toEqual({ '': ['2026-05-05T10:00:00Z 100'] })
  })

  test('auto takes the finest step with at most 300 buckets', async () => {
    await given('auto', 'gauge', [{ at: at('12:00:00'), value: 1 }])
    await given('auto.set', 'set', [{ at: at('12:00:00'), member: 'x' }])
    const years = (n: number) => ({ from: `${2026 - n}-05-05T00:00:00Z`, to: NOW })
    const chosen = async (metric: string): Promise<string[]> => {
      const ranges = [
        { last: '40m' },
        { last: '1h' },
        { last: '6h' },
        { last: '24h' },
        { last: '7d' },
        years(1),
        years(10),
      ]
      return Promise.all(ranges.map(async (range) => (await ask({ metric, ...range })).interval))
    }
    expect(await chosen('auto')).toEqual(['10s', '1m', '15m', '15m', '1h', '1w', '1mo'])
    expect(await chosen('auto.set')).toEqual(['1m', '1m', '1h', '1h', '1h', '1w', '1mo'])
  })

  test('an interval that stored buckets do not fill is refused with the finest that they do', async () => {
    await given('fine', 'gauge', [{ at: at('12:00:00'), value: 1 }])
    await given('fine.set', 'set', [{ at: at('12:00:00'), member: 'x' }])
    for (const interval of ['5s', '15s', '1s']) {
      await expect(ask({ metric: 'fine', last: '1h', interval })).rejects.toMatchObject({
        code: 'invalid_interval',
        details: { finest: '10s' },
      })
    }
    for (const interval of ['10s', '90s']) {
      await expect(ask({ metric: 'fine.set', last: '1h', interval })).rejects.toMatchObject({
        code: 'invalid_interval',
        details: { finest: '1m' },
      })
    }
  })

  test('a range without points has no rows, whatever is filled', async () => {
    await given('empty', 'gauge', [{ at: at('09:00:00'), value: 1, tags: { a: 'x' } }])
    const nothing = { from: '2026-01-01T00:00:00Z', to: '2026-01-01T01:59:59Z', interval: '1h' }
    expect(await rows('empty', nothing)).toEqual([])
    expect(await rows('empty', { ...nothing, fill: 'zero' })).toEqual([
      '2026-01-01T00:00:00Z 0',
      '2026-01-01T01:00:00Z 0',
    ])
    expect(await groups('empty', { ...nothing, groupBy: ['a'], fill: 'zero' })).toEqual({})
  })

  test('fill says what stands in empty buckets', async () => {
    await given('gaps', 'gauge', [
      { at: at('09:00:00'), value: 3 },
      { at: at('11:00:00'), value: 5 },
    ])
    const filled = async (fill: string): Promise<string[]> =>
      (await rows('gaps', { ...MORNING, fill })).map((row) => row.slice(11, 13) + row.slice(20))
    expect(await filled('none')).toEqual(['09 3', '11 5'])
    expect(await filled('null')).toEqual(['08 null', '09 3', '10 null', '11 5'])
    expect(await filled('zero')).toEqual(['08 0', '09 3', '10 0', '11 5'])
    expect(await filled('previous')).toEqual(['08 null', '09 3', '10 3', '11 5'])
  })

  test('calendar days that extend beyond the range hold what lies in the range', async () => {
    await given('partial', 'counter', [
      { at: at('01:00:00'), value: 1 },
      { at: at('11:00:00'), value: 2 },
    ])
    expect(await rows('partial', { from: at('10:00:00'), to: at('12:00:00'), interval: '1d' })).toEqual([
      '2026-05-05T00:00:00Z 2',
    ])
  })

  test('points before 1970 are returned too', async () => {
    await given('old', 'counter', [
      { at: -DAY_MS - 1, value: 1 },
      { at: -DAY_MS, value: 2 },
      { at: -1, value: 4 },
      { at: 0, value: 8 },
    ])
    expect(await rows('old', { from: '1969-12-30T00:00:00Z', to: '1970-01-01T00:00:00Z', interval: '1d' })).toEqual([
      '1969-12-30T00:00:00Z 1',
      '1969-12-31T00:00:00Z 6',
      '1970-01-01T00:00:00Z 8',
    ])
    expect(await rows('old', { from: '1969-12-31T23:55:00Z', to: '1969-12-31T23:59:59.999Z', interval: '1m' })).toEqual(
      ['1969-12-31T23:59:00Z 4'],
    )
  })
})
