import fc from 'fast-check'
import { expect, it } from 'vitest'
import { formatInstant, toInstant, toLocalInput } from '../../../playground/question/local-time.ts'

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

it('a local time of an instant leads back to it, but for the hour that a clock change repeats', () => {
  const zones = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe')
  const seconds = fc.integer({ min: 0, max: 4_000_000_000 })
  fc.assert(
    fc.property(zones, seconds, (zone, second) => {
      const local = toLocalInput(second * 1_000, zone)
      const backMs = Date.parse(toInstant(local, zone))
      expect(toLocalInput(backMs, zone)).toBe(local)
      expect(Math.abs(backMs - second * 1_000)).toBeLessThanOrEqual(3_600_000)
    }),
  )
})
