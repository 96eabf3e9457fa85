import { describe, expect, it } from 'vitest'
import { DAY_MS, HOUR_MS, MINUTE_MS, parseDuration } from '../../../src/model/time.ts'
import { fittingInterval } from '../../../src/query/plan/fitting-interval.ts'
import { AUTO_BUCKETS_MAX, planRange, readsCovering } from '../../../src/query/plan/plan.ts'
import {
  errorOf,
  interval,
  NOON_MS,
  readsOf,
  request,
  SET_STEPS_MS,
  STEPS_MS,
  timelines,
  zone,
} from './plan-requests.ts'

describe('plan', () => {
  it('reads whole hours from hourly buckets', () => {
    const planned = planRange(request({ toMs: NOON_MS + 3 * HOUR_MS - 1, interval: interval('1h') }))
    expect(readsOf(planned)).toEqual(['3600s×3'])
    expect([...planned.edges]).toEqual([0, 1, 2, 3].map((hours) => NOON_MS + hours * HOUR_MS))
  })

  it('widens the range to the finest buckets and fills cut edges with ever finer ones', () => {
    const planned = planRange(
      request({ fromMs: NOON_MS + 44 * MINUTE_MS + 47_001, toMs: NOON_MS + 3 * HOUR_MS, interval: interval('1h') }),
    )
    expect(planned.fromMs).toBe(NOON_MS + 44 * MINUTE_MS + 40_000)
    expect(planned.toMs).toBe(NOON_MS + 3 * HOUR_MS + 10_000)
    expect(readsOf(planned)).toEqual(['10s×2', '900s×1', '3600s×2', '10s×1'])
    expect(planned.edges[0]).toBe(NOON_MS)
    expect(planned.edges.at(-1)).toBe(NOON_MS + 4 * HOUR_MS)
  })

  it('has one bucket, that of the instant, for an empty range', () => {
    const planned = planRange(request({ fromMs: NOON_MS + 5, toMs: NOON_MS + 5 }))
    expect({ ...planned, edges: [...planned.edges] }).toMatchObject({
      fromMs: NOON_MS,
      toMs: NOON_MS + 10_000,
      edges: [NOON_MS, NOON_MS + 10_000],
      reads: [{ level: 0, fromMs: NOON_MS, toMs: NOON_MS + 10_000 }],
    })
  })

  it('never reads an expired stretch of a resolution', () => {
    const expired = [{ fromMs: NOON_MS, toMs: NOON_MS + HOUR_MS }]
    const planned = planRange(
      request({
        fromMs: NOON_MS + 30_000,
        toMs: NOON_MS + 90 * MINUTE_MS,
        interval: interval('1m'),
        timelines: timelines({ 10000: expired }),
      }),
    )
    expect(readsOf(planned)).toEqual(['60s×90', '10s×1'])
    expect(planned.fromMs).toBe(NOON_MS)
  })

  it('treats a stretch that expired in a coarser resolution as expired in finer ones that held no data', () => {
    // There were points from 12:00 to 13:00 only: ten-second buckets of the empty hours after it have no window to
    // expire.
    const sparse = timelines({
      10000: [{ fromMs: NOON_MS, toMs: NOON_MS + HOUR_MS }],
      [MINUTE_MS]: [{ fromMs: NOON_MS, toMs: NOON_MS + 6 * HOUR_MS }],
    })
    const fromMs = NOON_MS + 80 * MINUTE_MS + 10_000
    const planned = planRange(
      request({ fromMs, toMs: fromMs + 7 * HOUR_MS, interval: interval('1h'), timelines: sparse }),
    )
    expect(planned.fromMs).toBe(NOON_MS + 75 * MINUTE_MS)
    expect(readsOf(planned)).toEqual(['900s×3', '3600s×6', '900s×1', '60s×5', '10s×2'])
    const finest = errorOf(() =>
      planRange(request({ fromMs, toMs: fromMs + HOUR_MS, interval: interval('1m'), timelines: sparse })),
    )
    expect(finest).toMatchObject({ code: 'invalid_interval', details: { finest: '15m' } })
    expect(readsCovering({ fromMs: NOON_MS, toMs: NOON_MS + 2 * HOUR_MS }, sparse)).toEqual([
      { level: 3, fromMs: NOON_MS, toMs: NOON_MS + 2 * HOUR_MS },
    ])
  })

  it.each([
    ['one hour', HOUR_MS, '1m'],
    ['fifty minutes', 50 * MINUTE_MS, '10s'],
    ['five hours', 5 * HOUR_MS, '1m'],
    ['one day', DAY_MS, '15m'],
    ['a week', 7 * DAY_MS, '1h'],
    ['ninety days', 90 * DAY_MS, '1d'],
    ['four years', 1_461 * DAY_MS, '1w'],
    ['twenty years', 20 * 365 * DAY_MS, '1mo'],
  ])('takes for auto the finest step that gives at most 300 buckets: %s', (_, spanMs, expected) => {
    const planned = planRange(request({ toMs: NOON_MS + spanMs - 1 }))
    expect(planned.interval).toMatchObject({ canonicalText: expected })
    expect(planned.edges.length - 1).toBeLessThanOrEqual(AUTO_BUCKETS_MAX)
  })

  it('uses UTC days for auto if midnights of the zone lie inside stored buckets', () => {
    const gone = [{ fromMs: NOON_MS - DAY_MS, toMs: NOON_MS + 60 * DAY_MS }]
    const coarse = timelines({ 10000: gone, 60000: gone, 900000: gone })
    const kathmandu = { zone: zone('Asia/Kathmandu'), timelines: coarse }
    expect(planRange(request({ ...kathmandu, toMs: NOON_MS + 10 * DAY_MS })).interval).toMatchObject({
      canonicalText: '1h',
    })
    const planned = planRange(request({ ...kathmandu, toMs: NOON_MS + 30 * DAY_MS }))
    expect(planned.interval).toMatchObject({ canonicalText: '24h' })
    expect(planned.edges.every((edge) => edge % DAY_MS === 0)).toBe(true)
  })

  it('makes a day of 23 hours where the clock is set forward', () => {
    const berlin = zone('Europe/Berlin')
    const planned = planRange(
      request({
        fromMs: Date.UTC(2024, 2, 30, 23),
        toMs: Date.UTC(2024, 2, 31, 22) - 1,
        interval: interval('1d'),
        zone: berlin,
      }),
    )
    expect([...planned.edges]).toEqual([Date.UTC(2024, 2, 30, 23), Date.UTC(2024, 2, 31, 22)])
    expect(readsOf(planned)).toEqual(['3600s×23'])
  })

  it('fills the days of a zone with a quarter-hour offset from kept quarter hours', () => {
    const days = { interval: interval('1d'), zone: zone('Asia/Kathmandu'), toMs: NOON_MS + 3 * DAY_MS }
    expect(readsOf(planRange(request(days)))).toContain('3600s×23')
    const expired = [{ fromMs: NOON_MS - 30 * DAY_MS, toMs: NOON_MS + 30 * DAY_MS }]
    const hourly = timelines({ 10000: expired, [MINUTE_MS]: expired, [15 * MINUTE_MS]: expired })
    const error = errorOf(() => planRange(request({ ...days, timelines: hourly })))
    expect(error).toMatchObject({ code: 'invalid_interval', details: { finest: '1h' } })
    expect(error.message).toContain('Asia/Kathmandu')
  })

  it('marks the days without kept hours as unavailable, and fills the others', () => {
    const lostMs = Date.UTC(2024, 0, 5)
    const planned = planRange(
      request({
        fromMs: Date.UTC(2024, 0, 2),
        toMs: Date.UTC(2024, 0, 8) - 1,
        interval: interval('1d'),
        zone: zone('Europe/Berlin'),
        timelines: timelines(
          { [MINUTE_MS]: [{ fromMs: 0, toMs: NOON_MS }], [HOUR_MS]: [{ fromMs: 0, toMs: lostMs }] },
          SET_STEPS_MS,
        ),
      }),
    )
    expect([...planned.unavailableBuckets]).toEqual([1, 1, 1, 1, 0, 0, 0])
    expect(planned.unavailableCount).toBe(4)
    expect(planned.reads).toEqual([{ level: 1, fromMs: Date.UTC(2024, 0, 5, 23), toMs: Date.UTC(2024, 0, 8) }])
  })

  it.each([
    ['Asia/Kolkata', '30m'],
    ['Asia/Kathmandu', '15m'],
    ['Europe/Berlin', '1h'],
  ])('names the setting that would serve days in %s: buckets of %s', (where, step) => {
    const lost = [{ fromMs: 0, toMs: NOON_MS }]
    const asked = request({
      fromMs: Date.UTC(2024, 0, 2),
      toMs: Date.UTC(2024, 0, 8) - 1,
      interval: interval('1d'),
      zone: zone(where),
      timelines: timelines({ [MINUTE_MS]: lost, [HOUR_MS]: lost }, SET_STEPS_MS),
      retentionSetting: 'SET_RESOLUTIONS',
    })
    const error = errorOf(() => planRange(asked))
    expect(error).toMatchObject({
      code: 'invalid_interval',
      details: { finest: '1d', setting: 'SET_RESOLUTIONS', step },
    })
    expect(error.message).toContain(`buckets of ${step} kept that long in SET_RESOLUTIONS would do`)
  })

  it('refuses an interval that is finer than the base or not a multiple of it', () => {
    for (const text of ['1s', '15s', '999ms']) {
      const error = errorOf(() => planRange(request({ interval: interval(text) })))
      expect(error).toMatchObject({ code: 'invalid_interval', details: { finest: '10s' } })
    }
    expect(() => planRange(request({ interval: interval('10s'), timelines: timelines({}, SET_STEPS_MS) }))).toThrow(
      /1m/,
    )
  })

  it('refuses too many buckets and says what would fit', () => {
    const error = errorOf(() =>
      planRange(request({ toMs: NOON_MS + DAY_MS, interval: interval('10s'), bucketsMax: 100 })),
    )
    expect(error).toMatchObject({ code: 'query_too_large', details: { bucketsMax: 100, fits: '15m' } })
  })

  it('names no interval if a range could overlap two buckets of any interval, and one is allowed', () => {
    const midnightMs = NOON_MS + DAY_MS / 2
    const range = { fromMs: midnightMs - HOUR_MS, toMs: midnightMs + HOUR_MS - 1 }
    const error = errorOf(() => planRange(request({ ...range, interval: interval('1d'), bucketsMax: 1 })))
    expect(error).toMatchObject({ code: 'query_too_large', details: { bucketsMax: 1 } })
    expect(error.details).not.toHaveProperty('fits')
    expect(error.message).toBe('the range has more than 1 buckets of 1d')
  })

  it('names an interval that has few enough buckets across a day of 23 hours', () => {
    const halfHourBeforeDayMs = Date.UTC(2024, 2, 10, 4, 30)
    const fields = {
      fromMs: halfHourBeforeDayMs,
      toMs: halfHourBeforeDayMs + DAY_MS - 1,
      zone: zone('America/New_York'),
    }
    const asked = request({ ...fields, timelines: timelines({}, [10_000, HOUR_MS]), bucketsMax: 2 })
    const error = errorOf(() => planRange({ ...asked, interval: interval('1d') }))
    expect(error).toMatchObject({ code: 'query_too_large', details: { bucketsMax: 2, fits: '1w' } })
    expect(planRange({ ...asked, interval: interval('1w') }).edges.length - 1).toBeLessThanOrEqual(2)
  })

  it('names hours where only UTC days are kept, which days of the zone do not consist of', () => {
    const range = { fromMs: NOON_MS - 100 * DAY_MS, toMs: NOON_MS }
    const gone = [{ fromMs: 0, toMs: NOON_MS + 100 * DAY_MS }]
    const expired = Object.fromEntries(STEPS_MS.slice(0, -1).map((stepMs) => [stepMs, gone]))
    const asked = request({ ...range, zone: zone('Europe/Berlin'), timelines: timelines(expired), bucketsMax: 110 })
    const error = errorOf(() => planRange({ ...asked, interval: interval('1h') }))
    expect(error).toMatchObject({ code: 'query_too_large', details: { fits: '24h' } })
    expect(planRange({ ...asked, interval: interval('24h') }).unavailableCount).toBe(0)
  })

  it('refuses a range that ends before it begins', () => {
    expect(errorOf(() => planRange(request({ toMs: NOON_MS - 1 })))).toMatchObject({ code: 'invalid_range' })
  })
})

describe('fittingInterval', () => {
  it('is the finest round interval with which a range has few enough buckets', () => {
    const day = { fromMs: NOON_MS, toMs: NOON_MS + DAY_MS }
    const any = () => true
    expect(fittingInterval(day, zone('UTC'), 10_000, any)).toBe('10s')
    expect(fittingInterval(day, zone('UTC'), 1_441, any)).toBe('1m')
    expect(fittingInterval(day, zone('UTC'), 1_440, any)).toBe('5m')
    expect(fittingInterval(day, zone('UTC'), 2, any)).toBe('1d')
    expect(fittingInterval(day, zone('UTC'), 1, any)).toBeUndefined()
    const years = { fromMs: 0, toMs: 5_000 * DAY_MS }
    expect(parseDuration(fittingInterval(years, zone('UTC'), 3, any)!)).toBeGreaterThanOrEqual(2_500 * DAY_MS)
  })

  it('is one that is accepted', () => {
    const day = { fromMs: NOON_MS, toMs: NOON_MS + DAY_MS }
    expect(fittingInterval(day, zone('UTC'), 2, ({ kind }) => kind === 'fixed')).toBe('24h')
    expect(fittingInterval(day, zone('UTC'), 2, () => false)).toBeUndefined()
  })
})
