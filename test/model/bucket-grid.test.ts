import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bucketEdges, bucketStart, nextBucketStart } from '../../src/model/bucket-grid.ts'
import { type FixedOrCalendar, parseInterval } from '../../src/model/interval.ts'
import { formatInstant } from '../../src/model/time.ts'
import { type TimeZone, timeZone, ZoneWithOffsetChanges } from '../../src/model/zone-offsets.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000

function zone(name: string): TimeZone {
  const found = timeZone(name)
  if (found === undefined) throw new Error(`no zone ${name}`)
  return found
}

function interval(text: string): FixedOrCalendar {
  const parsed = parseInterval(text)
  if (parsed === undefined || parsed.kind === 'auto') throw new Error(`no interval ${text}`)
  return parsed
}

function edges(text: string, zoneName: string, from: string, to: string): string[] {
  const found = bucketEdges(interval(text), zone(zoneName), Date.parse(from), Date.parse(to), 10_000)
  return Array.from(found ?? [], formatInstant)
}

const ZONES = [
  'UTC',
  '+05:30',
  '-03:30',
  'Europe/Berlin',
  'America/New_York',
  'America/St_Johns',
  'America/Sao_Paulo',
  'America/Havana',
  'Asia/Beirut',
  'Asia/Kathmandu',
  'Asia/Gaza',
  'Africa/Casablanca',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'Pacific/Kwajalein',
  'America/Juneau',
]
const INTERVALS = [
  '10s',
  '7m',
  '15m',
  '1h',
  '90m',
  '2h',
  '3h',
  '4h',
  '5h',
  '6h',
  '8h',
  '12h',
  '24h',
  '36h',
  '1d',
  '2d',
  '7d',
  '1w',
  '2w',
  '1mo',
  '2mo',
  '1q',
  '1y',
  '10y',
]

describe('bucket edges', () => {
  it.each([
    [
      '10s',
      'UTC',
      '2024-01-15T10:30:05Z',
      '2024-01-15T10:30:20Z',
      ['2024-01-15T10:30:00Z', '2024-01-15T10:30:10Z', '2024-01-15T10:30:20Z'],
    ],
    ['1d', 'UTC', '2024-01-15T10:30:00Z', '2024-01-15T10:31:00Z', ['2024-01-15T00:00:00Z', '2024-01-16T00:00:00Z']],
    [
      '1d',
      'UTC',
      '1969-12-31T23:00:00Z',
      '1970-01-01T01:00:00Z',
      ['1969-12-31T00:00:00Z', '1970-01-01T00:00:00Z', '1970-01-02T00:00:00Z'],
    ],
    ['1w', 'UTC', '2024-01-15T00:00:00Z', '2024-01-22T00:00:00Z', ['2024-01-15T00:00:00Z', '2024-01-22T00:00:00Z']],
    ['2w', 'UTC', '1970-01-01T00:00:00Z', '1970-01-02T00:00:00Z', ['1969-12-29T00:00:00Z', '1970-01-12T00:00:00Z']],
    ['7d', 'UTC', '1970-01-01T00:00:00Z', '1970-01-02T00:00:00Z', ['1970-01-01T00:00:00Z', '1970-01-08T00:00:00Z']],
    [
      '1mo',
      'UTC',
      '2024-01-31T12:00:00Z',
      '2024-03-01T00:00:00Z',
      ['2024-01-01T00:00:00Z', '2024-02-01T00:00:00Z', '2024-03-01T00:00:00Z'],
    ],
    ['1q', 'UTC', '2024-05-01T00:00:00Z', '2024-05-02T00:00:00Z', ['2024-04-01T00:00:00Z', '2024-07-01T00:00:00Z']],
    ['1y', 'UTC', '1969-05-01T00:00:00Z', '1969-05-02T00:00:00Z', ['1969-01-01T00:00:00Z', '1970-01-01T00:00:00Z']],
    [
      '10y',
      'UTC',
      '1969-05-01T00:00:00Z',
      '1970-05-02T00:00:00Z',
      ['1960-01-01T00:00:00Z', '1970-01-01T00:00:00Z', '1980-01-01T00:00:00Z'],
    ],
    ['1y', 'UTC', '0050-05-01T00:00:00Z', '0050-05-02T00:00:00Z', ['0050-01-01T00:00:00Z', '0051-01-01T00:00:00Z']],
    // 23 hours
    [
      '1d',
      'Europe/Berlin',
      '2024-03-31T12:00:00Z',
      '2024-03-31T13:00:00Z',
      ['2024-03-30T23:00:00Z', '2024-03-31T22:00:00Z'],
    ],
    // 25 hours
    [
      '1d',
      'Europe/Berlin',
      '2024-10-27T12:00:00Z',
      '2024-10-27T13:00:00Z',
      ['2024-10-26T22:00:00Z', '2024-10-27T23:00:00Z'],
    ],
    [
      '1w',
      'Europe/Berlin',
      '2024-03-31T12:00:00Z',
      '2024-03-31T13:00:00Z',
      ['2024-03-24T23:00:00Z', '2024-03-31T22:00:00Z'],
    ],
    [
      '1mo',
      'Europe/Berlin',
      '2024-03-31T12:00:00Z',
      '2024-03-31T13:00:00Z',
      ['2024-02-29T23:00:00Z', '2024-03-31T22:00:00Z'],
    ],
    [
      '6h',
      'Europe/Berlin',
      '2024-03-30T23:00:00Z',
      '2024-03-31T22:00:00Z',
      [
        '2024-03-30T23:00:00Z',
        '2024-03-31T04:00:00Z',
        '2024-03-31T10:00:00Z',
        '2024-03-31T16:00:00Z',
        '2024-03-31T22:00:00Z',
      ],
    ],
    // 02:00 does not exist: the bucket of 02 to 04 o'clock starts with the change and lasts an hour
    [
      '2h',
      'Europe/Berlin',
      '2024-03-30T23:00:00Z',
      '2024-03-31T02:00:00Z',
      ['2024-03-30T23:00:00Z', '2024-03-31T01:00:00Z', '2024-03-31T02:00:00Z'],
    ],
    // 02:00 occurs twice: the bucket of 02 to 04 o'clock starts with the first and lasts three hours
    [
      '2h',
      'Europe/Berlin',
      '2024-10-27T00:30:00Z',
      '2024-10-27T01:30:00Z',
      ['2024-10-27T00:00:00Z', '2024-10-27T03:00:00Z'],
    ],
    [
      '24h',
      'Europe/Berlin',
      '2024-03-31T12:00:00Z',
      '2024-03-31T13:00:00Z',
      ['2024-03-31T00:00:00Z', '2024-04-01T00:00:00Z'],
    ],
    [
      '5h',
      'Europe/Berlin',
      '1970-01-01T00:00:00Z',
      '1970-01-01T01:00:00Z',
      ['1970-01-01T00:00:00Z', '1970-01-01T05:00:00Z'],
    ],
    [
      '1d',
      'Asia/Kathmandu',
      '2024-01-01T00:00:00Z',
      '2024-01-01T01:00:00Z',
      ['2023-12-31T18:15:00Z', '2024-01-01T18:15:00Z'],
    ],
    // half an hour of daylight saving
    [
      '1d',
      'Australia/Lord_Howe',
      '2024-04-06T12:59:00Z',
      '2024-04-07T14:00:00Z',
      ['2024-04-05T13:00:00Z', '2024-04-06T13:00:00Z', '2024-04-07T13:30:00Z', '2024-04-08T13:30:00Z'],
    ],
    // midnight does not exist: the day starts at 01:00
    [
      '1d',
      'America/Sao_Paulo',
      '2018-11-03T12:00:00Z',
      '2018-11-05T02:00:00Z',
      ['2018-11-03T03:00:00Z', '2018-11-04T03:00:00Z', '2018-11-05T02:00:00Z'],
    ],
    [
      '1d',
      'Asia/Beirut',
      '2024-03-31T00:00:00Z',
      '2024-03-31T21:00:00Z',
      ['2024-03-30T22:00:00Z', '2024-03-31T21:00:00Z'],
    ],
    // the hour before midnight occurs twice, midnight once
    [
      '1d',
      'America/Sao_Paulo',
      '2018-02-18T02:30:00Z',
      '2018-02-18T03:30:00Z',
      ['2018-02-17T02:00:00Z', '2018-02-18T03:00:00Z', '2018-02-19T03:00:00Z'],
    ],
    // the hour after midnight occurs twice: one day of 25 hours
    [
      '1d',
      'America/Havana',
      '2024-11-03T05:30:00Z',
      '2024-11-03T06:00:00Z',
      ['2024-11-03T04:00:00Z', '2024-11-04T05:00:00Z'],
    ],
    // one minute after midnight back to 23:01: the day has begun
    [
      '1d',
      'America/St_Johns',
      '2010-11-07T03:00:00Z',
      '2010-11-07T03:30:00Z',
      ['2010-11-07T02:30:00Z', '2010-11-08T03:30:00Z'],
    ],
    // 2011-12-30 never was
    [
      '1d',
      'Pacific/Apia',
      '2011-12-29T12:00:00Z',
      '2011-12-31T10:00:00Z',
      ['2011-12-29T10:00:00Z', '2011-12-30T10:00:00Z', '2011-12-31T10:00:00Z'],
    ],
    [
      '12h',
      'Pacific/Apia',
      '2011-12-30T00:00:00Z',
      '2011-12-30T22:00:00Z',
      ['2011-12-29T22:00:00Z', '2011-12-30T10:00:00Z', '2011-12-30T22:00:00Z'],
    ],
  ])('of %s in %s from %s to %s', (text, zoneName, from, to, expected) => {
    expect(edges(text, zoneName, from, to)).toEqual(expected)
  })

  it('of an empty range are those of the one bucket that contains it', () => {
    for (const name of ['UTC', 'Europe/Berlin']) {
      expect(edges('1h', name, '2024-01-01T00:00:00Z', '2024-01-01T00:00:00Z')).toEqual([
        '2024-01-01T00:00:00Z',
        '2024-01-01T01:00:00Z',
      ])
    }
    expect(edges('1d', 'UTC', '2024-01-01T00:00:00Z', '2024-01-01T00:00:00Z')).toEqual([
      '2024-01-01T00:00:00Z',
      '2024-01-02T00:00:00Z',
    ])
  })

  it('are returned up to the allowed number of buckets and refused beyond it', () => {
    for (const [text, name, width] of [
      ['1h', 'UTC', HOUR_MS],
      ['1d', 'UTC', DAY_MS],
      ['1d', '+05:30', DAY_MS],
    ] as const) {
      const fromMs = bucketStart(interval(text), zone(name), 0)
      expect(bucketEdges(interval(text), zone(name), fromMs, fromMs + 300 * width, 300)?.length).toBe(301)
      expect(bucketEdges(interval(text), zone(name), fromMs, fromMs + 300 * width + 1, 300)).toBeUndefined()
      expect(bucketEdges(interval(text), zone(name), -6e13, 2e14, 300)).toBeUndefined()
      expect(bucketEdges(interval(text), zone(name), 0, 1, 0)).toBeUndefined()
    }
  })

  it('are counted before any is computed', () => {
    const real = zone('Europe/Berlin')
    let asked = 0
    const berlin = new ZoneWithOffsetChanges('Europe/Berlin', (utcMs) => {
      asked++
      return real.lookUpOffsetMs(utcMs)
    })
    for (const text of ['90m', '6h', '1d', '1w', '1mo', '1q']) {
      expect(bucketEdges(interval(text), berlin, -6.2e13, 2.5e14, 300), text).toBeUndefined()
    }
    expect(asked).toBeLessThan(2_000)
  })

  const changes = fc.constantFrom(
    '2024-03-31T01:00:00Z',
    '2024-10-27T01:00:00Z',
    '2018-11-04T03:00:00Z',
    '2018-02-18T02:00:00Z',
    '2011-12-30T10:00:00Z',
    '1993-08-21T12:00:00Z',
    '2010-11-07T02:31:00Z',
    '2024-11-03T05:00:00Z',
    '2024-04-06T15:00:00Z',
    '1867-10-18T23:57:41Z',
    '1970-01-01T00:00:00Z',
  )
  const instants = fc.oneof(
    fc.integer({ min: Date.parse('1880-01-01T00:00:00Z'), max: Date.parse('2100-01-01T00:00:00Z') }),
    fc.tuple(changes, fc.integer({ min: -2 * DAY_MS, max: 2 * DAY_MS })).map(([at, ms]) => Date.parse(at) + ms),
  )
  const grids = fc.record({
    width: fc.constantFrom(...INTERVALS).map(interval),
    where: fc.constantFrom(...ZONES),
  })

  it('put every instant into exactly one bucket', () => {
    fc.assert(
      fc.property(grids, instants, ({ width, where }, utcMs) => {
        const start = bucketStart(width, zone(where), utcMs)
        const next = nextBucketStart(width, zone(where), utcMs)
        expect(start).toBeLessThanOrEqual(utcMs)
        expect(next).toBeGreaterThan(utcMs)
        expect(bucketStart(width, zone(where), start)).toBe(start)
        expect(nextBucketStart(width, zone(where), start)).toBe(next)
        expect(bucketStart(width, zone(where), next)).toBe(next)
        expect(bucketStart(width, zone(where), next - 1)).toBe(start)
      }),
      { numRuns: 3_000 },
    )
  })

  it('are strictly increasing, cover exactly the range, and are starts of buckets', () => {
    fc.assert(
      fc.property(grids, instants, fc.integer({ min: 1, max: 40 * DAY_MS }), ({ width, where }, fromMs, lengthMs) => {
        const found = bucketEdges(width, zone(where), fromMs, fromMs + lengthMs, 2_000)
        fc.pre(found !== undefined)
        const last = found.length - 1
        expect(found[0]).toBe(bucketStart(width, zone(where), fromMs))
        expect(found[1]).toBeGreaterThan(fromMs)
        expect(found[last]).toBeGreaterThanOrEqual(fromMs + lengthMs)
        expect(found[last - 1]).toBeLessThan(fromMs + lengthMs)
        for (let index = 1; index <= last; index++) {
          expect(nextBucketStart(width, zone(where), found[index - 1]!)).toBe(found[index])
        }
      }),
      { numRuns: 500 },
    )
  })

  it('of days and longer show a local midnight, or what the clock showed when it skipped one', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('1d', '7d', '1w', '1mo', '1q', '1y'),
        fc.constantFrom(...ZONES),
        instants,
        (text, where, utcMs) => {
          const start = bucketStart(interval(text), zone(where), utcMs)
          const local = start + zone(where).offsetMs(start)
          if (local % DAY_MS === 0) return
          // just before the start the clock showed an earlier day
          const before = start - 1 + zone(where).offsetMs(start - 1)
          expect(Math.floor(before / DAY_MS)).toBeLessThan(Math.floor(local / DAY_MS))
        },
      ),
      { numRuns: 2_000 },
    )
  })

  it('of weeks are Mondays of the zone', () => {
    fc.assert(
      fc.property(fc.constantFrom(...ZONES), instants, (where, utcMs) => {
        const start = bucketStart(interval('1w'), zone(where), utcMs)
        expect(new Date(start + zone(where).offsetMs(start)).getUTCDay()).toBe(1)
      }),
    )
  })
})
