import { describe, expect, it } from 'vitest'
import { type Happening, type Incident, incidentAt, METRICS, type Point, shopBetween } from '../../demo/shop.ts'

const SEED = 7
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const NOON_MS = Date.parse('2024-01-15T12:00:00Z')

const between = (fromMs: number, toMs: number, seed = SEED): Happening[] => [...shopBetween(seed, fromMs, toMs)]

const isPoint = (happening: Happening): happening is Point => 'type' in happening

const pointsBetween = (fromMs: number, toMs: number): Point[] => between(fromMs, toMs).filter(isPoint)

const responseTimes = (points: readonly Point[], endpoint: string): number[] =>
  points
    .filter(({ name, tags }) => name === 'api.response_time' && tags['endpoint'] === endpoint)
    .map(({ value }) => Number(value))

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

describe('the demo shop', () => {
  it('does the same whenever it is asked, and something else for another seed', () => {
    const happenings = between(NOON_MS, NOON_MS + MINUTE_MS)
    expect(happenings.length).toBeGreaterThan(50)
    expect(between(NOON_MS, NOON_MS + MINUTE_MS)).toEqual(happenings)
    expect(between(NOON_MS, NOON_MS + MINUTE_MS, SEED + 1)).not.toEqual(happenings)
  })

  it('does in two stretches that meet what it does in the whole, wherever they meet', () => {
    const happenings = between(NOON_MS, NOON_MS + MINUTE_MS)
    for (const cutMs of [NOON_MS + 1, NOON_MS + 9_999, NOON_MS + 10_000, NOON_MS + 34_567]) {
      const parts = [...between(NOON_MS, cutMs), ...between(cutMs, NOON_MS + MINUTE_MS)]
      const order = (happening: Happening): string => JSON.stringify([happening.timestamp, happening])
      expect(parts.map(order).sort()).toEqual(happenings.map(order).sort())
    }
  })

  it('sends every metric it describes and no other, with numbers and members that the gateway takes', () => {
    const points = pointsBetween(NOON_MS, NOON_MS + HOUR_MS)
    expect(new Set(points.map(({ name }) => name))).toEqual(new Set(Object.keys(METRICS)))
    for (const { type, value } of points) {
      if (type === 'set') expect(value).toMatch(/^user-\d+$/)
      else expect(value).toSatisfy((number) => Number.isFinite(number) && Number(number) >= 0)
    }
  })

  it('is busier in the afternoon than at night', () => {
    const nightMs = Date.parse('2024-01-15T03:00:00Z')
    const night = between(nightMs, nightMs + HOUR_MS).length
    expect(between(NOON_MS, NOON_MS + HOUR_MS).length).toBeGreaterThan(2 * night)
  })

  it.each(['payment provider slow', 'search index down'] as const)('shows that the %s', (kind) => {
    const endpoint = kind === 'payment provider slow' ? '/checkout' : '/search'
    const incident = firstIncident(kind)
    const during = pointsBetween(incident.fromMs, incident.toMs)
    const before = pointsBetween(incident.fromMs - HOUR_MS, incident.fromMs)
    expect(median(responseTimes(during, endpoint))).toBeGreaterThan(2 * median(responseTimes(before, endpoint)))
    const failed = during.filter(({ tags }) => tags['endpoint'] === endpoint && tags['status'] === '503')
    expect(failed.length).toBeGreaterThan(0)
    const named = (name: string): Happening[] =>
      between(incident.fromMs, incident.toMs + 1).filter((happening) => happening.name === name)
    expect(named('incident.opened')).toMatchObject([
      { timestamp: incident.fromMs, tags: { endpoint }, properties: { kind } },
    ])
    expect(named('incident.closed')).toMatchObject([
      { timestamp: incident.toMs, tags: { endpoint }, properties: { kind } },
    ])
  })

  it('tells an event of each order, of the same worth', () => {
    const happenings = between(NOON_MS, NOON_MS + HOUR_MS)
    const worth = (name: string): unknown[] =>
      happenings.filter((happening) => happening.name === name).map(({ value, timestamp }) => ({ value, timestamp }))
    expect(worth('order.placed').length).toBeGreaterThan(0)
    expect(worth('order.placed')).toEqual(worth('order.value'))
    expect(happenings.filter(({ name }) => name === 'user.signed_up').length).toBeGreaterThan(0)
  })

  it('has incidents now and then', () => {
    const minutes = Array.from({ length: 7 * 24 * 60 }, (_, minute) => incidentAt(SEED, NOON_MS + minute * MINUTE_MS))
    const share = minutes.filter((incident) => incident !== undefined).length / minutes.length
    expect(share).toBeGreaterThan(0.01)
    expect(share).toBeLessThan(0.1)
  })
})

/** In the afternoon, where there are answers enough to compare. */
function firstIncident(kind: Incident['kind']): Incident {
  for (let atMs = NOON_MS; atMs < NOON_MS + 90 * 24 * HOUR_MS; atMs += 5 * MINUTE_MS) {
    const incident = incidentAt(SEED, atMs)
    const hour = new Date(atMs).getUTCHours()
    if (incident?.kind === kind && hour >= 11 && hour < 19) return incident
  }
  throw new Error(`no ${kind} in 90 days`)
}
