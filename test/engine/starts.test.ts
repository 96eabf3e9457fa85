import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DAY_MS } from '../../src/model/time.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { PROJECT, rows, type Sample, track } from './harness.ts'

/** Running totals that name their start: the value at the start is 0, whatever came before. */

const T0_MS = Date.parse('2026-05-05T12:00:00Z')
const at = (seconds: number): number => T0_MS + seconds * 1_000

let gateway: TestGateway
beforeAll(async () => {
  gateway = await startGateway({ now: () => T0_MS + 8 * DAY_MS })
})
afterAll(() => gateway.close())

let metrics = 0
async function increases(samples: readonly Sample[]): Promise<string[]> {
  const name = `totals.${metrics++}`
  for (const sample of samples) expect(await track(gateway, name, 'counter', [sample])).toEqual([])
  const input = { metric: name, from: T0_MS - DAY_MS, to: T0_MS + 8 * DAY_MS, interval: '1h', aggregations: ['sum'] }
  return (await rows(gateway, input)).filter((row) => !row.endsWith(' 0'))
}

describe('a running total with a start', () => {
  it.each<[string, Sample[], string[]]>([
    ['counts whole the first time', [{ at: at(60), total: 7, since: at(0) }], ['2026-05-05T12:00:00Z 7']],
    [
      'counts what was added after that',
      [
        { at: at(60), total: 7, since: at(0) },
        { at: at(120), total: 9, since: at(0) },
      ],
      ['2026-05-05T12:00:00Z 9'],
    ],
    [
      'counts whole after a restart, although it is greater than before',
      [
        { at: at(60), total: 7, since: at(0) },
        { at: at(120), total: 100, since: at(90) },
      ],
      ['2026-05-05T12:00:00Z 107'],
    ],
    [
      'counts whole after a restart at the time of the last total',
      [
        { at: at(60), total: 7, since: at(0) },
        { at: at(120), total: 8, since: at(60) },
      ],
      ['2026-05-05T12:00:00Z 15'],
    ],
    [
      'counts in the bucket of its own time',
      [
        { at: at(3_700), total: 7, since: at(0) },
        { at: at(7_300), total: 8, since: at(0) },
      ],
      ['2026-05-05T13:00:00Z 7', '2026-05-05T14:00:00Z 1'],
    ],
    [
      'counts whole a millisecond after its start',
      [{ at: at(1), total: 7, since: at(1) - 1 }],
      ['2026-05-05T12:00:00Z 7'],
    ],
    ['counts nothing eight days after its start', [{ at: at(0) + 7.5 * DAY_MS, total: 7, since: at(0) - 1 }], []],
  ])('%s', async (_, samples, expected) => {
    expect(await increases(samples)).toEqual(expected)
  })

  it('stores its start again after a request that was not stored', async () => {
    const name = 'totals.failed'
    const failing = gateway.gateway.track(PROJECT, (sink) => {
      const series = sink.resolve(name, 'counter', [])
      if (!('code' in series)) sink.addTotalSince(0, series, at(60), 5, at(0))
      throw new Error('the decoder failed')
    })
    await expect(failing).rejects.toThrow('the decoder failed')
    await track(gateway, name, 'counter', [{ at: at(60), total: 5, since: at(0) }])
    const input = { metric: name, from: at(0), to: at(3_599), interval: '1h' }
    expect(await rows(gateway, input)).toEqual(['2026-05-05T12:00:00Z 5'])
  })
})

interface Life {
  /** Seconds until it starts, and between its totals. */
  readonly pause: number
  readonly steps: readonly { readonly after: number; readonly added: number }[]
}

const lives = fc.array(
  fc.record<Life>({
    pause: fc.integer({ min: 0, max: 90 }),
    steps: fc.array(fc.record({ after: fc.integer({ min: 1, max: 100 }), added: fc.nat(20) }), {
      minLength: 1,
      maxLength: 6,
    }),
  }),
  { minLength: 1, maxLength: 4 },
)

/** Totals of processes that follow each other, and the increase of each minute. */
function simulate(given: readonly Life[]): { samples: Sample[]; byMinute: Map<number, number> } {
  const samples: Sample[] = []
  const byMinute = new Map<number, number>()
  let now = 60
  for (const { pause, steps } of given) {
    now += pause
    const since = at(now)
    let total = 0
    for (const { after, added } of steps) {
      now += after
      total += added
      samples.push({ at: at(now), total, since })
      const minute = Math.floor(now / 60)
      if (added > 0) byMinute.set(minute, (byMinute.get(minute) ?? 0) + added)
    }
  }
  return { samples, byMinute }
}

describe('totals of processes that restart', () => {
  it('add up, whatever the order in which they arrive and however often', async () => {
    let run = 0
    const order = fc.infiniteStream(fc.nat(1_000))
    await fc.assert(
      fc.asyncProperty(lives, order, fc.boolean(), async (given, draws, isFolded) => {
        const name = `lives.${run++}`
        const { samples, byMinute } = simulate(given)
        const delivered = [...samples, ...samples.filter((_, i) => i % 3 === 0)]
          .map((sample) => ({ sample, key: draws.next().value! }))
          .sort((a, b) => a.key - b.key)
          .map(({ sample }) => sample)
        for (let i = 0; i < delivered.length; i += 3)
          expect(await track(gateway, name, 'counter', delivered.slice(i, i + 3))).toEqual([])
        if (isFolded) await gateway.folds.drain()
        const input = { metric: name, from: T0_MS - 60_000, to: T0_MS + 3_600_000, interval: '1m' }
        const found = (await rows(gateway, input)).filter((row) => !row.endsWith(' 0'))
        const expected = [...byMinute].map(
          ([minute, sum]) => `${new Date(at(minute * 60)).toISOString().replace('.000', '')} ${sum}`,
        )
        expect(found).toEqual(expected)
      }),
      { numRuns: 40 },
    )
  })
})
