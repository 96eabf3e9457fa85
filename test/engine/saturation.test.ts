import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { COUNT_MAX } from '../../src/model/count.ts'
import type { PointSink } from '../../src/model/point.ts'
import { runAtOnce } from '../../src/model/steps.ts'
import { HOUR_MS } from '../../src/model/time.ts'
import type { Store } from '../../src/store/store.ts'
import { decodeBetterStackItem } from '../../src/wire/better-stack.ts'
import type { Writer } from '../../src/write/commit/writer.ts'
import { foldInbox } from '../../src/write/fold/fold.ts'
import { DEFAULT_POINT_LIMITS } from '../support/defaults.ts'
import { ask, decoderOf, FOLD_SETTINGS, openStore, openWriter, PROJECT, T0_MS, totalOf } from '../support/engine.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** Weights that are each allowed and together more than can be counted. */

let store: Store
let writer: Writer
beforeEach(async () => {
  store = await openStore(await temporaryFolder(), 1)
  writer = openWriter(store)
  onTestFinished(async () => {
    await writer.close()
    await store.close()
  })
})

type Observed = readonly (readonly [value: number, rate: number | bigint])[]

const send = (project: string, samples: Observed) =>
  writer.track(project, (sink) => {
    const item = { name: 'd', distribution: { samples: samples.map(([value, rate]) => ({ value, rate })) } }
    const options = { nowMs: T0_MS, limits: DEFAULT_POINT_LIMITS, onUnreadableTime: () => {} }
    runAtOnce(decodeBetterStackItem(item, 0, sink, options))
  })

async function readTotals() {
  const aggregations = ['count', 'avg', 'p0', 'p50', 'p100']
  const { groups, meta } = await ask(store, 'd', { aggregations, interval: '1d' })
  return { totals: Object.fromEntries(groups[0]!.totals), isExact: meta.isExact }
}

describe('counts', () => {
  it.each<[string, readonly Observed[]]>([
    [
      'in one bin',
      [
        [
          [1, 2 ** 53 - 6],
          [2, 3],
        ],
        [
          [1, 2 ** 53 - 6],
          [2, 3],
        ],
      ],
    ],
    [
      'in one request',
      [
        [
          [1, 2 ** 53 - 1],
          [1, 2 ** 53 - 1],
          [2, 1],
        ],
      ],
    ],
    ['of one value', [[[1, 2 ** 53]], [[1, 2 ** 53]], [[2, 1]]]],
    ['of one value, and of many others', [[[1, 2 ** 53]], Array.from({ length: 99 }, (_, i) => [1 + i / 98, 2 ** 53])]],
  ])('saturate %s, before and after a fold', async (_, requests) => {
    for (const samples of requests) expect(await send(PROJECT, samples)).toEqual([])
    const before = await readTotals()
    expect(before).toMatchObject({ totals: { count: COUNT_MAX, p0: 1, p100: 2 }, isExact: false })
    expect(Math.abs(before.totals['p50']! - 1.5)).toBeLessThan(0.52)
    expect(await foldInbox(store, 0, FOLD_SETTINGS, T0_MS + HOUR_MS)).toMatchObject({ entries: requests.length })
    expect(await readTotals()).toEqual(before)
  })

  it('that are exact are said to be', async () => {
    await send(PROJECT, [
      [1, 2 ** 53 - 2],
      [2, 1],
    ])
    expect(await readTotals()).toMatchObject({ totals: { count: 2 ** 53 - 1 }, isExact: true })
  })

  it('over several buckets saturate in the total', async () => {
    const add = (timeMs: number) =>
      writer.track(PROJECT, (sink) => {
        const series = sink.resolve('d', 'distribution', [])
        if (!('code' in series)) sink.addWeighted(0, series, timeMs, 1, 2 ** 52 + 1)
      })
    await add(T0_MS)
    await add(T0_MS + HOUR_MS)
    const { groups, meta } = await ask(store, 'd', { aggregations: ['count'], interval: '1h' })
    expect(groups[0]!.totals.get('count')).toBe(COUNT_MAX)
    expect(meta.isExact).toBe(false)
  })

  it.each([2 ** 53 + 2, 1e300, -1, 0.5, 2n ** 53n + 1n, -1n])('a weight of %s is refused', async (rate) => {
    expect(await send(PROJECT, [[1, rate]])).toMatchObject([{ index: 0, code: 'invalid_value' }])
  })

  it('of one project do not fail the round that another shares', async () => {
    const outcomes = await Promise.allSettled([
      send('hostile', [
        [1, 2 ** 53 - 1],
        [1, 2 ** 53 - 1],
        [2, 1],
      ]),
      ...Array.from({ length: 9 }, (_, i) =>
        writer.track(PROJECT, decoderOf([{ name: `m${i}`, type: 'gauge', value: i }])),
      ),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(Array(10).fill('fulfilled'))
  })
})

describe('a metric that cannot be encoded', () => {
  // No decoder accepts such a weight: it stands for any unforeseen error.
  const broken = (sink: PointSink): void => {
    decoderOf([{ name: 'fine', type: 'counter', value: 1 }])(sink)
    const series = sink.resolve('broken', 'distribution', [])
    if ('code' in series) return
    sink.addWeighted(1, series, T0_MS, 1, 0.5)
    sink.addWeighted(1, series, T0_MS, 2, 0.5)
  }
  const trackOne = (name: string) => writer.track(PROJECT, decoderOf([{ name, type: 'counter', value: 1 }]))

  it.each([undefined, 'key'])('fails its own requests alone (idempotency key: %s)', async (key) => {
    const refused = { status: 'rejected', reason: { code: 'internal' } }
    const outcomes = await Promise.allSettled([
      trackOne('fine'),
      writer.track('hostile', broken, key),
      trackOne('broken'),
      trackOne('other'),
    ])
    expect(outcomes).toMatchObject([{}, refused, {}, {}])
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(1)
    for (const name of ['fine', 'broken', 'other']) expect(await totalOf(store, name, 'sum')).toBe(1)
    await trackOne('fine')
    expect(await totalOf(store, 'fine', 'sum')).toBe(2)
  })

  it('fails all of its requests, and those of others in the round are stored', async () => {
    const sound = () =>
      writer.track(PROJECT, (sink) => {
        const series = sink.resolve('broken', 'distribution', [])
        if (!('code' in series)) sink.add(0, series, T0_MS, 3)
      })
    // Those that know their metrics and series need not ask the store: they meet in one round.
    await Promise.all([sound(), trackOne('fine'), trackOne('other')])
    const outcomes = await Promise.allSettled([
      writer.track(PROJECT, broken),
      trackOne('other'),
      sound(),
      trackOne('fine'),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected', 'fulfilled'])
    expect(await totalOf(store, 'other', 'sum')).toBe(2)
    expect(await totalOf(store, 'broken', 'count')).toBe(1)
  })
})
