import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { EventIdGenerator, keyedEventId } from '../../src/model/event-id.ts'

describe('ids of events', () => {
  test('grow by time, within a millisecond, and when the clock is set back', () => {
    const times = [1_700_000_000_000, 1_700_000_000_000, 1_700_000_000_001, 1_600_000_000_000, 1_700_000_000_002]
    let at = 0
    const ids = new EventIdGenerator(() => times[at++]!, randomBytes)
    const made = times.map(() => ids.next())
    expect(made).toEqual([...made].sort())
    expect(new Set(made).size).toBe(times.length)
  })

  test('are ULIDs: 26 digits that begin with the time', () => {
    const ids = new EventIdGenerator(
      () => 1_469_918_176_385,
      (length) => new Uint8Array(length).fill(0xff),
    )
    // The time of the example in the specification.
    expect(ids.next()).toMatch(/^01ARYZ6S41[0-9A-HJKMNP-TV-Z]{16}$/)
  })

  test('differ between gateways in one millisecond', () => {
    const made = Array.from({ length: 1_000 }, () => new EventIdGenerator(() => 1, randomBytes).next())
    expect(new Set(made).size).toBe(1_000)
  })

  test('of a request with a key are the same for every attempt', () => {
    expect(keyedEventId('shop', 'k', 5, 0)).toBe(keyedEventId('shop', 'k', 5, 0))
    const others = [
      keyedEventId('shop', 'k', 5, 1),
      keyedEventId('shop', 'l', 5, 0),
      keyedEventId('sho', 'pk', 5, 0),
      keyedEventId('shop', 'k', 6, 0),
      keyedEventId('shop', ':k', 5, 0),
    ]
    expect(new Set([keyedEventId('shop', 'k', 5, 0), ...others]).size).toBe(6)
    expect(keyedEventId('shop', 'k', 5, 1) > keyedEventId('shop', 'k', 5, 0)).toBe(true)
  })
})
