import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { DAY_MS, HOUR_MS } from '../../../src/model/time.ts'
import {
  AUTO_BUCKETS_MAX,
  type Plan,
  type PlanRequest,
  planRange,
  type Timeline,
} from '../../../src/query/plan/plan.ts'
import { type Stretch, windowStart, windowWidthMs } from '../../../src/store/windows.ts'
import { interval, SET_STEPS_MS, STEPS_MS, zone } from './plan-requests.ts'

/** Properties of the plans of random requests. */

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
    .map((own) => stepsMs.map((stepMs, level) => ({ resolutionMs: stepMs, expired: union(own.slice(level).flat()) })))
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
      retentionSetting: 'RESOLUTIONS' as const,
    })),
  )

function attempt(asked: PlanRequest): Plan | GatewayError {
  try {
    return planRange(asked)
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
    forPlans(({ reads, edges, unavailableBuckets, unavailableCount, fromMs, toMs }) => {
      expect(unavailableBuckets.filter((isUnavailable) => isUnavailable === 1)).toHaveLength(unavailableCount)
      expect(unavailableBuckets).toHaveLength(edges.length - 1)
      const available: Stretch[] = []
      for (const [i, isUnavailable] of unavailableBuckets.entries()) {
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
      for (const [i, isUnavailable] of planned.unavailableBuckets.entries()) {
        if (isUnavailable === 0) continue
        unavailable++
        const fromMs = Math.max(planned.fromMs, planned.edges[i]!)
        const toMs = Math.min(planned.toMs, planned.edges[i + 1]!)
        // Of every resolution some bucket that the stretch needs has been let go, or reaches over its ends.
        for (const line of lines) {
          const fits = Math.abs(fromMs % line.resolutionMs) === 0 && Math.abs(toMs % line.resolutionMs) === 0
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
        expect(Math.abs(read.fromMs % line.resolutionMs)).toBe(0)
        expect(Math.abs(read.toMs % line.resolutionMs)).toBe(0)
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
        if (read !== undefined) expect(Math.abs(edge % lines[read.level]!.resolutionMs)).toBe(0)
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
        asked.timelines.find((line) => isKept(line, { fromMs: timeMs, toMs: timeMs + 1 }))!.resolutionMs
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
        for (const { resolutionMs } of asked.timelines) {
          const finer = interval(resolutionMs === DAY_MS ? '1d' : `${resolutionMs / 1_000}s`)
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

  it('reads each stretch from the coarsest resolution that fits', () => {
    forPlans(({ reads, edges }, { timelines: lines }) => {
      for (const { level, fromMs, toMs } of reads) {
        const coarser = lines[level + 1]
        if (coarser === undefined) continue
        // No whole bucket of the next resolution lies within this read and one answered bucket.
        const firstMs = Math.ceil(fromMs / coarser.resolutionMs) * coarser.resolutionMs
        if (firstMs + coarser.resolutionMs > toMs) continue
        const inside = edges.some((edge) => edge > firstMs && edge < firstMs + coarser.resolutionMs)
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

  it('of too many buckets names an interval that has few enough, all of stored buckets; in UTC there always is one', () => {
    const refusedIn = { utc: 0, zones: 0 }
    fc.assert(
      fc.property(anyRequest, (any) => {
        const asked = { ...any, bucketsMax: Math.max(2, any.bucketsMax) }
        const error = attempt(asked)
        if (!(error instanceof GatewayError) || error.code !== 'query_too_large') return
        const isUtc = asked.zone.name === 'UTC'
        if (error.details?.['fits'] === undefined) {
          expect(isUtc).toBe(false)
          return
        }
        refusedIn[isUtc ? 'utc' : 'zones']++
        const again = attempt({ ...asked, interval: interval(String(error.details['fits'])) })
        expect(again).toMatchObject({ unavailableCount: 0 })
      }),
      { numRuns: 1_000 },
    )
    expect(refusedIn.utc).toBeGreaterThan(10)
    expect(refusedIn.zones).toBeGreaterThan(50)
  })
})
