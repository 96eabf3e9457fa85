import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { type Interval, parseInterval } from '../../../src/model/interval.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS, parseDuration } from '../../../src/model/time.ts'
import { timeZone } from '../../../src/model/zone-offsets.ts'
import {
  AUTO_BUCKETS_MAX,
  fittingInterval,
  type Plan,
  type PlanRequest,
  plan,
  planStretch,
  type Timeline,
} from '../../../src/query/plan/plan.ts'
import { type Stretch, windowStart, windowWidthMs } from '../../../src/store/store.ts'

const STEPS_MS = [10_000, MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, DAY_MS]
const SET_STEPS_MS = [MINUTE_MS, HOUR_MS, DAY_MS]
const NOON_MS = Date.UTC(2024, 0, 15, 12)

function interval(text: string): Interval {
  const parsed = parseInterval(text)
  if (parsed === undefined) throw new Error(`${text} is no interval`)
  return parsed
}

function zone(name: string) {
  const found = timeZone(name)
  if (found === undefined) throw new Error(`${name} is no zone`)
  return found
}

/** Nothing has expired, but for the stretches named by step. */
function timelines(expired: Readonly<Record<number, readonly Stretch[]>> = {}, stepsMs = STEPS_MS): Timeline[] {
  return stepsMs.map((stepMs) => ({ stepMs, expired: expired[stepMs] ?? [] }))
}

function request(fields: Partial<PlanRequest> = {}): PlanRequest {
  return {
    fromMs: NOON_MS,
    toMs: NOON_MS + HOUR_MS - 1,
    interval: interval('auto'),
    zone: zone('UTC'),
    timelines: timelines(),
    bucketsMax: 50_000,
    setting: 'RESOLUTIONS',
    ...fields,
  }
}

/** Reads as `step×count` in order of time. */
function readsOf(planned: Plan, stepsMs = STEPS_MS): string[] {
  return planned.reads.map(({ level, fromMs, toMs }) => {
    const stepMs = stepsMs[level]!
    return `${stepMs / 1_000}s×${(toMs - fromMs) / stepMs}`
  })
}

function errorOf(action: () => unknown): GatewayError {
  try {
    action()
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('plan', () => {
  it('reads whole hours from hourly buckets', () => {
    const planned = plan(request({ toMs: NOON_MS + 3 * HOUR_MS - 1, interval: interval('1h') }))
    expect(readsOf(planned)).toEqual(['3600s×3'])
    expect([...planned.edges]).toEqual([0, 1, 2, 3].map((hours) => NOON_MS + hours * HOUR_MS))
  })

  it('widens the range to the finest buckets and fills cut edges with ever finer ones', () => {
    const planned = plan(
      request({ fromMs: NOON_MS + 44 * MINUTE_MS + 47_001, toMs: NOON_MS + 3 * HOUR_MS, interval: interval('1h') }),
    )
    expect(planned.fromMs).toBe(NOON_MS + 44 * MINUTE_MS + 40_000)
    expect(planned.toMs).toBe(NOON_MS + 3 * HOUR_MS + 10_000)
    expect(readsOf(planned)).toEqual(['10s×2', '900s×1', '3600s×2', '10s×1'])
    expect(planned.edges[0]).toBe(NOON_MS)
    expect(planned.edges.at(-1)).toBe(NOON_MS + 4 * HOUR_MS)
  })

  it('has one bucket, that of the instant, for an empty range', () => {
    const planned = plan(request({ fromMs: NOON_MS + 5, toMs: NOON_MS + 5 }))
    expect({ ...planned, edges: [...planned.edges] }).toMatchObject({
      fromMs: NOON_MS,
      toMs: NOON_MS + 10_000,
      edges: [NOON_MS, NOON_MS + 10_000],
      reads: [{ level: 0, fromMs: NOON_MS, toMs: NOON_MS + 10_000 }],
    })
  })

  it('never reads an expired stretch of a resolution', () => {
    const expired = [{ fromMs: NOON_MS, toMs: NOON_MS + HOUR_MS }]
    const planned = plan(
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
    // There were points from 12:00 to 13:00 only: ten-second buckets of the empty hours after it have no window to expire.
    const sparse = timelines({
      10000: [{ fromMs: NOON_MS, toMs: NOON_MS + HOUR_MS }],
      [MINUTE_MS]: [{ fromMs: NOON_MS, toMs: NOON_MS + 6 * HOUR_MS }],
    })
    const fromMs = NOON_MS + 80 * MINUTE_MS + 10_000
    const planned = plan(request({ fromMs, toMs: fromMs + 7 * HOUR_MS, interval: interval('1h'), timelines: sparse }))
    expect(planned.fromMs).toBe(NOON_MS + 75 * MINUTE_MS)
    expect(readsOf(planned)).toEqual(['900s×3', '3600s×6', '900s×1', '60s×5', '10s×2'])
    const finest = errorOf(() =>
      plan(request({ fromMs, toMs: fromMs + HOUR_MS, interval: interval('1m'), timelines: sparse })),
    )
    expect(finest).toMatchObject({ code: 'invalid_interval', details: { finest: '15m' } })
    expect(planStretch({ fromMs: NOON_MS, toMs: NOON_MS + 2 * HOUR_MS }, sparse)).toEqual([
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
    const planned = plan(request({ toMs: NOON_MS + spanMs - 1 }))
    expect(planned.interval).toMatchObject({ text: expected })
    expect(planned.edges.length - 1).toBeLessThanOrEqual(AUTO_BUCKETS_MAX)
  })

  it('uses UTC days for auto if midnights of the zone lie inside stored buckets', () => {
    const gone = [{ fromMs: NOON_MS - DAY_MS, toMs: NOON_MS + 60 * DAY_MS }]
    const coarse = timelines({ 10000: gone, 60000: gone, 900000: gone })
    const kathmandu = { zone: zone('Asia/Kathmandu'), timelines: coarse }
    expect(plan(request({ ...kathmandu, toMs: NOON_MS + 10 * DAY_MS })).interval).toMatchObject({ text: '1h' })
    const planned = plan(request({ ...kathmandu, toMs: NOON_MS + 30 * DAY_MS }))
    expect(planned.interval).toMatchObject({ text: '24h' })
    expect(planned.edges.every((edge) => edge % DAY_MS === 0)).toBe(true)
  })

  it('makes a day of 23 hours where the clock is set forward', () => {
    const berlin = zone('Europe/Berlin')
    const planned = plan(
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
    expect(readsOf(plan(request(days)))).toContain('3600s×23')
    const expired = [{ fromMs: NOON_MS - 30 * DAY_MS, toMs: NOON_MS + 30 * DAY_MS }]
    const hourly = timelines({ 10000: expired, [MINUTE_MS]: expired, [15 * MINUTE_MS]: expired })
    const error = errorOf(() => plan(request({ ...days, timelines: hourly })))
    expect(error).toMatchObject({ code: 'invalid_interval', details: { finest: '1h' } })
    expect(error.message).toContain('Asia/Kathmandu')
  })

  it('marks the days without kept hours as unavailable, and fills the others', () => {
    const lostMs = Date.UTC(2024, 0, 5)
    const planned = plan(
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
    expect([...planned.unavailable]).toEqual([1, 1, 1, 1, 0, 0, 0])
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
      setting: 'SET_RESOLUTIONS',
    })
    const error = errorOf(() => plan(asked))
    expect(error).toMatchObject({
      code: 'invalid_interval',
      details: { finest: '1d', setting: 'SET_RESOLUTIONS', step },
    })
    expect(error.message).toContain(`buckets of ${step} kept that long in SET_RESOLUTIONS would do`)
  })

  it('refuses an interval that is finer than the base or not a multiple of it', () => {
    for (const text of ['1s', '15s', '999ms']) {
      const error = errorOf(() => plan(request({ interval: interval(text) })))
      expect(error).toMatchObject({ code: 'invalid_interval', details: { finest: '10s' } })
    }
    expect(() => plan(request({ interval: interval('10s'), timelines: timelines({}, SET_STEPS_MS) }))).toThrow(/1m/)
  })

  it('refuses too many buckets and says what would fit', () => {
    const error = errorOf(() => plan(request({ toMs: NOON_MS + DAY_MS, interval: interval('10s'), bucketsMax: 100 })))
    expect(error).toMatchObject({ code: 'query_too_large', details: { bucketsMax: 100, fits: '15m' } })
  })

  it('refuses a range that ends before it begins', () => {
    expect(errorOf(() => plan(request({ toMs: NOON_MS - 1 })))).toMatchObject({ code: 'invalid_range' })
  })
})

const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'America/St_Johns',
  'Asia/Kathmandu',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  '+05:30',
]
const INTERVALS = [
  ...['1s', '10s', '15s', '30s', '1m', '90s', '5m', '15m', '45m', '1h', '90m', '6h', '24h', '25h'],
  ...['1d', '3d', '7d', '1w', '1mo', '1q', '1y'],
]

/** What each resolution has let go, window by window: what a coarser one has let go, finer ones have too. */
function expiredTimelines(stepsMs: readonly number[], aroundMs: number): fc.Arbitrary<Timeline[]> {
  const cuts = stepsMs.map((stepMs, level) =>
    level === stepsMs.length - 1
      ? fc.constant([])
      : fc.array(
          fc
            .record({ offset: fc.integer({ min: -6, max: 6 }), windows: fc.integer({ min: 1, max: 4 }) })
            .map(({ offset, windows }): Stretch => {
              const widthMs = windowWidthMs(stepMs)
              const fromMs = windowStart(stepMs, aroundMs) + offset * widthMs
              return { fromMs, toMs: fromMs + windows * widthMs }
            }),
          { maxLength: 2 },
        ),
  )
  return fc
    .tuple(...cuts)
    .map((own) => stepsMs.map((stepMs, level) => ({ stepMs, expired: union(own.slice(level).flat()) })))
}

function union(stretches: readonly Stretch[]): Stretch[] {
  const joined: Stretch[] = []
  for (const stretch of [...stretches].sort((a, b) => a.fromMs - b.fromMs)) {
    const last = joined.at(-1)
    if (last === undefined || last.toMs < stretch.fromMs) joined.push(stretch)
    else joined[joined.length - 1] = { fromMs: last.fromMs, toMs: Math.max(last.toMs, stretch.toMs) }
  }
  return joined
}

/** Queries around some instant, before 1970 too, from a moment to months long. */
const anyRequest: fc.Arbitrary<PlanRequest> = fc
  .record({
    stepsMs: fc.constantFrom(STEPS_MS, SET_STEPS_MS),
    aroundMs: fc.oneof(
      fc.integer({ min: Date.UTC(1932, 0), max: Date.UTC(2030, 0) }),
      fc.integer({ min: -HOUR_MS, max: HOUR_MS }),
    ),
    spanMs: fc.oneof(
      fc.integer({ min: 0, max: HOUR_MS }),
      fc.integer({ min: 0, max: 3 * DAY_MS }),
      fc.integer({ min: 0, max: 300 * DAY_MS }),
    ),
    text: fc.constantFrom('auto', 'auto', ...INTERVALS),
    zoneName: fc.constantFrom(...ZONES),
    bucketsMax: fc.constantFrom(1, 10, 1_000, 20_000),
  })
  .chain(({ stepsMs, aroundMs, spanMs, text, zoneName, bucketsMax }) =>
    expiredTimelines(stepsMs, aroundMs).map((lines) => ({
      fromMs: aroundMs,
      toMs: aroundMs + spanMs,
      interval: interval(text),
      zone: zone(zoneName),
      timelines: lines,
      bucketsMax,
      setting: 'RESOLUTIONS' as const,
    })),
  )

function attempt(asked: PlanRequest): Plan | GatewayError {
  try {
    return plan(asked)
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
}

function isKept({ expired }: Timeline, { fromMs, toMs }: Stretch): boolean {
  return !expired.some((stretch) => stretch.fromMs < toMs && fromMs < stretch.toMs)
}

/** Runs a check on the plans that are not refused; at least a good part of them must be. */
function forPlans(check: (planned: Plan, asked: PlanRequest) => void): void {
  let planned = 0
  fc.assert(
    fc.property(anyRequest, (asked) => {
      const result = attempt(asked)
      if (result instanceof GatewayError) return
      planned++
      check(result, asked)
    }),
    { numRuns: 400 },
  )
  expect(planned).toBeGreaterThan(100)
}

describe('any plan', () => {
  it('has sorted, disjoint reads that cover every available bucket of the widened range exactly once, and no other', () => {
    forPlans(({ reads, edges, unavailable, unavailableCount, fromMs, toMs }) => {
      expect(unavailable.filter((isUnavailable) => isUnavailable === 1)).toHaveLength(unavailableCount)
      expect(unavailable).toHaveLength(edges.length - 1)
      const available: Stretch[] = []
      for (const [i, isUnavailable] of unavailable.entries()) {
        if (isUnavailable === 1) continue
        available.push({ fromMs: Math.max(fromMs, edges[i]!), toMs: Math.min(toMs, edges[i + 1]!) })
      }
      for (const [i, read] of reads.entries()) {
        expect(read.toMs).toBeGreaterThan(read.fromMs)
        expect(read.fromMs).toBeGreaterThanOrEqual(reads[i - 1]?.toMs ?? fromMs)
      }
      expect(union(reads.map(({ fromMs: from, toMs: to }) => ({ fromMs: from, toMs: to })))).toEqual(union(available))
    })
  })

  it('has a bucket unavailable only where no resolution that is kept could fill it', () => {
    let unavailable = 0
    forPlans((planned, { timelines: lines, interval: asked }) => {
      if (asked.kind === 'auto') expect(planned.unavailableCount).toBe(0)
      for (const [i, isUnavailable] of planned.unavailable.entries()) {
        if (isUnavailable === 0) continue
        unavailable++
        const fromMs = Math.max(planned.fromMs, planned.edges[i]!)
        const toMs = Math.min(planned.toMs, planned.edges[i + 1]!)
        // Of every resolution some bucket that the stretch needs has been let go, or reaches over its ends.
        for (const line of lines) {
          const fits = Math.abs(fromMs % line.stepMs) === 0 && Math.abs(toMs % line.stepMs) === 0
          expect(fits && isKept(line, { fromMs, toMs })).toBe(false)
        }
      }
    })
    expect(unavailable).toBeGreaterThan(100)
  })

  it('reads whole stored buckets that have not expired', () => {
    forPlans(({ reads }, { timelines: lines }) => {
      for (const read of reads) {
        const line = lines[read.level]!
        expect(Math.abs(read.fromMs % line.stepMs)).toBe(0)
        expect(Math.abs(read.toMs % line.stepMs)).toBe(0)
        expect(isKept(line, read)).toBe(true)
      }
    })
  })

  it('reads no stored bucket across the edge of a result bucket', () => {
    forPlans(({ reads, edges, fromMs, toMs }, { timelines: lines }) => {
      for (const edge of edges) {
        if (edge <= fromMs || edge >= toMs) continue
        // The stored bucket that ends or begins there: a read may go on over the edge, its buckets may not.
        const read = reads.find((candidate) => candidate.fromMs <= edge && edge < candidate.toMs)
        if (read !== undefined) expect(Math.abs(edge % lines[read.level]!.stepMs)).toBe(0)
      }
    })
  })

  it('has ascending edges around the range, the first and the last bucket touching it', () => {
    forPlans(({ edges, fromMs, toMs }) => {
      for (let i = 1; i < edges.length; i++) expect(edges[i]).toBeGreaterThan(edges[i - 1]!)
      expect(edges[0]).toBeLessThanOrEqual(fromMs)
      expect(edges[1]).toBeGreaterThan(fromMs)
      expect(edges.at(-1)).toBeGreaterThanOrEqual(toMs)
      expect(edges.at(-2)).toBeLessThan(toMs)
    })
  })

  it('widens outward, by less than a step of the finest resolution kept there', () => {
    forPlans(({ fromMs, toMs }, asked) => {
      const finest = (timeMs: number) =>
        asked.timelines.find((line) => isKept(line, { fromMs: timeMs, toMs: timeMs + 1 }))!.stepMs
      expect(fromMs).toBeLessThanOrEqual(asked.fromMs)
      expect(asked.fromMs - fromMs).toBeLessThan(finest(asked.fromMs))
      expect(toMs).toBeGreaterThan(asked.toMs)
      expect(toMs - asked.toMs).toBeLessThanOrEqual(finest(asked.toMs))
    })
  })

  it('for auto has at most 300 buckets, and no finer kept step would', () => {
    let autos = 0
    fc.assert(
      fc.property(anyRequest, (any) => {
        const asked = { ...any, interval: interval('auto'), bucketsMax: 1_000 }
        const planned = attempt(asked)
        if (planned instanceof GatewayError) {
          expect(planned.code).toBe('invalid_range')
          return
        }
        autos++
        expect(planned.edges.length - 1).toBeLessThanOrEqual(AUTO_BUCKETS_MAX)
        for (const { stepMs } of asked.timelines) {
          const finer = interval(stepMs === DAY_MS ? '1d' : `${stepMs / 1_000}s`)
          if (JSON.stringify(finer) === JSON.stringify(planned.interval)) break
          const other = attempt({ ...asked, interval: finer })
          const isWorse =
            other instanceof GatewayError || other.edges.length - 1 > AUTO_BUCKETS_MAX || other.unavailableCount > 0
          expect(isWorse).toBe(true)
        }
      }),
      { numRuns: 300 },
    )
    expect(autos).toBeGreaterThan(100)
  })

  it('takes for each stretch the coarsest resolution that fits', () => {
    forPlans(({ reads, edges }, { timelines: lines }) => {
      for (const { level, fromMs, toMs } of reads) {
        const coarser = lines[level + 1]
        if (coarser === undefined) continue
        // No whole bucket of the next resolution lies within this read and one answered bucket.
        const firstMs = Math.ceil(fromMs / coarser.stepMs) * coarser.stepMs
        if (firstMs + coarser.stepMs > toMs) continue
        const inside = edges.some((edge) => edge > firstMs && edge < firstMs + coarser.stepMs)
        expect(inside).toBe(true)
      }
    })
  })
})

describe('a refused plan', () => {
  it('names the finest interval, which works in UTC', () => {
    let refused = 0
    fc.assert(
      fc.property(anyRequest, (asked) => {
        const error = attempt({ ...asked, bucketsMax: 2_000_000 })
        if (!(error instanceof GatewayError) || error.code === 'query_too_large') return
        expect(error.code).toBe('invalid_interval')
        refused++
        const { finest } = error.details ?? {}
        const again = attempt({
          ...asked,
          interval: interval(String(finest)),
          zone: zone('UTC'),
          bucketsMax: 3_000_000,
        })
        expect(again).toMatchObject({ unavailableCount: 0 })
      }),
      { numRuns: 400 },
    )
    expect(refused).toBeGreaterThan(20)
  })

  it('of too many buckets names an interval that has few enough and consists of stored buckets', () => {
    let refused = 0
    fc.assert(
      fc.property(anyRequest, (any) => {
        const asked = { ...any, zone: zone('UTC'), bucketsMax: Math.max(2, any.bucketsMax) }
        const error = attempt(asked)
        if (!(error instanceof GatewayError) || error.code !== 'query_too_large') return
        refused++
        const again = attempt({ ...asked, interval: interval(String(error.details?.['fits'])) })
        expect(again).not.toBeInstanceOf(GatewayError)
      }),
      { numRuns: 400 },
    )
    expect(refused).toBeGreaterThan(20)
  })
})

describe('fittingInterval', () => {
  it('is the finest round interval with which a range has few enough buckets', () => {
    const day = { fromMs: NOON_MS, toMs: NOON_MS + DAY_MS }
    expect(fittingInterval(day, 10_000)).toBe('10s')
    expect(fittingInterval(day, 1_441)).toBe('1m')
    expect(fittingInterval(day, 1_440)).toBe('5m')
    expect(fittingInterval(day, 2)).toBe('1d')
    expect(parseDuration(fittingInterval({ fromMs: 0, toMs: 5_000 * DAY_MS }, 3))).toBeGreaterThanOrEqual(
      2_500 * DAY_MS,
    )
  })
})
