import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseInstant, parseInstantText, parseTimeArgument } from '../../src/model/parse-instant.ts'
import { parsePointTime } from '../../src/model/point-time.ts'
import { formatInstant } from '../../src/model/time.ts'
import { parseUtcOffset } from '../../src/model/utc-offset.ts'

const INSTANT_MIN_MS = Date.parse('0001-01-01T00:00:00Z')
const INSTANT_MAX_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999)
const instants = fc.integer({ min: INSTANT_MIN_MS, max: INSTANT_MAX_MS })

describe('the time of a point', () => {
  it.each<[unknown]>([
    ['0001-01-01T00:00:00Z'],
    ['0001-01-01 00:00:00 +0000 UTC'],
    ['0001-01-01T00:00:00'],
    ['0001-01-01T00:00:00-05:00'],
    ['0001-12-31T23:59:59Z'],
    ['0002-01-01T00:30:00+01:00'],
    [-62_135_596_800],
    [-62_135_596_800_000],
    ['-62135596800'],
    [-62_135_596_800_000_000n],
    [new Date('0001-01-01T00:00:00Z')],
  ])('is not %s: that is how programs write no time', (zero) => {
    expect(parsePointTime(zero)).toBeUndefined()
    expect(parseInstant(zero)).toBeTypeOf('number')
  })

  it('may be any later one', () => {
    expect(parsePointTime('0002-01-01T00:00:00Z')).toBe(Date.parse('0002-01-01T00:00:00Z'))
    expect(parsePointTime(0)).toBe(0)
  })
})

describe('an instant as text', () => {
  it.each([
    ['2024-01-15T10:30:00Z', '2024-01-15T10:30:00.000Z'],
    ['2024-01-15t10:30:00z', '2024-01-15T10:30:00.000Z'],
    ['2024-01-15 10:30:00', '2024-01-15T10:30:00.000Z'],
    ['2024-01-15T10:30:00', '2024-01-15T10:30:00.000Z'],
    ['2024-01-15T10:30', '2024-01-15T10:30:00.000Z'],
    ['2024-01-15T10:30Z', '2024-01-15T10:30:00.000Z'],
    ['2024-01-15 10:30:00 UTC', '2024-01-15T10:30:00.000Z'],
    ['2022-12-31 13:45:59.123456789 UTC', '2022-12-31T13:45:59.123Z'],
    ['2024-01-15', '2024-01-15T00:00:00.000Z'],
    ['2024-01-15T10:30:00+02:00', '2024-01-15T08:30:00.000Z'],
    ['2024-01-15T10:30:00+0200', '2024-01-15T08:30:00.000Z'],
    ['2024-01-15T10:30:00+02', '2024-01-15T08:30:00.000Z'],
    ['2024-01-15 10:30:00 -0330', '2024-01-15T14:00:00.000Z'],
    ['2024-01-15T10:30:00-00:00', '2024-01-15T10:30:00.000Z'],
    ['2024-01-15T10:30:00.5Z', '2024-01-15T10:30:00.500Z'],
    ['2024-01-15T10:30:00,25Z', '2024-01-15T10:30:00.250Z'],
    ['2024-01-15T10:30:00.123Z', '2024-01-15T10:30:00.123Z'],
    ['2024-01-15T10:30:00.123999999+01:00', '2024-01-15T09:30:00.123Z'],
    ['1969-12-31T23:59:59.999999999Z', '1969-12-31T23:59:59.999Z'],
    ['2016-12-31T23:59:60Z', '2017-01-01T00:00:00.000Z'],
    ['2024-12-31T24:00:00Z', '2025-01-01T00:00:00.000Z'],
    ['2024-02-29', '2024-02-29T00:00:00.000Z'],
    ['2000-02-29', '2000-02-29T00:00:00.000Z'],
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
    ['9999-12-31T23:59:59.999999999Z', '9999-12-31T23:59:59.999Z'],
    ['1672490759', '2022-12-31T12:45:59.000Z'],
    ['1672490759.5', '2022-12-31T12:45:59.500Z'],
    ['1672490759123', '2022-12-31T12:45:59.123Z'],
    ['1672490759123999', '2022-12-31T12:45:59.123Z'],
    ['1672490759123999999', '2022-12-31T12:45:59.123Z'],
    ['-1', '1969-12-31T23:59:59.000Z'],
    ['2024-01-15T10:30:00.1234567890Z', '2024-01-15T10:30:00.123Z'],
    [`2024-01-15T10:30:00.5${'9'.repeat(100)}+02:00`, '2024-01-15T08:30:00.599Z'],
    [`1672490759.123${'4'.repeat(100)}`, '2022-12-31T12:45:59.123Z'],
    ['2024-01-15 10:30:00.123456789 +0000 UTC', '2024-01-15T10:30:00.123Z'],
    ['2024-01-15 10:30:00 +0200 CEST', '2024-01-15T08:30:00.000Z'],
    ['2024-01-15 10:30:00 -0300 -03', '2024-01-15T13:30:00.000Z'],
    ['2024-01-15 10:30:00.5 +0545 +0545 m=+0.000123', '2024-01-15T04:45:00.500Z'],
    ['2024-01-15T10:30+01:00[Europe/Berlin]', '2024-01-15T09:30:00.000Z'],
    ['2024-01-15T10:30:00.5-05:00[America/New_York][u-ca=gregory]', '2024-01-15T15:30:00.500Z'],
    ['2024-01-15T10:30:00+02:00[!+02:00]', '2024-01-15T08:30:00.000Z'],
    ['2024-01-15T10:30:00Z[UTC]', '2024-01-15T10:30:00.000Z'],
    ['2024-01-15T10:30:00[UTC]', '2024-01-15T10:30:00.000Z'],
    ['2024-01-15T10:30:00[Etc/UTC]', '2024-01-15T10:30:00.000Z'],
    ['2024-06-01T10:00:00[Europe/Berlin]', '2024-06-01T08:00:00.000Z'],
    ['2024-01-15T10:30:00.5[!Europe/Berlin][u-ca=gregory]', '2024-01-15T09:30:00.500Z'],
    ['2024-01-15 10:30 [america/new_york]', '2024-01-15T15:30:00.000Z'],
    ['2024-01-15T10:30:00[GMT]', '2024-01-15T10:30:00.000Z'],
    ['2024-01-15T10:30:00[-03:30]', '2024-01-15T14:00:00.000Z'],
    ['1850-01-01T00:53:28[Europe/Berlin]', '1850-01-01T00:00:00.000Z'],
    ['9000-07-01T00:00:00[Europe/Berlin]', '9000-06-30T22:00:00.000Z'],
    ['0001-01-01T00:00:00[Asia/Tokyo]', '0001-01-01T00:00:00.000Z'],
    // skipped by the clock: as far after the change as it would have been
    ['2024-03-31T02:30:00[Europe/Berlin]', '2024-03-31T01:30:00.000Z'],
    // shown twice: the first time
    ['2024-10-27T02:30:00[Europe/Berlin]', '2024-10-27T00:30:00.000Z'],
    // an offset decides, whatever the name says
    ['2024-06-01T10:00:00+05:00[Europe/Berlin]', '2024-06-01T05:00:00.000Z'],
    ['2024-06-01T10:00:00Z[Europe/Berlin]', '2024-06-01T10:00:00.000Z'],
    ['2024-01-15T10:30:00 ', '2024-01-15T10:30:00.000Z'],
    [' \t2024-01-15T10:30:00Z\r\n', '2024-01-15T10:30:00.000Z'],
    ['2024-01-15\n', '2024-01-15T00:00:00.000Z'],
    [' 1672490759\n', '2022-12-31T12:45:59.000Z'],
    ['0', '1970-01-01T00:00:00.000Z'],
  ])('reads %s', (text, expected) => {
    expect(parseInstant(text)).toBe(Date.parse(expected))
    expect(parseInstantText(text)).toBe(Date.parse(expected))
  })

  it.each([
    '',
    ' ',
    'now',
    'yesterday',
    '2024-01',
    '2024-1-15',
    '2024-00-15',
    '2024-13-15',
    '2024-01-00',
    '2024-01-32',
    '2024-02-30',
    '2023-02-29',
    '1900-02-29',
    '2024-04-31',
    '2024-01-15T',
    '2024-01-15T10',
    '2024-01-15T10:3',
    '2024-01-15T10:30:',
    '2024-01-15T10:30:0',
    '2024-01-15T25:00:00Z',
    '2024-01-15T24:00:01Z',
    '2024-01-15T24:00:00.0001Z',
    '2024-01-15T10:60:00Z',
    '2024-01-15T10:30:61Z',
    '2024-01-15T10:30:00.Z',
    '2024-01-15T10:30:00ZZ',
    '2024-01-15T10:30:00 CET',
    '2024-01-15T10:30:00  UTC',
    '2024-01-15T10:30:00 +0200 CEST!',
    '2024-01-15T10:30:00 +0200 CEST m=',
    '2024-01-15T10:30:00 +2400 UTC',
    '2024-01-15T10:30:00[Mars/Olympus]',
    '2024-01-15T10:30:00[Europe/Berlin',
    '2024-01-15T10:30:00[Europe/Berlin]Z',
    '2024-01-15T10:30:00[Europe/Berlin][Europe/Paris]',
    '2024-01-15T10:30:00[]',
    '2024-01-15T10:30:00[u-ca=gregory]',
    `2024-01-15T10:30:00[${'a'.repeat(100_000)}]`,
    '2024-01-15[Europe/Berlin]',
    '2024-01-15T10:30:00+01:00[Europe/Berlin',
    '2024-01-15T10:30:00+01:00[]',
    '2024-01-15T10:30:00+01:00Europe/Berlin',
    `2024-01-15T10:30:00+01:00${'[a]'.repeat(100_000)}`,
    '2024-01-15T10:30:00Z\0',
    '1672490759 123',
    '2024-01-15T10:30:00+99:99',
    '2024-01-15T10:30:00+24:00',
    '2024-01-15T10:30:00+02:60',
    '2024-01-15T10:30:00+2',
    '2024-01-15T10:30:00+02:0',
    '2024-01-15T10:30:00+02:000',
    '2024-01-15X10:30:00Z',
    '2024/01/15',
    '2024-01-15Z',
    '0000-12-31T23:59:59Z',
    '0001-01-01T00:00:00+00:01',
    '9999-12-31T23:59:60Z',
    '10000-01-01T00:00:00Z',
    '１２３４-01-15',
    '1e9',
    '0x10',
    '1672490759.',
    '.5',
    '+5',
    '--5',
    'NaN',
    'Infinity',
    '9'.repeat(30),
    '9'.repeat(100_000),
  ])('refuses %s', (text) => {
    expect(parseInstant(text)).toBeUndefined()
    expect(parseInstantText(text)).toBeUndefined()
  })

  it('reads an offset whose plus sign a query string turned into a space, but only there', () => {
    expect(parseInstantText('2024-01-15T10:30:00 02:00')).toBe(Date.parse('2024-01-15T08:30:00Z'))
    expect(parseInstantText('2024-01-15 10:30:00  0200 CEST')).toBe(Date.parse('2024-01-15T08:30:00Z'))
    expect(parseInstantText('2024-01-15T10:30:00 02:00[Europe/Berlin]')).toBe(Date.parse('2024-01-15T08:30:00Z'))
    expect(parseInstant('2024-01-15T10:30:00 02:00')).toBeUndefined()
  })

  it('with a zone alone is read by the clock of that zone, even where the time argument has another', () => {
    const inNewYork = (readingMs: number): number => readingMs + 5 * 3_600_000
    const text = '2024-01-15T10:30:00[Europe/Berlin]'
    expect(parseTimeArgument(text, 0, inNewYork)).toBe(Date.parse('2024-01-15T09:30:00Z'))
    expect(parseTimeArgument('2024-01-15T10:30:00', 0, inNewYork)).toBe(Date.parse('2024-01-15T15:30:00Z'))
  })

  it('is read as Date.parse reads canonical texts', () => {
    fc.assert(
      fc.property(instants, (ms) => {
        const text = new Date(ms).toISOString()
        expect(parseInstant(text)).toBe(ms)
        expect(parseInstant(formatInstant(ms))).toBe(ms)
      }),
      { numRuns: 2_000 },
    )
  })

  it('means the same in every offset', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: Date.UTC(1900), max: Date.UTC(2100) }),
        fc.integer({ min: -1439, max: 1439 }),
        (ms, minutes) => {
          const clock = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60]
          const offset = `${minutes < 0 ? '-' : '+'}${clock.map((part) => String(part).padStart(2, '0')).join(':')}`
          const local = new Date(ms + minutes * 60_000).toISOString().slice(0, -1)
          expect(parseInstant(local + offset)).toBe(ms)
          expect(parseInstant(local + offset.replace(':', ''))).toBe(ms)
          expect(parseUtcOffset(offset)).toBe(minutes * 60_000)
        },
      ),
    )
  })

  it('never throws and returns whole milliseconds within range, or undefined', () => {
    const almost = fc.stringMatching(/^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}[-0-9:.Z+ UTC]{0,14}$/)
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.string(), almost), (value) => {
        const ms = parseInstant(value)
        if (ms === undefined) return
        expect(Number.isInteger(ms)).toBe(true)
        expect(ms).toBeGreaterThanOrEqual(INSTANT_MIN_MS)
        expect(ms).toBeLessThanOrEqual(INSTANT_MAX_MS)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('an instant as a value', () => {
  it.each([
    [1672490759, 1672490759000],
    [1672490759.5, 1672490759500],
    [1672490759.123, 1672490759123],
    // doubles whose product lies below the millisecond they stand for
    [1.001, 1001],
    [1600000002002000000, 1600000002002],
    [1600000018018000000, 1600000018018],
    [1672490759123, 1672490759123],
    [1672490759123.9, 1672490759123],
    [1672490759123999, 1672490759123],
    [1672490759123000000, 1672490759123],
    [99_999_999_999, 99_999_999_999_000],
    [100_000_000_000, 100_000_000_000],
    [100_000_000_000_000, 100_000_000_000],
    [100_000_000_000_000_000, 100_000_000_000],
    [0, 0],
    [-0, 0],
    [-1.5, -1500],
    [-0.0001, -1],
    [1672490759n, 1672490759000],
    [1672490759123n, 1672490759123],
    [1672490759123999n, 1672490759123],
    [1672490759123999999n, 1672490759123],
    [-1_672_490_759_123_000_001n, -1672490759124],
    [new Date(1672490759123), 1672490759123],
  ])('reads %s', (value, expected) => {
    expect(parseInstant(value)).toBe(expected)
  })

  it.each([
    undefined,
    null,
    true,
    false,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    1e300,
    10n ** 40n,
    -(10n ** 40n),
    {},
    [],
    [2024],
    new Date(Number.NaN),
    new Date(8.64e15),
    Symbol('s'),
  ])('refuses %s', (value) => {
    expect(parseInstant(value)).toBeUndefined()
  })

  it('finds a decimal of seconds again to the millisecond, and bigint and text exactly', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1e11, max: 4e12 }), fc.integer({ min: 0, max: 999_999 }), (ms, rest) => {
        expect(parseInstant(ms / 1000)).toBe(ms)
        expect(parseInstant((ms / 1000).toFixed(3))).toBe(ms)
        expect(parseInstant(ms * 1000)).toBe(ms)
        const nanoseconds = BigInt(ms) * 1_000_000n + BigInt(rest)
        expect(parseInstant(nanoseconds)).toBe(ms)
        expect(parseInstantText(String(nanoseconds))).toBe(ms)
      }),
    )
  })
})

describe('a time argument', () => {
  const nowMs = Date.parse('2024-01-15T10:30:00Z')

  it.each([
    ['now', '2024-01-15T10:30:00Z'],
    ['-6h', '2024-01-15T04:30:00Z'],
    ['-15m', '2024-01-15T10:15:00Z'],
    ['-7d', '2024-01-08T10:30:00Z'],
    ['now-1h', '2024-01-15T09:30:00Z'],
    ['now - 1h30m', '2024-01-15T09:00:00Z'],
    ['now+1d', '2024-01-16T10:30:00Z'],
    ['-PT5M', '2024-01-15T10:25:00Z'],
    ['2024-01-01', '2024-01-01T00:00:00Z'],
    ['1672490759', '2022-12-31T12:45:59Z'],
    ['-60', '1969-12-31T23:59:00Z'],
  ])('reads %s', (text, expected) => {
    expect(parseTimeArgument(text, nowMs)).toBe(Date.parse(expected))
  })

  it.each(['', '-', 'now-', '6h', '-6x', '-6h-2h', 'nowish', '-9999999w'])('refuses "%s"', (text) => {
    expect(parseTimeArgument(text, nowMs)).toBeUndefined()
  })
})
