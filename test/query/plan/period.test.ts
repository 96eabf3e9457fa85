import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { type Interval, parseInterval } from '../../../src/model/interval.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../../src/model/time.ts'
import { type TimeZone, timeZone } from '../../../src/model/zone-offsets.ts'
import { blocksForReads, edgeDivisorOf, planPeriod } from '../../../src/query/plan/period.ts'
import { planRange } from '../../../src/query/plan/plan.ts'
import type { IndexEntry, IndexRequest, Store } from '../../../src/store/store.ts'
import { type Stretch, windowWidthMs } from '../../../src/store/windows.ts'
import { metricRow } from '../../support/fake-graphql-gateway.ts'

const STEPS_MS = [10_000, MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, DAY_MS]
const NOON_MS = Date.UTC(2024, 2, 30, 12)

const intervalOf = (text: string): Interval => parseInterval(text)!
const zoneOf = (name: string): TimeZone => timeZone(name)!

/** Whole windows that a level has let go, up to an instant: the finer the level, the more. */
const expiries = fc.array(fc.integer({ min: -6, max: 6 }), { minLength: 4, maxLength: 4 })

/** Times in milliseconds, many of them edges of stored buckets. */
function instants(min: number, max: number): fc.Arbitrary<number> {
  const edges = STEPS_MS.map((stepMs) =>
    fc.integer({ min: Math.ceil(min / stepMs), max: Math.floor(max / stepMs) }).map((bucket) => bucket * stepMs),
  )
  return fc.oneof(fc.integer({ min, max }), ...edges)
}

function expiredOf(windows: readonly number[], level: number): Stretch[] {
  const count = windows[level]
  if (count === undefined) return []
  const widthMs = windowWidthMs(STEPS_MS[level]!)
  return [{ fromMs: Number.MIN_SAFE_INTEGER, toMs: (Math.floor(NOON_MS / widthMs) + count) * widthMs }]
}

describe('planPeriod', () => {
  const metric = metricRow('total', 'counter')

  it('reads the index for every stretch of the plan, and for little more at fine levels', async () => {
    let narrowed = 0
    let omitted = 0
    await fc.assert(
      fc.asyncProperty(
        instants(-5 * DAY_MS, 5 * DAY_MS),
        fc.oneof(
          instants(0, 4 * DAY_MS),
          // The end of the range is inclusive, so such a range ends with a whole bucket.
          instants(MINUTE_MS, 4 * DAY_MS).map((ms) => ms - 1),
        ),
        fc.constantFrom('10s', '1m', '5m', '15m', '1h', '6h', '24h', '1d', '1w', 'auto'),
        fc.constantFrom('UTC', 'UTC', 'Europe/Berlin', 'Asia/Kathmandu'),
        expiries,
        fc.boolean(),
        async (startMs, lengthMs, text, zoneName, windows, cumulative) => {
          const range = { fromMs: NOON_MS + startMs, toMs: NOON_MS + startMs + lengthMs }
          const interval = intervalOf(text)
          const zone = zoneOf(zoneName)
          let asked: IndexRequest | undefined
          const index: Pick<Store, 'readIndex'> = {
            readIndex: async (request) => {
              asked = request
              return {
                inbox: [],
                timelines: request.timelines.map(({ resolutionMs, stretch }) => ({
                  resolutionMs,
                  entries: [],
                  expired: expiredOf(windows, STEPS_MS.indexOf(resolutionMs)).filter(
                    ({ toMs }) => toMs > stretch.fromMs,
                  ),
                })),
              }
            },
          }
          const edgeDivisorMs = edgeDivisorOf(interval, zone, range, STEPS_MS)
          const everything = STEPS_MS.map((stepMs, level) => ({
            resolutionMs: stepMs,
            expired: expiredOf(windows, level),
          }))
          const request = { ...range, interval, zone, bucketsMax: 100_000, retentionSetting: 'RESOLUTIONS' as const }
          const wholly = attempt(() => planRange({ ...request, timelines: everything }))
          const found = await planPeriod(
            index,
            { ...metric, cumulative },
            {
              ...range,
              resolutionsMs: STEPS_MS,
              edgeDivisorMs,
              idRange: undefined,
              isFiltered: false,
              waitForTurn: async () => {},
              makePlan: (timelines) => planRange({ ...request, timelines }),
            },
          ).catch((error: unknown) => error)
          if (wholly instanceof GatewayError) {
            // The same mistake with the same advice.
            expect(found).toMatchObject({ code: wholly.code, details: wholly.details })
            return
          }
          if (found instanceof Error || typeof found !== 'object' || found === null || !('lookbackReads' in found))
            throw found
          const { plan: planned, lookbackReads } = found as Awaited<ReturnType<typeof planPeriod>>
          expect(planned).toEqual(wholly)
          for (const read of [...planned.reads, ...lookbackReads]) {
            const levelTimelines = asked!.timelines.filter(({ resolutionMs }) => resolutionMs === STEPS_MS[read.level])
            // Its stretches ascend and may touch.
            let coveredMs = read.fromMs
            for (const { stretch } of levelTimelines)
              if (stretch.fromMs <= coveredMs) coveredMs = Math.max(coveredMs, stretch.toMs)
            expect(coveredMs, `${STEPS_MS[read.level]} ms of ${text}`).toBeGreaterThanOrEqual(read.toMs)
          }
          if (asked!.timelines.length > STEPS_MS.length && lengthMs > DAY_MS) narrowed++
          if (asked!.timelines.length < STEPS_MS.length) omitted++
        },
      ),
      { numRuns: 600 },
    )
    expect(narrowed).toBeGreaterThan(30)
    expect(omitted).toBeGreaterThan(5)
  })
})

describe('blocksForReads', () => {
  it('leaves out blocks without a bucket in the reads, but none whose buckets are not known', () => {
    const series = { hi: 1, lo: 1 }
    const entryOf = (block: string, order: number, buckets?: Stretch): IndexEntry => ({
      block,
      windowMs: NOON_MS,
      tier: 0,
      order,
      seriesFrom: series,
      seriesTo: series,
      buckets,
      rollupCount: 1,
      scalarBytes: 1,
      sketchBytes: 0,
    })
    const at = (fromMs: number, toMs: number): Stretch => ({ fromMs: NOON_MS + fromMs, toMs: NOON_MS + toMs })
    const entries = [
      entryOf('before', 1, at(0, 60_000)),
      entryOf('begins before', 2, at(50_000, 70_000)),
      entryOf('of an earlier version', 3),
      entryOf('within', 4, at(80_000, 90_000)),
      entryOf('around', 5, at(0, 3_600_000)),
      entryOf('ends after', 6, at(110_000, 130_000)),
      entryOf('after', 7, at(120_000, 130_000)),
      entryOf('in the second read', 8, at(300_000, 310_000)),
    ]
    const reads = [at(60_000, 120_000), at(300_000, 301_000)].map((stretch) => ({ level: 0, ...stretch }))
    const blocks = blocksForReads([entries, entries], [10_000, MINUTE_MS], reads, { from: series, to: series })
    expect(blocks.map(({ level, entry }) => [level, entry.block])).toEqual(
      ['begins before', 'of an earlier version', 'within', 'around', 'ends after', 'in the second read'].map((name) => [
        0,
        name,
      ]),
    )
  })
})

function attempt<T>(action: () => T): T | GatewayError {
  try {
    return action()
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
}
