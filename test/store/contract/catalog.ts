import { describe, expect, test } from 'vitest'
import { type CanonicalTags, seriesIdOf } from '../../../src/model/series.ts'
import type { Store } from '../../../src/store/store.ts'
import { listAll } from '../../support/list-metrics.ts'
import { commit, metricOf, NOW, namesOf, type Openers, only, part, seriesTouch, touch } from './fixtures.ts'

export function describeCatalog(name: string, { openedStore, openStore }: Openers): void {
  describe(`${name}: catalog`, () => {
    test('a metric that is defined can be read, without points', async () => {
      const store = await openStore()
      const metric = metricOf('latency', { unit: 'ms', description: 'of a request' })
      const [row] = await store.defineMetrics([metric.definition])
      expect(row).toEqual({
        ...metric.definition,
        generation: 1,
        metricId: metric.metricId,
        partition: metric.partition,
        points: 0,
        firstSeenMs: undefined,
        lastSeenMs: undefined,
        tagKeys: [],
        seriesCount: 0,
        cumulative: false,
      })
      expect(await store.readMetric('shop', 'latency')).toEqual(row)
      expect(await store.readMetric('other', 'latency')).toBeUndefined()
      expect(await store.readMetric('shop', 'latenc')).toBeUndefined()
    })

    test('a name that is not well-formed Unicode finds no metric', async () => {
      const store = await openStore()
      await store.defineMetrics([metricOf('\ufffd').definition])
      expect(await store.readMetric('shop', '\ufffd')).toMatchObject({ name: '\ufffd' })
      expect(await store.readMetric('shop', '\ud800')).toBeUndefined()
    })

    test('the first definition of a name wins, also among concurrent ones', async () => {
      const store = await openStore()
      const types = ['gauge', 'counter', 'set'] as const
      const definitions = await Promise.all(
        types.map((type) => store.defineMetrics([{ project: 'shop', name: 'm', type }])),
      )
      const standing = new Set(definitions.map(([row]) => row!.type))
      expect(standing.size).toBe(1)
      expect((await store.readMetric('shop', 'm'))!.type).toBe([...standing][0])
    })

    test('definitions return rows in the order of the request, also for a name that occurs twice', async () => {
      const store = await openStore()
      const rows = await store.defineMetrics([
        { project: 'shop', name: 'b', type: 'gauge' },
        { project: 'shop', name: 'a', type: 'counter' },
        { project: 'shop', name: 'b', type: 'set' },
      ])
      expect(rows.map((row) => [row.name, row.type])).toEqual([
        ['b', 'gauge'],
        ['a', 'counter'],
        ['b', 'gauge'],
      ])
    })

    test('any name works, and names are listed by code units once they have points', async () => {
      const store = await openStore()
      const names = [
        'b',
        'a',
        'B',
        'a\u0000b',
        'ä',
        'batch',
        '__proto__',
        '\ud83d\ude00',
        '\uff5e',
        '\ue000',
        '\uffff',
        '\u{10ffff}',
        '\u{10ffff}\u0000',
        '\u{10ffff}\ue000',
        '\u{10fffe}\uffff',
        '\uffff\u{10ffff}',
        'a\ud7ff',
        'a\u{10000}',
        'a\uffffb',
        'a b',
        'x'.repeat(255),
      ]
      for (const [i, name] of names.entries()) {
        const metric = metricOf(name)
        const number = names.slice(0, i).filter((other) => metricOf(other).partition === metric.partition).length + 1
        await store.append([commit(metric.partition, number, part({ metrics: [touch(metric)] }))])
      }
      await store.defineMetrics([{ project: 'shop', name: 'empty', type: 'gauge' }])
      const sorted = [...names].sort((a, b) => (a < b ? -1 : 1))
      expect((await listAll(store, 'shop')).map((row) => row.name)).toEqual(sorted)
      expect((await listAll(store, 'shop', { after: 'a' })).map((row) => row.name)).toEqual(
        sorted.filter((other) => other > 'a'),
      )
      expect((await listAll(store, 'shop', { after: 'aa' })).map((row) => row.name)).toEqual(
        sorted.filter((other) => other > 'aa'),
      )
      expect(await listAll(store, 'other')).toEqual([])
    })

    test('a page of metrics examines at most `namesMax` names and returns the cursor of the next', async () => {
      const store = await openStore()
      const names = Array.from({ length: 60 }, (_, i) => `m${i + 100}`)
      const numbers = new Map<number, number>()
      for (const name of [...names, 'gone']) {
        const metric = metricOf(name)
        const number = (numbers.get(metric.partition) ?? 0) + 1
        numbers.set(metric.partition, number)
        await store.append([commit(metric.partition, number, part({ metrics: [touch(metric)] }))])
      }
      await store.deleteMetric({ project: 'shop', name: 'gone', generation: 1 })
      const { metrics, next } = await store.listMetrics('shop', { namesMax: 10 })
      expect(metrics.map((row) => row.name)).toEqual(names.slice(0, 10))
      expect(next).toBe(names[9])
      for (const namesMax of [1, 7, 59, 60, 61]) {
        expect((await listAll(store, 'shop', { namesMax })).map((row) => row.name)).toEqual(names)
      }
      const seen: string[] = []
      const matches = (name: string): boolean => {
        seen.push(name)
        return name.endsWith('7')
      }
      const page = await store.listMetrics('shop', { namesMax: 10, after: 'm109', matches })
      expect(page.metrics.map((row) => row.name)).toEqual(['m117'])
      expect(seen).toEqual(names.slice(10, 20))
      expect(page.next).toBe('m119')
      expect(await store.listMetrics('shop', { namesMax: 10, after: 'm159' })).toEqual({ metrics: [], next: undefined })
    })

    test('points add up, first and last seen span all points, cumulative stays', async () => {
      const store = await openStore()
      const metric = metricOf('requests', { type: 'counter' })
      const touches = [
        touch(metric, { points: 2, firstMs: NOW - 5, lastMs: NOW + 5 }),
        touch(metric, { points: 3, firstMs: NOW - 9, lastMs: NOW - 8, cumulative: true }),
        touch(metric, { points: 1, firstMs: NOW, lastMs: NOW + 7 }),
      ]
      // Two touches of one commit and one of the next.
      await store.append([
        commit(metric.partition, 1, part({ metrics: [touches[0]!] }), part({ metrics: [touches[1]!] })),
      ])
      await store.append([commit(metric.partition, 2, part({ metrics: [touches[2]!] }))])
      expect(await store.readMetric('shop', 'requests')).toMatchObject({
        points: 6,
        firstSeenMs: NOW - 9,
        lastSeenMs: NOW + 7,
        cumulative: true,
      })
    })

    test('series are listed in the order they were registered, each once, with the keys of their tags sorted', async () => {
      const store = await openStore()
      const metric = metricOf('cpu')
      const { partition, metricId } = metric
      const tags: CanonicalTags[] = [
        [['zone', 'b']],
        [
          ['host', 'x'],
          ['zone', 'a'],
        ],
        [],
      ]
      const series = tags.map((tag) => seriesTouch(metric, tag))
      await store.append([commit(partition, 1, part({ metrics: [touch(metric)], series: [series[0]!, series[0]!] }))])
      const rest = part({ metrics: [touch(metric)], series: [series[1]!, series[0]!] })
      await store.append([
        commit(partition, 2, rest, part({ metrics: [touch(metric)], series: [series[2]!, series[1]!] })),
      ])
      const rows = series.map(({ seriesId, tags: seriesTags }) => ({ seriesId, tags: seriesTags }))
      expect(await store.readSeries(partition, metricId, 0, 10)).toEqual(rows)
      expect(await store.readSeries(partition, metricId, 0, 2)).toEqual(rows.slice(0, 2))
      expect(await store.readSeries(partition, metricId, 1, 10)).toEqual(rows.slice(1))
      expect(await store.readSeries(partition, metricId, 3, 10)).toEqual([])
      expect(await store.readMetric('shop', 'cpu')).toMatchObject({ seriesCount: 3, tagKeys: ['host', 'zone'] })
      const unknown = seriesIdOf(metricId, [['host', 'y']])
      expect(await store.hasSeries(partition, metricId, [unknown, series[1]!.seriesId, series[0]!.seriesId])).toEqual([
        false,
        true,
        true,
      ])
    })

    test('a page of series begins and ends anywhere, however many series a commit adds', async () => {
      const opened = await openedStore()
      const metric = metricOf('cpu')
      const other = namesOf(metric.partition, 'other')
      const { partition, metricId } = metric
      const series = Array.from({ length: 150 }, (_, i) => seriesTouch(metric, [['host', `${i}`.repeat(i)]]))
      const others = Array.from({ length: 40 }, (_, i) => seriesTouch(other, [['host', `${i}`]]))
      const ends = [0, 90, 91, 100, 150]
      const metrics = [touch(metric), touch(other)]
      for (const [i, from] of ends.slice(0, -1).entries()) {
        const added = [...others.slice(i * 10, i * 10 + 10), ...series.slice(from, ends[i + 1])]
        await opened.store.append([commit(partition, i + 1, part({ metrics, series: added }))])
      }
      const rows = series.map(({ seriesId, tags }) => ({ seriesId, tags }))
      const check = async (store: Store): Promise<void> => {
        for (let cursor = 0; cursor <= 150; cursor += 3) {
          for (const limit of [1, 20, 150])
            expect(await store.readSeries(partition, metricId, cursor, limit)).toEqual(
              rows.slice(cursor, cursor + limit),
            )
        }
        expect(await store.readSeries(partition, metricId, 151, 1)).toBeUndefined()
        const ids = [...series, ...others].map(({ seriesId }) => seriesId)
        expect(await store.hasSeries(partition, metricId, ids)).toEqual(ids.map((_, i) => i < 150))
      }
      await check(opened.store)
      const reopened = await opened.reopen()
      await check(reopened)
      // All are known, and their tags are compared with the stored ones.
      await reopened.append([commit(partition, 5, part({ metrics, series: [...series].reverse() }))])
      await check(reopened)
      const retagged = { ...series[120]!, tags: series[121]!.tags }
      const conflict = { status: 'conflict', metricIds: [metricId], deleted: [] }
      expect(
        await only(reopened.append([commit(partition, 6, part({ metrics, series: [series[0]!, retagged] }))])),
      ).toEqual(conflict)
    })

    test('a cursor beyond the end of the series returns undefined', async () => {
      const store = await openStore()
      const metric = metricOf('cpu')
      const { partition, metricId } = metric
      expect(await store.readSeries(partition, metricId, 0, 10)).toEqual([])
      expect(await store.readSeries(partition, metricId, 1, 10)).toBeUndefined()
      await store.append([commit(partition, 1, part({ metrics: [touch(metric)], series: [seriesTouch(metric, [])] }))])
      expect(await store.readSeries(partition, metricId, 1, 10)).toEqual([])
      expect(await store.readSeries(partition, metricId, 2, 10)).toBeUndefined()
    })
  })

  describe(`${name}: many metrics`, () => {
    test('rows by name come in the order of the request, undefined for an unknown name', async () => {
      const store = await openStore()
      const names = Array.from({ length: 250 }, (_, i) => `m${i}`)
      await store.defineMetrics(names.map((metric) => metricOf(metric).definition))
      const asked = [...names, 'absent'].reverse()
      const rows = await store.readMetrics('shop', asked)
      expect(rows.map((row) => row?.name)).toEqual([undefined, ...names.toReversed()])
      expect(await store.readMetrics('other', ['m0'])).toEqual([undefined])
    })

    test('the count of metrics follows definitions and deletions, and is right after reopening', async () => {
      const opened = await openedStore()
      const { store } = opened
      expect(await store.countMetrics('shop')).toBe(0)
      await store.defineMetrics(['a', 'b', 'a', 'c'].map((metric) => metricOf(metric).definition))
      await store.defineMetrics([metricOf('c', { type: 'set' }).definition, metricOf('a', { project: 'b' }).definition])
      expect(await store.countMetrics('shop')).toBe(3)
      await store.deleteMetric({ project: 'shop', name: 'b', generation: 1 })
      await store.deleteMetric({ project: 'shop', name: 'b', generation: 1 })
      expect(await store.countMetrics('shop')).toBe(2)
      // A commit defines a metric that the store does not have.
      const made = metricOf('made')
      await store.append([commit(made.partition, 1, part({ metrics: [touch(made)] }))])
      await store.append([commit(made.partition, 2, part({ metrics: [touch(made)] }))])
      expect(await store.countMetrics('shop')).toBe(3)
      expect(await (await opened.reopen()).countMetrics('shop')).toBe(3)
    })

    test('tag keys are returned sorted, whatever their number and order of arrival', async () => {
      const opened = await openedStore()
      const { store } = opened
      const metric = metricOf('many-keys')
      const touches = (number: number, keys: readonly string[]) =>
        store.append([
          commit(
            metric.partition,
            number,
            part({
              metrics: [touch(metric)],
              series: keys.map((key) => seriesTouch(metric, [[key, 'v']])),
            }),
          ),
        ])
      const keys = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `key ${1_000 + from + i}`)
      await touches(1, keys(0, 5))
      await touches(2, keys(3, 16))
      expect((await store.readMetric('shop', 'many-keys'))?.tagKeys).toEqual(keys(0, 16))
      await touches(3, keys(10, 200).reverse())
      await touches(4, keys(100, 201))
      const [row] = await store.readMetrics('shop', ['many-keys'])
      expect(row?.tagKeys).toEqual(keys(0, 201))
      expect(row?.seriesCount).toBe(201)
      expect((await listAll(store, 'shop')).map(({ tagKeys }) => tagKeys)).toEqual([keys(0, 201)])
      expect((await (await opened.reopen()).readMetric('shop', 'many-keys'))?.tagKeys).toEqual(keys(0, 201))
    })

    test('rows are whole, also of many metrics with a thousand tag keys each', async () => {
      const store = await openStore()
      const tags = Array.from({ length: 1_000 }, (_, i) => [`key ${1_000 + i}`, 'v'] as const)
      const metrics = Array.from({ length: 12 }, (_, i) => namesOf(1, `m${i}-`))
      const touches = metrics.map((metric) => touch(metric))
      const series = metrics.map((metric) => seriesTouch(metric, tags))
      await store.append([commit(1, 1, part({ metrics: touches, series }))])
      const names = metrics.map(({ definition }) => definition.name)
      const rows = await store.readMetrics('shop', [...names, 'absent'])
      expect(rows.map((row) => row?.name)).toEqual([...names, undefined])
      for (const row of rows.slice(0, -1)) expect(row?.tagKeys).toEqual(tags.map(([key]) => key))
    })
  })
}
