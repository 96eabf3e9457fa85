import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { runAtOnce } from '../../../src/model/steps.ts'
import { groupSeries as groupSeriesInSteps, SeriesCache, SeriesList } from '../../../src/query/plan/series-cache.ts'
import { type SeriesFilter, tagValueOrEmpty } from '../../../src/query/plan/tag-filter.ts'
import type { MetricRow, SeriesRow } from '../../../src/store/catalog.ts'
import type { Store } from '../../../src/store/store.ts'
import { decoderOf, openStore, openWriter, PROJECT } from '../../support/engine.ts'
import { FaultyStore, gate, lostRequest, respondWith } from '../../support/faulty-store.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

let store: Store
let faulty: FaultyStore

beforeEach(async () => {
  store = await openStore(await temporaryFolder(), 1)
  onTestFinished(() => store.close())
  faulty = new FaultyStore(store)
})

async function addSeries(name: string, ...hosts: readonly string[]): Promise<MetricRow> {
  const writer = openWriter(store)
  await writer.track(PROJECT, decoderOf(hosts.map((host) => ({ name, type: 'gauge', value: 1, tags: { host } }))))
  return (await store.readMetric(PROJECT, name))!
}

const hostsOf = (list: SeriesList) => list.rows.map(({ tags }) => tagValueOrEmpty(tags, 'host'))

describe('SeriesIndex', () => {
  it('fetches only new series and keeps ordinals', async () => {
    const metric = await addSeries('cpu', 'a', 'b')
    const index = new SeriesCache(faulty.store, 1_000)
    const list = await index.sync(metric)
    expect(hostsOf(list)).toEqual(['a', 'b'])
    const ordinals = list.rows.map(({ seriesId: { hi, lo } }) => list.ordinal(hi, lo))
    expect(ordinals).toEqual([0, 1])
    await addSeries('cpu', 'c', 'a')
    expect(await index.sync(metric)).toBe(list)
    expect(hostsOf(list)).toEqual(['a', 'b', 'c'])
    expect(list.rows.map(({ seriesId: { hi, lo } }) => list.ordinal(hi, lo))).toEqual([0, 1, 2])
    expect(faulty.calls('readSeries').map(([, , cursor]) => cursor)).toEqual([0, 2])
  })

  it('fetches the list again after the store lost writes', async () => {
    const metric = await addSeries('cpu', 'a', 'b')
    const index = new SeriesCache(faulty.store, 1_000)
    const before = await index.sync(metric)
    faulty.next('readSeries', respondWith(undefined))
    const after = await index.sync(metric)
    expect(after).not.toBe(before)
    expect(hostsOf(after)).toEqual(['a', 'b'])
    expect(await index.sync(metric)).toBe(after)
  })

  it('caches recently used lists, bounded by their total number of series', async () => {
    const cpu = await addSeries('cpu', 'a', 'b')
    const disk = await addSeries('disk', 'a', 'b')
    const net = await addSeries('net', 'a')
    const index = new SeriesCache(faulty.store, 4)
    const first = await index.sync(cpu)
    const second = await index.sync(disk)
    expect(await index.sync(cpu)).toBe(first)
    await index.sync(net)
    expect(await index.sync(cpu)).toBe(first)
    expect(await index.sync(disk)).not.toBe(second)
  })

  it('lists each series once if two queries fetch at the same time', async () => {
    const metric = await addSeries('cpu', 'a', 'b')
    const index = new SeriesCache(store, 1_000)
    await index.sync(metric)
    await addSeries('cpu', 'c', 'd')
    const lists = await Promise.all([index.sync(metric), index.sync(metric), index.sync(metric)])
    for (const list of lists) expect(hostsOf(list)).toEqual(['a', 'b', 'c', 'd'])
  })

  it.each([
    ['drop', (index: SeriesCache, metric: MetricRow) => index.drop(metric)],
    ['clear', (index: SeriesCache) => index.clear()],
  ])('caches no list again that was dropped while it was fetched (%s)', async (_, drop) => {
    const metric = await addSeries('cpu', 'a', 'b')
    const index = new SeriesCache(faulty.store, 1_000)
    for (const isFirst of [true, false]) {
      const before = isFirst ? undefined : await index.sync(metric)
      const reading = gate()
      faulty.next('readSeries', async (proceed) => {
        const page = await proceed()
        await reading.fault(async () => undefined)
        return page
      })
      const after = index.sync(metric)
      await reading.reached
      drop(index, metric)
      reading.open()
      expect(await after).not.toBe(before)
      expect(hostsOf(await after)).toEqual(['a', 'b'])
      expect(await index.sync(metric)).toBe(await after)
      expect(faulty.calls('readSeries').length).toBe(isFirst ? 3 : 3 + 4)
    }
  })

  it('passes on an error of the store and recovers afterwards', async () => {
    const metric = await addSeries('cpu', 'a')
    const index = new SeriesCache(faulty.store, 1_000)
    faulty.next('readSeries', lostRequest)
    await expect(index.sync(metric)).rejects.toBeInstanceOf(GatewayError)
    expect(hostsOf(await index.sync(metric))).toEqual(['a'])
  })
})

describe('SeriesList', () => {
  it('distinguishes series that share half of their id', () => {
    const list = new SeriesList({ hi: 1, lo: 1 })
    const ids = [
      { hi: 5, lo: 1 },
      { hi: 5, lo: 2 },
      { hi: 5, lo: 3 },
      { hi: 6, lo: 1 },
    ]
    list.append(ids.map((seriesId): SeriesRow => ({ seriesId, tags: [] })))
    expect(ids.map(({ hi, lo }) => list.ordinal(hi, lo))).toEqual([0, 1, 2, 3])
    expect([list.ordinal(5, 4), list.ordinal(6, 2), list.ordinal(7, 1)]).toEqual([-1, -1, -1])
  })
})

describe('groupSeries', () => {
  const list = new SeriesList({ hi: 1, lo: 1 })
  const rows: [string, string][][] = [
    [
      ['host', 'a'],
      ['zone', 'x'],
    ],
    [
      ['host', 'b'],
      ['zone', 'x'],
    ],
    [
      ['host', 'a,b'],
      ['zone', 'y'],
    ],
    [['zone', 'x']],
    [['host', '__proto__']],
  ]
  list.append(rows.map((tags, i): SeriesRow => ({ seriesId: { hi: 0, lo: i }, tags })))
  const ALL = { filter: undefined, groupBy: [], bySeries: false }
  type Request = Parameters<typeof groupSeriesInSteps>[1]
  const groupSeries = (from: SeriesList, request: Request) => runAtOnce(groupSeriesInSteps(from, request))
  const groupingFor = (from: SeriesList, key: string, request: Request) => runAtOnce(from.groupingFor(key, request))

  it('puts all series into one group by default', () => {
    const { groupOfSeries, groups, matchedSeriesCount } = groupSeries(list, ALL)
    expect([...groupOfSeries]).toEqual([0, 0, 0, 0, 0])
    expect(groups).toEqual([{ tags: [], series: undefined }])
    expect(matchedSeriesCount).toBe(5)
  })

  it('groups by the values of tags, a missing one equal to an empty one', () => {
    const { groupOfSeries, groups } = groupSeries(list, { ...ALL, groupBy: ['host'] })
    expect([...groupOfSeries]).toEqual([0, 1, 2, 3, 4])
    expect(groups.map(({ tags }) => tags[0]![1])).toEqual(['a', 'b', 'a,b', '', '__proto__'])
    const byZone = groupSeries(list, { ...ALL, groupBy: ['zone'] })
    expect([...byZone.groupOfSeries]).toEqual([0, 0, 1, 0, 2])
    const byBoth = groupSeries(list, { ...ALL, groupBy: ['zone', 'host'] })
    expect(byBoth.groups[0]!.tags).toEqual([
      ['zone', 'x'],
      ['host', 'a'],
    ])
  })

  it('leaves out series that do not match the filter', () => {
    const filter: SeriesFilter = (tags) => tagValueOrEmpty(tags, 'zone') === 'x'
    const { groupOfSeries, groups, matchedSeriesCount } = groupSeries(list, { ...ALL, filter, groupBy: ['host'] })
    expect([...groupOfSeries]).toEqual([0, 1, -1, 2, -1])
    expect(groups).toHaveLength(3)
    expect(matchedSeriesCount).toBe(3)
  })

  it('caches groupings until a series is added', () => {
    const own = new SeriesList({ hi: 1, lo: 2 })
    own.append(rows.map((tags, i): SeriesRow => ({ seriesId: { hi: 0, lo: i }, tags })))
    const first = groupingFor(own, 'all', ALL)
    expect(groupingFor(own, 'all', ALL)).toBe(first)
    expect(groupingFor(own, 'by host', { ...ALL, groupBy: ['host'] }).groups).toHaveLength(5)
    own.append([])
    expect(groupingFor(own, 'all', ALL)).toBe(first)
    own.append([{ seriesId: { hi: 9, lo: 9 }, tags: [] }])
    expect(groupingFor(own, 'all', ALL)).toMatchObject({
      matchedSeriesCount: 6,
      idRange: { from: { hi: 0, lo: 0 }, to: { hi: 9, lo: 9 } },
    })
    // The most recently used.
    for (let i = 0; i < 20; i++) groupingFor(own, `other ${i}`, ALL)
    const last = groupingFor(own, 'other 19', ALL)
    expect(groupingFor(own, 'other 19', ALL)).toBe(last)
  })

  it('makes a group of each series', () => {
    const filter: SeriesFilter = (tags) => tagValueOrEmpty(tags, 'zone') === 'x'
    const { groupOfSeries, groups } = groupSeries(list, { ...ALL, filter, bySeries: true })
    expect([...groupOfSeries]).toEqual([0, 1, -1, 2, -1])
    expect(groups[2]).toEqual({ tags: rows[3], series: { seriesId: { hi: 0, lo: 3 }, tags: rows[3] } })
  })

  it('takes many steps for many series, and does not cache a grouping that lacks a series', () => {
    const long = new SeriesList({ hi: 1, lo: 3 })
    const rowOf = (i: number): SeriesRow => ({ seriesId: { hi: 1, lo: i }, tags: [['host', `h${i % 10}`]] })
    long.append(Array.from({ length: 20_000 }, (_, i) => rowOf(i)))
    const request = { ...ALL, groupBy: ['host'] }
    const steps = long.groupingFor('by host', request)
    let stepCount = 0
    for (; steps.next().done !== true; stepCount++) if (stepCount === 5) long.append([rowOf(20_000)])
    expect(stepCount).toBeGreaterThan(10)
    expect(groupingFor(long, 'by host', request)).toMatchObject({ matchedSeriesCount: 20_001 })
    expect(groupingFor(long, 'by host', request)).toBe(groupingFor(long, 'by host', request))
  })
})
