import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  instantOfReading,
  loadOffsetChanges,
  lookUpInstantOfReading,
  type TimeZone,
  timeZone,
  ZoneWithOffsetChanges,
} from '../../src/model/zone-offsets.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000

function zone(name: string): TimeZone {
  const found = timeZone(name)
  if (found === undefined) throw new Error(`no zone ${name}`)
  return found
}

/** The local clock as Intl shows it, without any of our caches. */
function intlClock(name: string): (utcMs: number) => number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: name,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  return (utcMs) => {
    const parts = new Map(format.formatToParts(utcMs).map((part) => [part.type, Number(part.value)]))
    const read = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? Number.NaN
    return Date.UTC(read('year'), read('month') - 1, read('day'), read('hour'), read('minute'), read('second'))
  }
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

describe('timeZone', () => {
  it.each([
    ['UTC', 'UTC'],
    ['utc', 'UTC'],
    ['Etc/UTC', 'UTC'],
    ['+00:00', 'UTC'],
    ['Europe/Berlin', 'Europe/Berlin'],
    ['europe/berlin', 'Europe/Berlin'],
    ['Asia/Kathmandu', 'Asia/Kathmandu'],
    ['+02:00', '+02:00'],
    ['-0330', '-03:30'],
    ['+02', '+02:00'],
  ])('knows %s', (name, expected) => {
    expect(timeZone(name)?.name).toBe(expected)
  })

  it('names an alias as its own caller wrote it, whoever asked before', () => {
    for (const name of ['us/eastern', 'US/Eastern', 'us/EASTERN']) expect(timeZone(name)?.name).toBe(name)
    expect(timeZone('US/Eastern')?.offsetMs(Date.UTC(2024, 6, 1))).toBe(-4 * HOUR_MS)
    expect(timeZone('us/eastern')?.offsetConstantUntilMs(Date.UTC(2024, 6, 1))).toBe(Date.UTC(2024, 10, 3, 6))
    expect(timeZone('us/eastern')?.lookUpOffsetMs(Date.UTC(2024, 0, 1))).toBe(-5 * HOUR_MS)
    for (const name of ['gmt', 'Zulu', 'etc/utc']) expect(timeZone(name)?.name).toBe('UTC')
  })

  it.each(['', ' ', 'Mars/Olympus', 'Europe', 'Europe/Berlin ', '+25:00', '+02:99', '+', '02:00', 'x'.repeat(10_000)])(
    'does not know "%s"',
    (name) => {
      expect(timeZone(name)).toBeUndefined()
    },
  )

  it('bounds the lookups of unknown names in one step; canonical names and zones in use are still found', async () => {
    zone('US/Eastern')
    for (let i = 0; i < 2_000; i++) expect(timeZone(`Mars/Crater_${i}`)).toBeUndefined()
    expect(timeZone('Pacific/Marquesas')?.name).toBe('Pacific/Marquesas')
    expect(timeZone('US/Eastern')).toBeDefined()
    expect(timeZone('US/Pacific')).toBeUndefined()
    await new Promise((resolve) => setImmediate(resolve))
    expect(timeZone('US/Pacific')).toBeDefined()
  })

  it('caches zones, and opens every zone of the database', () => {
    const berlin = zone('Europe/Berlin')
    expect(timeZone('EUROPE/BERLIN')).toBe(berlin)
    for (const name of Intl.supportedValuesOf('timeZone')) expect(timeZone(name), name).toBeDefined()
    expect(timeZone('Europe/Berlin')?.offsetMs(0)).toBe(HOUR_MS)
  })
})

describe('offsetMs', () => {
  it.each([
    ['Europe/Berlin', '2024-03-31T00:59:59.999Z', 1],
    ['Europe/Berlin', '2024-03-31T01:00:00Z', 2],
    ['Europe/Berlin', '2024-10-27T00:59:59.999Z', 2],
    ['Europe/Berlin', '2024-10-27T01:00:00Z', 1],
    ['Asia/Kathmandu', '2024-01-01T00:00:00Z', 5.75],
    ['Australia/Lord_Howe', '2024-01-01T00:00:00Z', 11],
    ['Australia/Lord_Howe', '2024-07-01T00:00:00Z', 10.5],
    ['Pacific/Apia', '2011-12-30T09:59:59Z', -10],
    ['Pacific/Apia', '2011-12-30T10:00:00Z', 14],
    ['-03:30', '2024-07-01T00:00:00Z', -3.5],
  ])('of %s at %s is %d h', (name, at, hours) => {
    expect(zone(name).offsetMs(Date.parse(at))).toBe(hours * HOUR_MS)
  })

  it('knows the seconds of local mean time', () => {
    expect(zone('Europe/Berlin').offsetMs(Date.parse('1850-01-01T00:00:00Z'))).toBe((53 * 60 + 28) * 1_000)
  })

  it('agrees with the clock Intl shows, at any instant', () => {
    const names = ZONES.filter((name) => name.includes('/'))
    const clocks = new Map(names.map((name) => [name, intlClock(name)]))
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.integer({
          min: Date.parse('1700-01-01T00:00:00Z') / 1_000,
          max: Date.parse('2600-01-01T00:00:00Z') / 1_000,
        }),
        (name, second) => {
          expect(second * 1_000 + zone(name).offsetMs(second * 1_000)).toBe(clocks.get(name)?.(second * 1_000))
        },
      ),
      { numRuns: 2_000 },
    )
  })

  it('stays the same from an instant up to offsetConstantUntilMs', () => {
    fc.assert(
      fc.property(fc.constantFrom(...ZONES), fc.integer({ min: -1e12, max: 3e12 }), (name, utcMs) => {
        const untilMs = zone(name).offsetConstantUntilMs(utcMs)
        expect(untilMs).toBeGreaterThan(utcMs)
        const lastMs = Math.min(untilMs, 4e12) - 1
        expect(zone(name).offsetMs(lastMs)).toBe(zone(name).offsetMs(utcMs))
      }),
    )
  })
})

describe('the work of finding offsets', () => {
  it('is bounded for a zone, for any ranges and any number of calls', () => {
    const real = zone('Europe/Berlin')
    let asked = 0
    const berlin = new ZoneWithOffsetChanges('Europe/Berlin', (utcMs) => {
      asked++
      return real.lookUpOffsetMs(utcMs)
    })
    const everyMonth = (): void => {
      for (let year = 1; year < 10_000; year++)
        for (let month = 0; month < 12; month++) berlin.offsetMs(new Date(0).setUTCFullYear(year, month, 1))
    }
    everyMonth()
    expect(asked).toBeLessThan(24_000)
    const once = asked
    everyMonth()
    expect(asked).toBe(once)
  })

  it('is done by loadOffsetChanges for all of history, including years that repeat', async () => {
    const real = zone('Europe/Berlin')
    let lookups = 0
    const berlin = new ZoneWithOffsetChanges('Europe/Berlin', (utcMs) => {
      lookups++
      return real.lookUpOffsetMs(utcMs)
    })
    await loadOffsetChanges(berlin, Date.parse('0001-01-01'), Date.parse('9999-01-01'))
    expect(lookups).toBeGreaterThan(0)
    lookups = 0
    for (let year = 1; year < 10_000; year++) berlin.offsetMs(new Date(0).setUTCFullYear(year, 6, 1))
    expect(lookups).toBe(0)
  })

  it('is small for common ranges', () => {
    const real = zone('America/New_York')
    let asked = 0
    const newYork = new ZoneWithOffsetChanges('America/New_York', (utcMs) => {
      asked++
      return real.lookUpOffsetMs(utcMs)
    })
    for (let day = 0; day < 365; day++) newYork.offsetMs(Date.parse('2026-01-01T00:00:00Z') + day * DAY_MS)
    expect(asked).toBeLessThan(500)
  })
})

describe('instantOfReading', () => {
  it.each([
    ['America/New_York', '2024-06-01T00:00:00Z', '2024-06-01T04:00:00Z'],
    ['America/New_York', '2024-01-01T00:00:00Z', '2024-01-01T05:00:00Z'],
    ['UTC', '2024-06-01T00:00:00Z', '2024-06-01T00:00:00Z'],
    ['+05:30', '2024-06-01T00:00:00Z', '2024-05-31T18:30:00Z'],
    // Skipped: 02:30 is as far after the change as it would have been.
    ['Europe/Berlin', '2024-03-31T02:30:00Z', '2024-03-31T01:30:00Z'],
    ['America/Sao_Paulo', '2018-11-04T00:00:00Z', '2018-11-04T03:00:00Z'],
    ['Pacific/Apia', '2011-12-30T12:00:00Z', '2011-12-30T22:00:00Z'],
    // Twice: the first.
    ['Europe/Berlin', '2024-10-27T02:30:00Z', '2024-10-27T00:30:00Z'],
    ['Europe/Berlin', '9000-07-01T00:00:00Z', '9000-06-30T22:00:00Z'],
  ])('in %s, %s is %s', (name, reading, expected) => {
    expect(instantOfReading(zone(name), Date.parse(reading))).toBe(Date.parse(expected))
  })

  it('is an instant at which the clock shows the reading, and the first such one, or none does', () => {
    const second = fc.integer({ min: Date.parse('1890-01-01') / 1_000, max: Date.parse('2200-01-01') / 1_000 })
    fc.assert(
      fc.property(fc.constantFrom(...ZONES), second, (name, at) => {
        const utcMs = at * 1_000
        const local = utcMs + zone(name).offsetMs(utcMs)
        const found = instantOfReading(zone(name), local)
        expect(found + zone(name).offsetMs(found)).toBe(local)
        expect(found).toBeLessThanOrEqual(utcMs)
      }),
    )
  })
})

describe('instantOfSingleReading', () => {
  it('is the instant of the reading, near changes of the clock too', () => {
    const changes = ZONES.flatMap((name) => changesOf(name).map((atMs) => ({ name, atMs })))
    fc.assert(
      fc.property(
        fc.constantFrom(...changes),
        fc.integer({ min: -26 * 3_600, max: 26 * 3_600 }),
        ({ name, atMs }, seconds) => {
          const local = atMs + zone(name).offsetMs(atMs) + seconds * 1_000
          expect(lookUpInstantOfReading(zone(name), local)).toBe(instantOfReading(zone(name), local))
        },
      ),
      { numRuns: 2_000 },
    )
  })

  it('takes at most four lookups', () => {
    let lookups = 0
    const berlin = new ZoneWithOffsetChanges('Europe/Berlin', (utcMs) => {
      lookups++
      return zone('Europe/Berlin').lookUpOffsetMs(utcMs)
    })
    for (const reading of ['2024-03-31T02:30:00Z', '2024-10-27T02:30:00Z', '2024-06-01T10:00:00Z', '9000-01-01']) {
      lookups = 0
      lookUpInstantOfReading(berlin, Date.parse(reading))
      expect(lookups, reading).toBeLessThanOrEqual(4)
    }
  })
})

function changesOf(name: string): number[] {
  const changes: number[] = []
  const endMs = Date.parse('2110-01-01')
  let atMs = zone(name).offsetConstantUntilMs(Date.parse('1840-01-01'))
  for (; atMs < endMs; atMs = zone(name).offsetConstantUntilMs(atMs)) {
    if (zone(name).offsetMs(atMs) !== zone(name).offsetMs(atMs - 1)) changes.push(atMs)
  }
  return changes
}
