import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bucketEdges } from '../../src/model/bucket-grid.ts'
import { bucketBefore, instantBefore, periodBefore } from '../../src/model/earlier-period.ts'
import { type FixedOrCalendar, parseInterval } from '../../src/model/interval.ts'
import { DAY_MS, HOUR_MS } from '../../src/model/time.ts'
import { timeZone } from '../../src/model/zone-offsets.ts'

const berlin = timeZone('Europe/Berlin')!
const utc = timeZone('UTC')!

function intervalOf(text: string): FixedOrCalendar {
  const interval = parseInterval(text)
  if (interval === undefined || interval.kind === 'auto') throw new Error(`no width: ${text}`)
  return interval
}

const iso = (ms: number): string => new Date(ms).toISOString().replace(':00.000Z', '')

/** Buckets of a range in Berlin with what each is compared with. */
function rows(interval: string, by: string, from: string, to: string, zone = berlin): string[] {
  const width = intervalOf(interval)
  const edges = bucketEdges(width, zone, Date.parse(from), Date.parse(to), 1_000)!
  return Array.from(edges.subarray(0, -1), (start, i) => {
    const before = bucketBefore(width, zone, intervalOf(by), start, edges[i + 1]!)
    return `${iso(start)} ${before === undefined ? '-' : `${iso(before.fromMs)}+${(before.toMs - before.fromMs) / HOUR_MS}h`}`
  })
}

describe('bucketBefore', () => {
  it('compares an hour with the hour of the same clock reading, across the change in spring', () => {
    expect(rows('1h', '1w', '2024-04-02T08:00Z', '2024-04-02T10:00Z')).toEqual([
      '2024-04-02T08:00 2024-03-26T09:00+1h',
      '2024-04-02T09:00 2024-03-26T10:00+1h',
    ])
    expect(rows('1h', '168h', '2024-04-02T08:00Z', '2024-04-02T09:00Z')).toEqual([
      '2024-04-02T08:00 2024-03-26T08:00+1h',
    ])
  })

  it('finds no counterpart of the hour that the clock skipped, and two of the hour that occurred twice', () => {
    // 01, 02 and 03 o'clock; on March 31 the second was skipped.
    expect(rows('1h', '1d', '2024-03-31T23:00Z', '2024-04-01T02:00Z')).toEqual([
      '2024-03-31T23:00 2024-03-31T00:00+1h',
      '2024-04-01T00:00 -',
      '2024-04-01T01:00 2024-03-31T01:00+1h',
    ])
    expect(rows('1h', '1d', '2024-10-27T00:00Z', '2024-10-27T03:00Z')).toEqual([
      '2024-10-27T00:00 2024-10-26T00:00+1h',
      '2024-10-27T01:00 2024-10-26T00:00+1h',
      '2024-10-27T02:00 2024-10-26T01:00+1h',
    ])
  })

  it('finds no counterpart of an hour whose start the clock skipped', () => {
    // In St. John's hours of UTC begin at half past; on March 10 the clock went from 2 to 3.
    const stJohns = timeZone('America/St_Johns')!
    expect(rows('1h', '4w', '2024-04-07T04:00Z', '2024-04-07T07:00Z', stJohns)).toEqual([
      '2024-04-07T04:00 2024-03-10T05:00+1h',
      '2024-04-07T05:00 -',
      '2024-04-07T06:00 2024-03-10T06:00+1h',
    ])
  })

  it('compares days with days of 23 and 25 hours', () => {
    expect(rows('1d', '1w', '2024-04-05T22:00Z', '2024-04-08T22:00Z')).toEqual([
      '2024-04-05T22:00 2024-03-29T23:00+24h',
      '2024-04-06T22:00 2024-03-30T23:00+23h',
      '2024-04-07T22:00 2024-03-31T22:00+24h',
    ])
    expect(rows('6h', '1d', '2024-10-27T23:00Z', '2024-10-28T11:00Z')).toEqual([
      '2024-10-27T23:00 2024-10-26T22:00+7h',
      '2024-10-28T05:00 2024-10-27T05:00+6h',
    ])
  })

  it('compares months with months, and days with the days that the other month has', () => {
    expect(rows('1mo', '1mo', '2024-03-01', '2024-05-01', utc)).toEqual([
      '2024-03-01T00:00 2024-02-01T00:00+696h',
      '2024-04-01T00:00 2024-03-01T00:00+744h',
    ])
    expect(rows('1d', '1mo', '2024-03-28', '2024-04-02', utc)).toEqual([
      '2024-03-28T00:00 2024-02-28T00:00+24h',
      '2024-03-29T00:00 2024-02-29T00:00+24h',
      '2024-03-30T00:00 -',
      '2024-03-31T00:00 -',
      '2024-04-01T00:00 2024-03-01T00:00+24h',
    ])
    expect(rows('1d', '1y', '2024-02-28', '2024-03-02', utc)).toEqual([
      '2024-02-28T00:00 2023-02-28T00:00+24h',
      '2024-02-29T00:00 -',
      '2024-03-01T00:00 2023-03-01T00:00+24h',
    ])
  })

  it('keeps the reading of the clock, as Intl prints it, for every zone, interval and distance', () => {
    const zones = [
      'Europe/Berlin',
      'America/New_York',
      'Asia/Kathmandu',
      'America/St_Johns',
      'Australia/Lord_Howe',
      'UTC',
    ]
    const formats = new Map(
      zones.map((timeZone) => [
        timeZone,
        new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'medium' }),
      ]),
    )
    const reading = (zone: string, ms: number): number =>
      Date.parse(`${formats.get(zone)!.format(ms).replace(' ', 'T')}Z`)
    fc.assert(
      fc.property(
        fc.constantFrom(...zones),
        fc.constantFrom('15m', '1h', '6h', '1d', '1w'),
        fc.constantFrom('1d', '2d', '1w', '4w'),
        fc.constantFrom('2024-03-31', '2024-10-27', '2024-03-10', '2024-11-03', '2024-04-07', '2024-07-01'),
        fc.integer({ min: -20 * 24, max: 40 * 24 }),
        (zone, width, distance, around, hours) => {
          const interval = intervalOf(width)
          const at = Date.parse(around) + hours * HOUR_MS
          const [start, end] = bucketEdges(interval, timeZone(zone)!, at, at + 1, 10)!
          const before = bucketBefore(interval, timeZone(zone)!, intervalOf(distance), start!, end!)
          const days = { '1d': 1, '2d': 2, '1w': 7, '4w': 28 }[distance]
          const expected = reading(zone, start!) - days * DAY_MS
          if (before === undefined) {
            // No instant has that reading.
            for (let ms = start! - (days + 1) * DAY_MS; ms < start!; ms += 15 * 60_000)
              expect(reading(zone, ms)).not.toBe(expected)
            return
          }
          expect(reading(zone, before.fromMs)).toBe(expected)
          expect(before.toMs).toBeGreaterThan(before.fromMs)
          if (interval.kind === 'calendar') expect(reading(zone, before.toMs)).toBe(reading(zone, end!) - days * DAY_MS)
        },
      ),
      { numRuns: 400 },
    )
  })
})

describe('instantBefore', () => {
  it('goes back by the calendar, to the first of the next month where the day is missing', () => {
    expect(iso(instantBefore(intervalOf('1mo'), utc, Date.parse('2024-03-30T12:00Z')))).toBe('2024-03-01T00:00')
    expect(iso(instantBefore(intervalOf('1d'), berlin, Date.parse('2024-03-31T10:00Z')))).toBe('2024-03-30T11:00')
    expect(iso(instantBefore(intervalOf('24h'), berlin, Date.parse('2024-03-31T10:00Z')))).toBe('2024-03-30T10:00')
  })
})

describe('periodBefore', () => {
  it.each([
    ['1h', '2024-01-15T10:00Z', '2024-01-15T16:00Z', '6h'],
    ['1h', '2024-01-15T10:00Z', '2024-01-15T15:59:59Z', '6h'],
    ['15m', '2024-01-15T10:07Z', '2024-01-15T10:08Z', '15m'],
    ['15m', '2024-01-14T10:07Z', '2024-01-15T10:07Z', '1d'],
    // A week of hours and a week of days with a clock change in it.
    ['1h', '2024-03-28T10:00Z', '2024-04-04T10:00Z', '7d'],
    ['1h', '2024-03-28T11:00Z', '2024-04-04T10:00Z', '7d'],
    ['1d', '2024-03-28T10:00Z', '2024-04-04T10:00Z', '7d'],
    ['1d', '2024-03-27T23:00Z', '2024-04-03T21:59:59Z', '7d'],
    ['1d', '2024-10-23T22:00Z', '2024-10-30T22:59:59Z', '7d'],
    ['1w', '2024-10-01T00:00Z', '2024-10-17T00:00Z', '3w'],
    ['1mo', '2023-12-31T23:00Z', '2024-03-31T21:59:59Z', '1q'],
    ['1mo', '2024-01-10T00:00Z', '2024-03-20T00:00Z', '1q'],
    ['1mo', '2024-01-10T00:00Z', '2024-01-20T00:00Z', '1mo'],
    ['1q', '2024-01-10T00:00Z', '2024-05-20T00:00Z', '2q'],
  ])('of buckets of %s from %s to %s lies %s back', (interval, from, to, back) => {
    const by = periodBefore(intervalOf(interval), berlin, Date.parse(from), Date.parse(to))
    expect(by).toEqual(intervalOf(back))
  })

  it('is refused if it lies more than a century back', () => {
    expect(
      periodBefore(intervalOf('1y'), utc, Date.parse('0101-01-01T00:00Z'), Date.parse('2024-01-01T00:00Z')),
    ).toBeUndefined()
  })
})
