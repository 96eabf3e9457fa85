import fc from 'fast-check'
import { expect, it } from 'vitest'
import { formatInstant, toInstant, toLocalInput } from '../../../playground/question/local-time.ts'
import { lookUpInstantOfReading, timeZone } from '../../../src/model/zone-offsets.ts'

it.each([
  ['2026-07-01T10:00:00Z', 'Europe/Berlin', '2026-07-01T12:00:00'],
  ['2026-01-01T10:00:00Z', 'Asia/Kolkata', '2026-01-01T15:30:00'],
  ['2026-03-29T01:00:00Z', 'Europe/Berlin', '2026-03-29T03:00:00'],
  ['2026-01-01T00:00:05Z', 'UTC', '2026-01-01T00:00:05'],
])('%s in %s is %s, and back', (instant, zone, local) => {
  expect(toLocalInput(Date.parse(instant), zone)).toBe(local)
  expect(toInstant(local, zone)).toBe(instant)
})

it('an instant is written to the second, also in an hour that a clock change repeats', () => {
  expect(formatInstant(Date.parse('2026-10-25T00:10:00.999Z'))).toBe('2026-10-25T00:10:00Z')
  expect(formatInstant(Date.parse('1969-12-31T23:59:59.500Z'))).toBe('1969-12-31T23:59:59Z')
})

it.each([
  ['2026-10-25T02:30', 'Europe/Berlin', '2026-10-25T00:30:00Z'],
  ['2026-11-01T01:30', 'America/New_York', '2026-11-01T05:30:00Z'],
  ['2026-04-05T01:45', 'Australia/Lord_Howe', '2026-04-04T14:45:00Z'],
])('%s in %s, which the clock shows twice, is %s: the first', (local, zone, instant) => {
  expect(toInstant(local, zone)).toBe(instant)
})

it('a local time has the instant that the gateway gives it, also where the clock changes', () => {
  const zones = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Pacific/Apia')
  const seconds = fc.oneof(
    fc.integer({ min: 0, max: 4_000_000_000 }),
    ...['2026-03-29T02:00Z', '2026-10-25T02:00Z', '2026-03-08T02:00Z', '2026-11-01T01:00Z', '2011-12-30T00:00Z'].map(
      (change) => fc.integer({ min: -7_200, max: 90_000 }).map((offset) => Date.parse(change) / 1_000 + offset),
    ),
  )
  fc.assert(
    fc.property(zones, seconds, (name, second) => {
      const local = toLocalInput(second * 1_000, 'UTC')
      expect(toInstant(local, name)).toBe(formatInstant(lookUpInstantOfReading(timeZone(name)!, second * 1_000)))
    }),
  )
})

it('a local time of an instant leads back to it, or to its first occurrence if a clock change repeats it', () => {
  const zones = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe')
  const seconds = fc.integer({ min: 0, max: 4_000_000_000 })
  fc.assert(
    fc.property(zones, seconds, (zone, second) => {
      const local = toLocalInput(second * 1_000, zone)
      const backMs = Date.parse(toInstant(local, zone))
      expect(toLocalInput(backMs, zone)).toBe(local)
      expect(second * 1_000 - backMs).toSatisfy((ms) => ms >= 0 && ms <= 3_600_000)
    }),
  )
})
