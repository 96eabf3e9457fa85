import { expect, test } from 'vitest'
import { at, describePlaces, MORNING } from './places.ts'

/** What counters return: increases of running totals, sums of deltas, rates. */

describePlaces(({ ask, given, rows }) => {
  test('a total that is reset is never a negative increase', async () => {
    await given('restart', 'counter', [
      { at: at('09:00:00'), total: 100 },
      { at: at('09:00:10'), total: 130 },
      { at: at('09:00:20'), total: 4 },
      { at: at('09:00:30'), total: 6 },
      { at: at('10:00:00'), total: 1 },
    ])
    expect(await rows('restart', MORNING)).toEqual(['2026-05-05T09:00:00Z 36', '2026-05-05T10:00:00Z 1'])
    expect(await rows('restart', { ...MORNING, interval: '10s', aggregations: ['sum', 'last'] })).toEqual([
      '2026-05-05T09:00:00Z 0 100',
      '2026-05-05T09:00:10Z 30 130',
      '2026-05-05T09:00:20Z 4 4',
      '2026-05-05T09:00:30Z 2 6',
      '2026-05-05T10:00:00Z 1 1',
    ])
  })

  test('totals that two writers send in turns count once', async () => {
    await given(
      'turns',
      'counter',
      [
        { at: at('09:00:00'), total: 0 },
        { at: at('09:00:02'), total: 20 },
      ],
      [
        { at: at('09:00:01'), total: 10 },
        { at: at('09:00:03'), total: 30 },
      ],
    )
    expect(await rows('turns', MORNING)).toEqual(['2026-05-05T09:00:00Z 30'])
  })

  test('a late total between two others changes where the increase lies, not how much it is', async () => {
    await given(
      'late.total',
      'counter',
      [{ at: at('09:00:00'), total: 0 }],
      [{ at: at('09:00:40'), total: 30 }],
      [{ at: at('09:00:20'), total: 10 }],
    )
    expect(await rows('late.total', MORNING)).toEqual(['2026-05-05T09:00:00Z 30'])
    expect(await rows('late.total', { ...MORNING, interval: '10s' })).toEqual([
      '2026-05-05T09:00:00Z 0',
      '2026-05-05T09:00:20Z 10',
      '2026-05-05T09:00:40Z 20',
    ])
  })

  test('a late total across a reset is read in order of time', async () => {
    await given(
      'late.reset',
      'counter',
      [{ at: at('09:00:00'), total: 100 }],
      [{ at: at('09:20:00'), total: 20 }],
      [{ at: at('09:10:00'), total: 150 }],
    )
    expect(await rows('late.reset', MORNING)).toEqual(['2026-05-05T09:00:00Z 70'])
  })

  test('the first total adds nothing, nor does the first after more than seven silent days', async () => {
    await given('silent', 'counter', [
      { at: '2026-04-01T00:00:00Z', total: 1_000 },
      { at: '2026-04-08T00:00:00Z', total: 1_005 },
      { at: '2026-04-15T00:00:01Z', total: 1_100 },
      { at: '2026-04-15T00:00:02Z', total: 1_101 },
    ])
    const april = { from: '2026-04-01T00:00:00Z', to: '2026-04-30T00:00:00Z', interval: '1d' }
    expect(await rows('silent', april)).toEqual([
      '2026-04-01T00:00:00Z 0',
      '2026-04-08T00:00:00Z 5',
      '2026-04-15T00:00:00Z 1',
    ])
    expect(await rows('silent', { ...april, from: '2026-04-08T00:00:00Z' })).toEqual([
      '2026-04-08T00:00:00Z 5',
      '2026-04-15T00:00:00Z 1',
    ])
  })

  test.each(['10s', '1m', '1h', '1d'])(
    'an increase lies in the %s of the later total, also when the earlier one lies before the range',
    async (interval) => {
      const name = `before.${interval}`
      await given(
        name,
        'counter',
        [{ at: '2026-05-03T23:59:55Z', total: 10 }],
        [{ at: '2026-05-04T00:00:01Z', total: 25 }],
      )
      const day = { interval, to: '2026-05-04T23:59:59Z' }
      expect(await rows(name, { ...day, from: '2026-05-04T00:00:00Z' })).toEqual(['2026-05-04T00:00:00Z 15'])
      expect((await rows(name, { ...day, from: '2026-05-03T00:00:00Z' })).at(-1)).toBe('2026-05-04T00:00:00Z 15')
    },
  )

  test('deltas and totals share a counter', async () => {
    await given(
      'mixed',
      'counter',
      [
        { at: at('09:00:00'), value: 5 },
        { at: at('09:00:01'), total: 10 },
      ],
      [
        { at: at('09:30:00'), total: 17 },
        { at: at('09:40:00'), value: -1 },
        { at: at('10:40:00'), value: 3 },
      ],
    )
    expect(await rows('mixed', { ...MORNING, aggregations: ['sum', 'count', 'last'] })).toEqual([
      '2026-05-05T09:00:00Z 11 4 17',
      '2026-05-05T10:00:00Z 3 1 null',
    ])
  })

  test('a rate is over the bucket, cut by the range and by now, but at least over a base bucket', async () => {
    await given('speed', 'counter', [
      { at: at('09:30:00'), value: 3_600 },
      { at: at('12:30:00'), value: 2_096.789 },
      { at: at('12:34:55'), value: 60 },
      { at: at('14:30:00'), value: 7_200 },
      { at: at('15:00:00'), value: 90 },
    ])
    const rate = { interval: '1h', aggregations: ['rate'] }
    expect(await rows('speed', { ...rate, from: at('09:00:00'), to: at('14:59:59') })).toEqual([
      '2026-05-05T09:00:00Z 1',
      `2026-05-05T12:00:00Z ${(2_096.789 + 60) / 2_096.789}`,
      '2026-05-05T14:00:00Z 2',
    ])
    // Cut by the range, which is widened by the base: 20 s of the hour.
    expect(await rows('speed', { ...rate, from: at('09:29:55'), to: at('09:30:05') })).toEqual([
      '2026-05-05T09:00:00Z 180',
    ])
    expect(await rows('speed', { ...rate, from: at('14:59:59'), to: at('15:00:09') })).toEqual([
      '2026-05-05T15:00:00Z 9',
    ])
    // The bucket has lasted 6.789 s.
    expect(await rows('speed', { ...rate, interval: '10s', from: at('12:34:50'), to: at('12:34:59') })).toEqual([
      '2026-05-05T12:34:50Z 6',
    ])
    const whole = await ask({ metric: 'speed', ...rate, from: at('09:00:00'), to: at('09:59:59') })
    expect(whole.groups[0]?.totals.get('rate')).toBe(1)
  })
})
