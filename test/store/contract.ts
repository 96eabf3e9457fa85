import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { compareIds, formatId, type Id64 } from '../../src/model/id.ts'
import { metricIdOf, partitionOf } from '../../src/model/metric.ts'
import { type CanonicalTags, seriesIdOf } from '../../src/model/series.ts'
import {
  type AppendOutcome,
  type Commit,
  type CommitPart,
  type IndexEntry,
  type MetricDefinition,
  type MetricTouch,
  type NamedBlock,
  type Receipt,
  type Store,
  type StoredEvent,
  type TimelineIndex,
  type Unlisted,
  windowWidthMs,
} from '../../src/store/store.ts'
import { listAll } from '../support/list-metrics.ts'

/**
 * The promises of `src/store/store.ts` as tests, for every store alike. A store is opened empty with the shape below; `reopen`
 * closes it and opens it again with what it kept.
 */
export interface OpenedStore {
  readonly store: Store
  reopen(): Promise<Store>
  /** Everything it holds, a line each without values; closes it. */
  contents(): Promise<readonly string[]>
  /** Closes the store that is open now and removes what it kept. */
  dispose(): Promise<void>
}

export const PARTITIONS = 4
export const SECONDS_10 = 10_000
export const MINUTE = 60_000
export const HOUR = 3_600_000
export const DAY = 86_400_000
export const RESOLUTION_STEPS = [SECONDS_10, MINUTE, HOUR] as const
export const SET_RESOLUTION_STEPS = [MINUTE, HOUR] as const
export const RECEIPTS_MAX = 3
/** Room for three of the smallest and, alone, for any. */
export const RECEIPTS_BYTES_MAX = 1_000

const WRITER = '0123456789abcdef0123456789abcdef'
const OTHER_WRITER = 'fedcba9876543210fedcba9876543210'
/** An ordinary time, on the edge of a window of each resolution. */
const NOW = Math.ceil(1_700_000_000_000 / (360 * HOUR)) * 360 * HOUR

interface Metric {
  readonly definition: MetricDefinition
  readonly metricId: Id64
  readonly partition: number
}

function metricOf(name: string, options: Partial<MetricDefinition> = {}, generation = 1): Metric {
  const definition: MetricDefinition = { project: 'shop', name, type: 'gauge', ...options }
  const { project } = definition
  return {
    definition,
    metricId: metricIdOf(project, name, generation),
    partition: partitionOf(project, name, PARTITIONS),
  }
}

function touch(metric: Metric, options: Partial<MetricTouch> = {}): MetricTouch {
  const { metricId, definition } = metric
  return { metricId, generation: 1, definition, points: 1, firstMs: NOW, lastMs: NOW, cumulative: false, ...options }
}

function seriesTouch(metric: Metric, tags: CanonicalTags) {
  return { metricId: metric.metricId, seriesId: seriesIdOf(metric.metricId, tags), tags }
}

function part(options: Partial<CommitPart> = {}): CommitPart {
  return { metrics: [], series: [], members: [], events: [], nowMs: NOW, ...options }
}

let blocksNamed = 0

function block(bytes = 10, sketchBytes?: number): NamedBlock {
  const name = `block-${++blocksNamed}`
  return {
    name,
    scalars: new Uint8Array(bytes).fill(blocksNamed),
    sketches: sketchBytes === undefined ? undefined : new Uint8Array(sketchBytes).fill(blocksNamed + 1),
  }
}

function commit(partition: number, number: number, ...parts: readonly CommitPart[]): Commit {
  return { partition, writer: WRITER, number, parts }
}

function entryOf(name: string, windowMs: number, options: Partial<IndexEntry> = {}): IndexEntry {
  return {
    block: name,
    windowMs,
    tier: 0,
    order: 1,
    seriesFrom: { hi: 1, lo: 2 },
    seriesTo: { hi: 0xffffffff, lo: 0xfffffffe },
    rollups: 7,
    scalarBytes: 10,
    sketchBytes: 0,
    ...options,
  }
}

/** A metric of this partition whose name begins so. */
function namesOf(partition: number, beginning: string): Metric {
  for (let i = 0; ; i++) {
    const metric = metricOf(`${beginning}${i}`)
    if (metric.partition === partition) return metric
  }
}

const ALWAYS = { fromMs: NOW - 1_000 * DAY, toMs: NOW + 1_000 * DAY }

async function only(outcomes: Promise<readonly AppendOutcome[]>): Promise<AppendOutcome> {
  const answered = await outcomes
  expect(answered).toHaveLength(1)
  return answered[0]!
}

async function timeline(store: Store, metric: Metric, resolutionMs: number, stretch = ALWAYS): Promise<TimelineIndex> {
  const { partition, metricId } = metric
  const index = await store.readIndex({ partition, metricId, timelines: [{ resolutionMs, stretch }], inbox: false })
  return index.timelines[0]!
}

async function blocksOf(store: Store, metric: Metric, resolutionMs: number): Promise<string[]> {
  return (await timeline(store, metric, resolutionMs)).entries.map((entry) => entry.block)
}

async function exists(store: Store, partition: number, name: string): Promise<boolean> {
  const [bytes] = await store.readBlocks(partition, [name], 'scalars')
  return bytes !== undefined
}

/** A block in one window of a timeline, by way of a fold. */
async function list(
  store: Store,
  metric: Metric,
  resolutionMs: number,
  windowMs: number,
  options: { readonly expiresMs?: number; readonly nowMs?: number; readonly entry?: Partial<IndexEntry> } = {},
): Promise<IndexEntry> {
  const { partition, metricId } = metric
  const nowMs = options.nowMs ?? NOW
  const written = block()
  const entry = entryOf(written.name, windowMs, options.entry)
  await store.writeBlocks(partition, [written], nowMs)
  const listed = await store.commitFold({
    partition,
    inbox: [],
    removed: [],
    added: [{ timeline: { metricId, resolutionMs }, entry }],
    touched: [{ metricId, resolutionMs, windowMs, expiresMs: options.expiresMs ?? nowMs + DAY }],
    nowMs,
  })
  expect(listed).toBe(true)
  return entry
}

export function describeStore(name: string, openEmpty: () => Promise<OpenedStore>): void {
  async function openedStore(): Promise<OpenedStore> {
    const opened = await openEmpty()
    onTestFinished(() => opened.dispose())
    return opened
  }
  async function openStore(): Promise<Store> {
    return (await openedStore()).store
  }

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

    test('no metric has a name that is no Unicode, not even the one that UTF-8 makes of it', async () => {
      const store = await openStore()
      await store.defineMetrics([metricOf('\ufffd').definition])
      expect(await store.readMetric('shop', '\ufffd')).toMatchObject({ name: '\ufffd' })
      expect(await store.readMetric('shop', '\ud800')).toBeUndefined()
    })

    test('the first definition of a name wins, also among concurrent ones', async () => {
      const store = await openStore()
      const types = ['gauge', 'counter', 'set'] as const
      const answers = await Promise.all(
        types.map((type) => store.defineMetrics([{ project: 'shop', name: 'm', type }])),
      )
      const standing = new Set(answers.map(([row]) => row!.type))
      expect(standing.size).toBe(1)
      expect((await store.readMetric('shop', 'm'))!.type).toBe([...standing][0])
    })

    test('definitions are answered in the order asked, a name asked twice with the row it got first', async () => {
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

    test('a page of metrics looks at so many names and says where to go on', async () => {
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
      const series = tags.map((of) => seriesTouch(metric, of))
      await store.append([commit(partition, 1, part({ metrics: [touch(metric)], series: [series[0]!, series[0]!] }))])
      const rest = part({ metrics: [touch(metric)], series: [series[1]!, series[0]!] })
      await store.append([
        commit(partition, 2, rest, part({ metrics: [touch(metric)], series: [series[2]!, series[1]!] })),
      ])
      const rows = series.map(({ seriesId, tags: of }) => ({ seriesId, tags: of }))
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

    test('a cursor beyond the end of the series says that the store went back in time', async () => {
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
    test('rows by name come in the order asked, with a gap for a name that nothing has', async () => {
      const store = await openStore()
      const names = Array.from({ length: 250 }, (_, i) => `m${i}`)
      await store.defineMetrics(names.map((metric) => metricOf(metric).definition))
      const asked = [...names, 'absent'].reverse()
      const rows = await store.readMetrics('shop', asked)
      expect(rows.map((row) => row?.name)).toEqual([undefined, ...names.toReversed()])
      expect(await store.readMetrics('other', ['m0'])).toEqual([undefined])
    })

    test('metrics are counted as they are defined and deleted, also by a store that is opened again', async () => {
      const opened = await openedStore()
      const { store } = opened
      expect(await store.countMetrics('shop')).toBe(0)
      await store.defineMetrics(['a', 'b', 'a', 'c'].map((metric) => metricOf(metric).definition))
      await store.defineMetrics([metricOf('c', { type: 'set' }).definition, metricOf('a', { project: 'b' }).definition])
      expect(await store.countMetrics('shop')).toBe(3)
      await store.deleteMetric({ project: 'shop', name: 'b', generation: 1 })
      await store.deleteMetric({ project: 'shop', name: 'b', generation: 1 })
      expect(await store.countMetrics('shop')).toBe(2)
      // A commit makes what the store has forgotten.
      const made = metricOf('made')
      await store.append([commit(made.partition, 1, part({ metrics: [touch(made)] }))])
      await store.append([commit(made.partition, 2, part({ metrics: [touch(made)] }))])
      expect(await store.countMetrics('shop')).toBe(3)
      expect(await (await opened.reopen()).countMetrics('shop')).toBe(3)
    })

    test('tag keys are told sorted, however many there are and however they came', async () => {
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
  })

  describe(`${name}: append`, () => {
    test('numbers are applied one after the other: a smaller one is known, a greater one a gap', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      const { partition } = metric
      const counted = part({ metrics: [touch(metric)], block: block() })
      expect(await only(store.append([commit(partition, 2, counted)]))).toEqual({ status: 'gap', watermark: 0 })
      expect(await store.readMetric('shop', 'm')).toBeUndefined()
      expect(await only(store.append([commit(partition, 1, counted)]))).toEqual({ status: 'applied', skipped: [] })
      expect(await only(store.append([commit(partition, 1, counted)]))).toEqual({ status: 'known' })
      expect(await only(store.append([commit(partition, 3, counted)]))).toEqual({ status: 'gap', watermark: 1 })
      expect(await store.readMetric('shop', 'm')).toMatchObject({ points: 1 })
      expect((await store.inboxSize(partition)).entries).toBe(1)
      expect(await only(store.append([commit(partition, 2)]))).toMatchObject({ status: 'applied' })
      expect(await store.readWatermarks(WRITER, [partition, (partition + 1) % PARTITIONS])).toEqual([2, 0])
      expect(await store.readWatermarks(OTHER_WRITER, [partition])).toEqual([0])
    })

    test('a fence takes a number, so that the commit it replaces is known', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      const { partition } = metric
      expect(await only(store.append([commit(partition, 1)]))).toEqual({ status: 'applied', skipped: [] })
      const late = commit(partition, 1, part({ metrics: [touch(metric)], block: block() }))
      expect(await only(store.append([late]))).toEqual({ status: 'known' })
      expect(await store.inboxSize(partition)).toEqual({ entries: 0, bytes: 0 })
      expect(await store.readMetric('shop', 'm')).toBeUndefined()
    })

    test('the commits of a round are answered one by one, in the order given', async () => {
      const store = await openStore()
      await store.append([commit(2, 1)])
      const round = [commit(3, 1, part({ block: block(5) })), commit(2, 1), commit(0, 4), commit(1, 1)]
      expect(await store.append(round)).toEqual([
        { status: 'applied', skipped: [] },
        { status: 'known' },
        { status: 'gap', watermark: 0 },
        { status: 'applied', skipped: [] },
      ])
      expect(await store.readWatermarks(WRITER, [0, 1, 2, 3])).toEqual([0, 1, 1, 1])
      expect(await store.inboxSize(3)).toEqual({ entries: 1, bytes: 5 })
    })

    test('writers are numbered apart', async () => {
      const store = await openStore()
      await store.append([commit(0, 1)])
      expect(await only(store.append([{ ...commit(0, 1), writer: OTHER_WRITER }]))).toMatchObject({ status: 'applied' })
    })

    test('a metric that exists with another type is a conflict that changes nothing', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      const { partition } = metric
      await store.defineMetrics([metric.definition])
      const clash = metricOf('m', { type: 'counter' })
      const members = [{ metricId: metric.metricId, seriesId: { hi: 0, lo: 1 }, bucketMs: NOW, members: ['a'] }]
      const event: StoredEvent = { project: 'shop', id: 'e', timeMs: NOW, json: '{}' }
      const parts = [
        part({ block: block(), members, events: [event], marker: { project: 'shop', key: 'k' } }),
        part({ metrics: [touch(clash)], series: [seriesTouch(clash, [['a', 'b']])] }),
      ]
      expect(await only(store.append([commit(partition, 1, ...parts)]))).toEqual({
        status: 'conflict',
        metricIds: [metric.metricId],
        deleted: [],
      })
      expect(await store.readWatermarks(WRITER, [partition])).toEqual([0])
      expect(await store.inboxSize(partition)).toEqual({ entries: 0, bytes: 0 })
      expect(await exists(store, partition, parts[0]!.block!.name)).toBe(false)
      expect(await store.readSeries(partition, metric.metricId, 0, 10)).toEqual([])
      expect(await store.readEvents({ project: 'shop', fromMs: 0, toMs: NOW, limit: 10, bytesMax: 1e6 })).toEqual([])
      const key = { metricId: metric.metricId, seriesId: { hi: 0, lo: 1 }, resolutionMs: MINUTE, bucketMs: NOW }
      expect(await store.countDistinct(partition, [[key]])).toEqual([0])
      // The number and the marker are still free.
      const retried = commit(partition, 1, part({ marker: { project: 'shop', key: 'k' } }))
      expect(await only(store.append([retried]))).toEqual({ status: 'applied', skipped: [] })
    })

    test('an id that names another metric or another series is a conflict', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      const { partition } = metric
      await store.append([commit(partition, 1, part({ metrics: [touch(metric)], series: [seriesTouch(metric, [])] }))])
      const conflict = { status: 'conflict', metricIds: [metric.metricId], deleted: [] }
      const renamed = touch({ ...metric, definition: { ...metric.definition, name: 'n' } })
      expect(await only(store.append([commit(partition, 2, part({ metrics: [renamed] }))]))).toEqual(conflict)
      const retagged = { ...seriesTouch(metric, []), tags: [['a', 'b']] as CanonicalTags }
      const second = part({ metrics: [touch(metric)], series: [retagged] })
      expect(await only(store.append([commit(partition, 2, second)]))).toEqual(conflict)
      expect(await store.readMetric('shop', 'm')).toMatchObject({ points: 1, seriesCount: 1, tagKeys: [] })
    })

    test('a conflict in one partition leaves the other commits of the round alone', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      await store.defineMetrics([metric.definition])
      const clash = touch(metricOf('m', { type: 'set' }))
      const other = (metric.partition + 1) % PARTITIONS
      const outcomes = await store.append([
        commit(metric.partition, 1, part({ metrics: [clash] })),
        commit(other, 1, part({ block: block() })),
      ])
      expect(outcomes.map(({ status }) => status)).toEqual(['conflict', 'applied'])
      expect((await store.inboxSize(other)).entries).toBe(1)
    })

    test('a touch makes a metric that the store forgot, with its whole definition', async () => {
      const store = await openStore()
      const metric = metricOf('m', { unit: 's', description: 'd' })
      await store.append([commit(metric.partition, 1, part({ metrics: [touch(metric)] }))])
      expect(await store.readMetric('shop', 'm')).toMatchObject({ ...metric.definition, metricId: metric.metricId })
    })

    test('a part whose marker exists is skipped whole, and the number advances', async () => {
      const store = await openStore()
      const metric = metricOf('m', { type: 'set' })
      const { partition, metricId } = metric
      const seriesId = seriesIdOf(metricId, [])
      const marked = (key: string, id: string) =>
        part({
          marker: { project: 'shop', key },
          block: block(5),
          metrics: [touch(metric)],
          series: [seriesTouch(metric, [['id', id]])],
          members: [{ metricId, seriesId, bucketMs: NOW, members: [id] }],
          events: [{ project: 'shop', id, timeMs: NOW, json: '{}' }],
        })
      const first = commit(partition, 1, marked('k', 'a'))
      expect(await only(store.append([first]))).toEqual({ status: 'applied', skipped: [] })
      const second = commit(partition, 2, marked('other', 'b'), marked('k', 'c'), marked('other', 'd'))
      expect(await only(store.append([second]))).toEqual({ status: 'applied', skipped: [1, 2] })
      expect(await store.readMetric('shop', 'm')).toMatchObject({ points: 2, seriesCount: 2 })
      expect(await store.inboxSize(partition)).toEqual({ entries: 2, bytes: 10 })
      const events = await store.readEvents({ project: 'shop', fromMs: NOW, toMs: NOW, limit: 10, bytesMax: 1e6 })
      expect(events.map(({ id }) => id)).toEqual(['b', 'a'])
      const key = { metricId, seriesId, resolutionMs: MINUTE, bucketMs: NOW }
      expect(await store.countDistinct(partition, [[key]])).toEqual([2])
      expect(await store.readWatermarks(WRITER, [partition])).toEqual([2])
    })

    test('markers are of a project and a partition, and last 24 hours', async () => {
      const store = await openStore()
      const marked = (project: string, nowMs: number) => part({ marker: { project, key: 'k' }, nowMs })
      await store.append([commit(0, 1, marked('shop', NOW))])
      const other = [commit(0, 2, marked('other', NOW)), commit(1, 1, marked('shop', NOW))]
      expect(await store.append(other)).toEqual([
        { status: 'applied', skipped: [] },
        { status: 'applied', skipped: [] },
      ])
      const before = commit(0, 3, marked('shop', NOW + DAY - 1))
      expect(await only(store.append([before]))).toEqual({ status: 'applied', skipped: [0] })
      const marker = { project: 'shop', key: 'k' }
      expect(await store.readMarker(0, marker)).toBe(NOW)
      expect(await store.readMarker(2, marker)).toBeUndefined()
      expect(await store.readMarker(0, { project: 'shop', key: 'l' })).toBeUndefined()
      const after = commit(0, 4, marked('shop', NOW + DAY + 1))
      expect(await only(store.append([after]))).toEqual({ status: 'applied', skipped: [] })
      expect(await store.readMarker(0, marker)).toBe(NOW + DAY + 1)
    })

    test('watermarks are forgotten 7 days after the last commit', async () => {
      const store = await openStore()
      await store.append([commit(0, 1, part())])
      await store.append([commit(0, 2, part({ nowMs: NOW + DAY }))])
      await store.sweep(NOW + 8 * DAY - 1)
      expect(await store.readWatermarks(WRITER, [0])).toEqual([2])
      await store.sweep(NOW + 8 * DAY + 1)
      expect(await store.readWatermarks(WRITER, [0])).toEqual([0])
    })

    test('listeners are told of what was applied, later, and one that throws harms nobody', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      const { partition, metricId } = metric
      const heard: [number, readonly Id64[]][] = []
      let told: () => void = () => undefined
      const hearing = () =>
        new Promise<void>((resolve) => {
          told = resolve
        })
      store.onCommit(() => {
        throw new Error('of a listener')
      })
      const stop = store.onCommit((...of) => {
        heard.push(of)
        told()
      })
      let next = hearing()
      const marked = part({ marker: { project: 'shop', key: 'k' }, metrics: [touch(metric)] })
      await store.append([commit(partition, 1, marked)])
      await next
      expect(heard).toEqual([[partition, [metricId]]])
      // Known, and skipped: nothing to tell.
      await store.append([commit(partition, 1, marked)])
      await store.append([commit(partition, 2, marked)])
      next = hearing()
      await store.append([commit(partition, 3, part({ metrics: [touch(metric)] }))])
      await next
      expect(heard).toHaveLength(2)
      stop()
      await store.append([commit(partition, 4, part({ metrics: [touch(metric)] }))])
      await store.ping()
      expect(heard).toHaveLength(2)
    })
  })

  describe(`${name}: inbox and blocks`, () => {
    test('the inbox lists blocks in the order they arrived', async () => {
      const store = await openStore()
      const blocks = [block(10, 4), block(20), block(30, 6)]
      await store.append([
        commit(1, 1, part({ block: blocks[0]!, nowMs: NOW }), part({ block: blocks[1]!, nowMs: NOW + 1 })),
      ])
      await store.append([commit(1, 2, part({ block: blocks[2]!, nowMs: NOW + 2 }))])
      const inbox = await store.readInbox(1, 1_000)
      expect(inbox).toMatchObject([
        { block: blocks[0]!.name, scalarBytes: 10, sketchBytes: 4, arrivedMs: NOW },
        { block: blocks[1]!.name, scalarBytes: 20, sketchBytes: 0, arrivedMs: NOW + 1 },
        { block: blocks[2]!.name, scalarBytes: 30, sketchBytes: 6, arrivedMs: NOW + 2 },
      ])
      expect(inbox[0]!.order).toBeLessThan(inbox[1]!.order)
      expect(inbox[1]!.order).toBeLessThan(inbox[2]!.order)
      expect(await store.inboxSize(1)).toEqual({ entries: 3, bytes: 70 })
      expect(await store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
      expect(await store.readInbox(0, 1_000)).toEqual([])
    })

    test.each([
      [0, 1],
      [13, 1],
      [33, 1],
      [34, 2],
      [69, 2],
      [70, 3],
    ])('at most %i bytes of the inbox are %i entries, the first one always', async (bytesMax, entries) => {
      const store = await openStore()
      const parts = [block(10, 4), block(20), block(30, 6)].map((of) => part({ block: of }))
      await store.append([commit(1, 1, ...parts)])
      expect(await store.readInbox(1, bytesMax)).toHaveLength(entries)
    })

    test('a snapshot holds the inbox when asked', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      const { partition, metricId } = metric
      await store.append([commit(partition, 1, part({ block: block() }))])
      const request = { partition, metricId, timelines: [] }
      expect((await store.readIndex({ ...request, inbox: true })).inbox).toEqual(await store.readInbox(partition, 1e9))
      expect((await store.readIndex({ ...request, inbox: false })).inbox).toEqual([])
    })

    test('an inbox is read no further than some number of entries', async () => {
      const store = await openStore()
      await store.append([commit(1, 1, ...Array.from({ length: 300 }, () => part({ block: block() })))])
      for (const entriesMax of [1, 255, 256, 257, 300, 400])
        expect(await store.readInbox(1, 1e9, entriesMax)).toHaveLength(Math.min(300, entriesMax))
    })

    test('parts of blocks are read by name, in the order asked', async () => {
      const store = await openStore()
      const both = block(40_000, 3)
      const plain = block(0)
      await store.append([commit(1, 1, part({ block: both }), part({ block: plain }))])
      expect(await store.readBlocks(1, [plain.name, 'no-such-block', both.name], 'scalars')).toEqual([
        plain.scalars,
        undefined,
        both.scalars,
      ])
      expect(await store.readBlocks(1, [both.name, plain.name], 'sketches')).toEqual([both.sketches, undefined])
      expect(await store.readBlocks(0, [both.name], 'scalars')).toEqual([undefined])
    })

    test('what was read does not change with the next read', async () => {
      const store = await openStore()
      const blocks = [block(100), block(100), block(50_000), block(60_000)]
      await store.append([commit(1, 1, ...blocks.map((of) => part({ block: of })))])
      const read = []
      for (const { name: of } of blocks) read.push((await store.readBlocks(1, [of], 'scalars'))[0])
      expect(read).toEqual(blocks.map(({ scalars }) => scalars))
    })

    test('order numbers grow for ever, also after reopening with an empty inbox', async () => {
      const opened = await openedStore()
      await opened.store.append([commit(1, 1, part({ block: block() }), part({ block: block() }))])
      const inbox = await opened.store.readInbox(1, 1e9)
      const fold = { partition: 1, inbox, removed: [], added: [], touched: [], nowMs: NOW }
      expect(await opened.store.commitFold(fold)).toBe(true)
      const store = await opened.reopen()
      await store.append([commit(1, 2, part({ block: block() }))])
      expect((await store.readInbox(1, 1e9))[0]!.order).toBeGreaterThan(inbox[1]!.order)
    })

    test('uncommitted blocks vanish after 15 minutes', async () => {
      const store = await openStore()
      const written = block(10, 5)
      await store.writeBlocks(1, [written], NOW)
      expect(await store.readBlocks(1, [written.name], 'scalars')).toEqual([written.scalars])
      expect(await store.readBlocks(1, [written.name], 'sketches')).toEqual([written.sketches])
      await store.sweep(NOW + 15 * MINUTE - 1)
      expect(await exists(store, 1, written.name)).toBe(true)
      await store.sweep(NOW + 15 * MINUTE + 1)
      expect(await exists(store, 1, written.name)).toBe(false)
    })
  })

  describe(`${name}: fold`, () => {
    const metric = metricOf('folded')
    const { partition, metricId } = metric
    const timelineOf = (resolutionMs: number) => ({ metricId, resolutionMs })
    const width = windowWidthMs(SECONDS_10)
    const touched = (windowMs: number, expiresMs = NOW + DAY) => [{ ...timelineOf(SECONDS_10), windowMs, expiresMs }]

    /** A store with one inbox entry, one listed entry and one block to add. */
    async function foldable() {
      const opened = await openedStore()
      const { store } = opened
      await store.append([commit(partition, 1, part({ block: block(3, 2) }))])
      const inbox = await store.readInbox(partition, 1e9)
      const listed = await list(store, metric, SECONDS_10, NOW)
      const written = block(8, 9)
      await store.writeBlocks(partition, [written], NOW)
      const entry = entryOf(written.name, NOW, { order: 2, tier: 1, scalarBytes: 8, sketchBytes: 9 })
      const fold = {
        partition,
        inbox,
        removed: [{ timeline: timelineOf(SECONDS_10), entry: listed }],
        added: [{ timeline: timelineOf(SECONDS_10), entry }],
        touched: touched(NOW, NOW + 2 * DAY),
        nowMs: NOW,
      }
      return { opened, store, inbox, listed, written, entry, fold }
    }

    test('a fold replaces entries at once, and what it added stays for good', async () => {
      const { opened, store, inbox, listed, written, entry, fold } = await foldable()
      expect(await store.commitFold(fold)).toBe(true)
      expect(await store.readInbox(partition, 1e9)).toEqual([])
      expect(await store.inboxSize(partition)).toEqual({ entries: 0, bytes: 0 })
      expect((await timeline(store, metric, SECONDS_10)).entries).toEqual([entry])
      for (const name of [inbox[0]!.block, listed.block]) expect(await exists(store, partition, name)).toBe(true)
      await store.sweep(NOW + 60_000 - 1)
      for (const name of [inbox[0]!.block, listed.block]) expect(await exists(store, partition, name)).toBe(true)
      await store.sweep(NOW + 60_000 + 1)
      for (const name of [inbox[0]!.block, listed.block]) expect(await exists(store, partition, name)).toBe(false)
      expect(await store.readBlocks(partition, [inbox[0]!.block], 'sketches')).toEqual([undefined])
      await store.sweep(NOW + 30 * DAY)
      const reopened = await opened.reopen()
      expect(await reopened.readBlocks(partition, [written.name], 'scalars')).toEqual([written.scalars])
      expect(await reopened.readBlocks(partition, [written.name], 'sketches')).toEqual([written.sketches])
      expect((await timeline(reopened, metric, SECONDS_10)).entries).toEqual([entry])
    })

    test('what a fold leaves of an entry takes its place', async () => {
      const { opened, store, inbox, fold } = await foldable()
      await store.append([commit(partition, 2, part({ block: block(5) }))])
      const [, later] = await store.readInbox(partition, 1e9)
      const of = block(2, 1)
      const left = [{ entry: inbox[0]!, block: of }]
      expect(await store.commitFold({ ...fold, left })).toBe(false)
      await store.writeBlocks(partition, [of], NOW)
      expect(await store.commitFold({ ...fold, left })).toBe(true)
      const rest = { ...inbox[0]!, block: of.name, scalarBytes: 2, sketchBytes: 1 }
      expect(await store.readInbox(partition, 1e9)).toEqual([rest, later])
      expect(await store.inboxSize(partition)).toEqual({ entries: 2, bytes: 8 })
      await store.sweep(NOW + 30 * DAY)
      const reopened = await opened.reopen()
      expect(await reopened.readInbox(partition, 1e9)).toEqual([rest, later])
      expect(await reopened.readBlocks(partition, [of.name], 'scalars')).toEqual([of.scalars])
      const done = { partition, removed: [], added: [], touched: [], nowMs: NOW }
      expect(await reopened.commitFold({ ...done, inbox })).toBe(false)
      expect(await reopened.commitFold({ ...done, inbox: [rest, later!] })).toBe(true)
      expect(await reopened.inboxSize(partition)).toEqual({ entries: 0, bytes: 0 })
      await reopened.sweep(NOW + 2 * 60_000)
      expect(await exists(reopened, partition, of.name)).toBe(false)
    })

    test('of equal orders the run of the greater tier is listed first', async () => {
      const store = await openStore()
      const blocks = [block(), block(), block()]
      await store.writeBlocks(partition, blocks, NOW)
      const added = [0, 2, 1].map((tier, i) => ({
        timeline: timelineOf(SECONDS_10),
        entry: entryOf(blocks[i]!.name, NOW, { tier, seriesFrom: { hi: i, lo: 0 } }),
      }))
      await store.commitFold({ partition, inbox: [], removed: [], added, touched: touched(NOW), nowMs: NOW })
      const { entries } = await timeline(store, metric, SECONDS_10)
      expect(entries.map(({ tier }) => tier)).toEqual([2, 1, 0])
    })

    test('what this process takes out of the index is told: by a fold, and when a window expires', async () => {
      const { store, inbox, listed, fold } = await foldable()
      const heard: Unlisted[] = []
      const stop = store.onUnlisted((unlisted) => heard.push(unlisted))
      expect(
        await store.commitFold({
          ...fold,
          removed: [],
          added: [],
          inbox: [{ ...inbox[0]!, order: inbox[0]!.order + 1 }],
        }),
      ).toBe(false)
      expect(heard).toEqual([])
      expect(await store.commitFold(fold)).toBe(true)
      expect(heard).toEqual([{ partition, inbox, replaced: [listed.block], expired: [] }])
      const window = { ...timelineOf(SECONDS_10), windowMs: NOW }
      expect(await store.expireWindow({ partition, window, nowMs: NOW + 2 * DAY })).toBe(true)
      expect(heard[1]).toEqual({ partition, inbox: [], replaced: [], expired: [window] })
      stop()
      await store.expireWindow({ partition, window, nowMs: NOW + 3 * DAY })
      expect(heard).toHaveLength(2)
    })

    const refusals: readonly [string, (fold: Awaited<ReturnType<typeof foldable>>) => Promise<object>][] = [
      [
        'an inbox entry that is not there',
        async ({ inbox }) => ({ inbox: [{ ...inbox[0]!, order: inbox[0]!.order + 1 }] }),
      ],
      ['an inbox entry of another block', async ({ inbox }) => ({ inbox: [{ ...inbox[0]!, block: 'other' }] })],
      [
        'a replaced entry that is not listed',
        async ({ listed }) => ({
          removed: [{ timeline: timelineOf(SECONDS_10), entry: { ...listed, block: 'other' } }],
        }),
      ],
      [
        'a replaced entry of another timeline',
        async ({ listed }) => ({ removed: [{ timeline: timelineOf(MINUTE), entry: listed }] }),
      ],
      [
        'a new block that does not exist',
        async ({ entry, fold }) => ({
          added: [...fold.added, { timeline: timelineOf(SECONDS_10), entry: { ...entry, block: 'other' } }],
        }),
      ],
      [
        'a new block whose 15 minutes are over',
        async ({ store }) => {
          await store.sweep(NOW + 15 * MINUTE + 1)
          return {}
        },
      ],
      [
        'a new entry in a window that has expired',
        async ({ store }) => {
          const window = { ...timelineOf(SECONDS_10), windowMs: NOW - width }
          await store.expireWindow({ partition, window, nowMs: NOW })
          const late = block()
          await store.writeBlocks(partition, [late], NOW)
          const added = [{ timeline: timelineOf(SECONDS_10), entry: entryOf(late.name, NOW - width) }]
          return { added, touched: touched(NOW - width) }
        },
      ],
    ]

    test.each(refusals)('%s: nothing is changed', async (_, spoil) => {
      const made = await foldable()
      const { store, inbox, listed, fold } = made
      const spoilt = { ...fold, ...(await spoil(made)) }
      expect(await store.commitFold(spoilt)).toBe(false)
      expect(await store.readInbox(partition, 1e9)).toEqual(inbox)
      expect((await timeline(store, metric, SECONDS_10)).entries).toEqual([listed])
      expect(await store.dueWindows(partition, NOW + DAY, 10)).toEqual([{ ...timelineOf(SECONDS_10), windowMs: NOW }])
      await store.sweep(NOW + 2 * 60_000)
      expect(await exists(store, partition, listed.block)).toBe(true)
      expect(await exists(store, partition, inbox[0]!.block)).toBe(true)
    })

    test('of two folds of the same entries one succeeds', async () => {
      const { store, fold } = await foldable()
      const other = block()
      await store.writeBlocks(partition, [other], NOW)
      const rival = { ...fold, added: [{ timeline: timelineOf(SECONDS_10), entry: entryOf(other.name, NOW) }] }
      const outcomes = await Promise.all([store.commitFold(fold), store.commitFold(rival)])
      expect(outcomes.sort()).toEqual([false, true])
      expect(await blocksOf(store, metric, SECONDS_10)).toHaveLength(1)
    })

    test('a block that several windows list stays until the last lets go of it', async () => {
      const store = await openStore()
      const shared = block()
      await store.writeBlocks(partition, [shared], NOW)
      const added = [NOW, NOW + width].map((windowMs) => ({
        timeline: timelineOf(SECONDS_10),
        entry: entryOf(shared.name, windowMs),
      }))
      const both = [...touched(NOW), ...touched(NOW + width)]
      const empty = { partition, inbox: [], removed: [], added: [], touched: [], nowMs: NOW }
      expect(await store.commitFold({ ...empty, added, touched: both })).toBe(true)
      expect(await store.commitFold({ ...empty, removed: [added[0]!] })).toBe(true)
      await store.sweep(NOW + 2 * 60_000)
      expect(await exists(store, partition, shared.name)).toBe(true)
      expect(await store.commitFold({ ...empty, removed: [added[1]!], nowMs: NOW + 3 * 60_000 })).toBe(true)
      await store.sweep(NOW + 4 * 60_000 - 1)
      expect(await exists(store, partition, shared.name)).toBe(true)
      await store.sweep(NOW + 4 * 60_000 + 1)
      expect(await exists(store, partition, shared.name)).toBe(false)
    })

    test('a block has its minute from the last window that let go of it', async () => {
      const store = await openStore()
      const shared = block()
      await store.writeBlocks(partition, [shared], NOW)
      const added = [NOW, NOW + width].map((windowMs) => ({
        timeline: timelineOf(SECONDS_10),
        entry: entryOf(shared.name, windowMs),
      }))
      const both = [...touched(NOW), ...touched(NOW + width)]
      const empty = { partition, inbox: [], removed: [], added: [], touched: [], nowMs: NOW }
      await store.commitFold({ ...empty, added, touched: both })
      await store.commitFold({ ...empty, removed: [added[0]!] })
      await store.commitFold({ ...empty, removed: [added[1]!], nowMs: NOW + 30_000 })
      await store.sweep(NOW + 80_000)
      expect(await exists(store, partition, shared.name)).toBe(true)
      await store.sweep(NOW + 90_001)
      expect(await exists(store, partition, shared.name)).toBe(false)
    })

    test('a replaced block that is listed again within its minute stays', async () => {
      const store = await openStore()
      const entry = await list(store, metric, SECONDS_10, NOW)
      const empty = { partition, inbox: [], removed: [], added: [], touched: [], nowMs: NOW }
      const listing = { timeline: timelineOf(SECONDS_10), entry }
      expect(await store.commitFold({ ...empty, removed: [listing] })).toBe(true)
      expect(await store.commitFold({ ...empty, added: [listing], touched: touched(NOW) })).toBe(true)
      await store.sweep(NOW + 2 * 60_000)
      expect(await exists(store, partition, entry.block)).toBe(true)
    })

    test('an index lists the windows that overlap a stretch, by window, order and series', async () => {
      const store = await openStore()
      const at = (windowMs: number, entry: Partial<IndexEntry>) => list(store, metric, SECONDS_10, windowMs, { entry })
      const entries = [
        await at(NOW + width, { order: 3 }),
        await at(NOW, { order: 300, seriesFrom: { hi: 0, lo: 1 } }),
        await at(NOW, { order: 20, seriesFrom: { hi: 0xffffffff, lo: 0 } }),
        await at(NOW, { order: 20, seriesFrom: { hi: 2, lo: 0xffffffff } }),
        await at(NOW - width, { order: 400 }),
        await at(-width, { order: 7 }),
      ]
      await list(store, metric, MINUTE, NOW)
      await list(store, metricOf('another', {}), SECONDS_10, NOW)
      const of = async (fromMs: number, toMs: number) =>
        (await timeline(store, metric, SECONDS_10, { fromMs, toMs })).entries
      const [next, late, high, low, before, ancient] = entries
      expect(await of(-10 * width, NOW + 10 * width)).toEqual([ancient, before, low, high, late, next])
      expect(await of(NOW, NOW + width)).toEqual([low, high, late])
      expect(await of(NOW - 1, NOW + 1)).toEqual([before, low, high, late])
      expect(await of(NOW + width - 1, NOW + width + 1)).toEqual([low, high, late, next])
      expect(await of(NOW + 2 * width, NOW + 3 * width)).toEqual([])
      expect(await of(NOW, NOW)).toEqual([])
    })

    test('several timelines are answered in the order asked', async () => {
      const store = await openStore()
      const coarse = await list(store, metric, HOUR, NOW)
      const fine = await list(store, metric, SECONDS_10, NOW)
      const timelines = [HOUR, SECONDS_10, MINUTE].map((resolutionMs) => ({ resolutionMs, stretch: ALWAYS }))
      expect((await store.readIndex({ partition, metricId, timelines, inbox: false })).timelines).toEqual([
        { resolutionMs: HOUR, entries: [coarse], expired: [] },
        { resolutionMs: SECONDS_10, entries: [fine], expired: [] },
        { resolutionMs: MINUTE, entries: [], expired: [] },
      ])
    })

    test('one timeline may be asked about several stretches', async () => {
      const store = await openStore()
      const width = windowWidthMs(SECONDS_10)
      const early = await list(store, metric, SECONDS_10, NOW)
      await list(store, metric, SECONDS_10, NOW + width)
      const late = await list(store, metric, SECONDS_10, NOW + 2 * width)
      const stretches = [NOW, NOW + 2 * width].map((fromMs) => ({ fromMs, toMs: fromMs + 1 }))
      const timelines = stretches.map((stretch) => ({ resolutionMs: SECONDS_10, stretch }))
      expect((await store.readIndex({ partition, metricId, timelines, inbox: false })).timelines).toEqual([
        { resolutionMs: SECONDS_10, entries: [early], expired: [] },
        { resolutionMs: SECONDS_10, entries: [late], expired: [] },
      ])
    })

    test('a snapshot never sees half a fold: every block is in the inbox or in the timeline, once', async () => {
      const store = await openStore()
      const rounds = 30
      let appended = 0
      let writing = true
      async function write() {
        for (let number = 1; number <= rounds; number++) {
          await store.append([commit(partition, number, part({ block: block() }))])
          appended = number
        }
        writing = false
      }
      async function fold() {
        while (writing || (await store.inboxSize(partition)).entries > 0) {
          const inbox = await store.readInbox(partition, 25)
          const added = []
          for (const { order } of inbox) {
            const folded = block()
            await store.writeBlocks(partition, [folded], NOW)
            added.push({ timeline: timelineOf(SECONDS_10), entry: entryOf(folded.name, NOW, { order }) })
          }
          const committed = { partition, inbox, removed: [], added, touched: touched(NOW), nowMs: NOW }
          expect(await store.commitFold(committed)).toBe(true)
        }
      }
      async function read() {
        while (writing) {
          const before = appended
          const request = {
            partition,
            metricId,
            timelines: [{ resolutionMs: SECONDS_10, stretch: ALWAYS }],
            inbox: true,
          }
          const { inbox, timelines } = await store.readIndex(request)
          const orders = [...timelines[0]!.entries, ...inbox].map(({ order }) => order)
          expect(new Set(orders).size).toBe(orders.length)
          expect(orders.length).toBeGreaterThanOrEqual(before)
          // Gives way to the others, which wait for the disk.
          await new Promise((resolve) => setImmediate(resolve))
        }
      }
      await Promise.all([write(), fold(), read()])
      expect(await blocksOf(store, metric, SECONDS_10)).toHaveLength(rounds)
      expect(await store.inboxSize(partition)).toEqual({ entries: 0, bytes: 0 })
    })
  })

  describe(`${name}: retention`, () => {
    const metric = metricOf('kept', { type: 'set' })
    const { partition, metricId } = metric
    const width = windowWidthMs(MINUTE)
    const window = (windowMs: number, resolutionMs: number = MINUTE) => ({ metricId, resolutionMs, windowMs })
    const expired = async (store: Store, resolutionMs = MINUTE) => (await timeline(store, metric, resolutionMs)).expired

    test('windows fall due in the order they expire, finer resolutions first', async () => {
      const store = await openStore()
      await list(store, metric, HOUR, NOW, { expiresMs: NOW + 5 })
      await list(store, metric, MINUTE, NOW, { expiresMs: NOW + 5 })
      await list(store, metric, MINUTE, NOW + width, { expiresMs: NOW + 3 })
      await list(store, metric, MINUTE, NOW - width, { expiresMs: NOW + 6 })
      const due = [window(NOW + width), window(NOW), window(NOW, HOUR), window(NOW - width)]
      expect(await store.dueWindows(partition, NOW + 2, 10)).toEqual([])
      expect(await store.dueWindows(partition, NOW + 3, 10)).toEqual(due.slice(0, 1))
      expect(await store.dueWindows(partition, NOW + 6, 10)).toEqual(due)
      expect(await store.dueWindows(partition, NOW + 6, 2)).toEqual(due.slice(0, 2))
      expect(await store.dueWindows((partition + 1) % PARTITIONS, NOW + 6, 10)).toEqual([])
    })

    test('a touch keeps a window longer, never shorter, and a rewrite leaves it as it is', async () => {
      const store = await openStore()
      const first = await list(store, metric, MINUTE, NOW, { expiresMs: NOW + 10 })
      const second = await list(store, metric, MINUTE, NOW, { expiresMs: NOW + 20, entry: { order: 2 } })
      await list(store, metric, MINUTE, NOW, { expiresMs: NOW + 15, entry: { order: 3 } })
      const merged = block()
      await store.writeBlocks(partition, [merged], NOW)
      const fold = {
        partition,
        inbox: [],
        removed: [first, second].map((entry) => ({ timeline: { metricId, resolutionMs: MINUTE }, entry })),
        added: [{ timeline: { metricId, resolutionMs: MINUTE }, entry: entryOf(merged.name, NOW, { order: 2 }) }],
        touched: [],
        nowMs: NOW + 30,
      }
      expect(await store.commitFold(fold)).toBe(true)
      expect(await store.dueWindows(partition, NOW + 19, 10)).toEqual([])
      expect(await store.dueWindows(partition, NOW + 20, 10)).toEqual([window(NOW)])
    })

    test('a window with nothing left in it is not due', async () => {
      const store = await openStore()
      const entry = await list(store, metric, MINUTE, NOW)
      const removed = [{ timeline: { metricId, resolutionMs: MINUTE }, entry }]
      expect(await store.commitFold({ partition, inbox: [], removed, added: [], touched: [], nowMs: NOW })).toBe(true)
      expect(await store.dueWindows(partition, NOW + 10 * DAY, 10)).toEqual([])
    })

    test('an expired window is gone with its sets, and its blocks a minute later', async () => {
      const store = await openStore()
      const entries = [
        await list(store, metric, MINUTE, NOW),
        await list(store, metric, MINUTE, NOW, { entry: { order: 2 } }),
      ]
      const next = await list(store, metric, MINUTE, NOW + width)
      const seriesId = seriesIdOf(metricId, [])
      const buckets = [NOW, NOW + width - MINUTE, NOW + width]
      const members = buckets.map((bucketMs) => ({ metricId, seriesId, bucketMs, members: ['a'] }))
      await store.append([commit(partition, 1, part({ metrics: [touch(metric)], members }))])
      const nowMs = NOW + 2 * DAY
      expect(await store.expireWindow({ partition, window: window(NOW), nowMs })).toBe(true)
      expect((await timeline(store, metric, MINUTE)).entries).toEqual([next])
      expect(await store.dueWindows(partition, NOW + 10 * DAY, 10)).toEqual([window(NOW + width)])
      const keys = buckets.map((bucketMs) => [{ metricId, seriesId, resolutionMs: MINUTE, bucketMs }])
      expect(await store.countDistinct(partition, keys)).toEqual([0, 0, 1])
      const coarse = { metricId, seriesId, resolutionMs: HOUR, bucketMs: NOW }
      expect(await store.countDistinct(partition, [[coarse]])).toEqual([1])
      await store.sweep(nowMs + 60_000 - 1)
      expect(await exists(store, partition, entries[0]!.block)).toBe(true)
      await store.sweep(nowMs + 60_000 + 1)
      for (const { block: gone } of entries) expect(await exists(store, partition, gone)).toBe(false)
      expect(await exists(store, partition, next.block)).toBe(true)
    })

    test('a window that was written meanwhile does not expire', async () => {
      const store = await openStore()
      const entry = await list(store, metric, MINUTE, NOW, { expiresMs: NOW + 11 })
      expect(await store.expireWindow({ partition, window: window(NOW), nowMs: NOW + 10 })).toBe(false)
      expect(await timeline(store, metric, MINUTE)).toEqual({ resolutionMs: MINUTE, entries: [entry], expired: [] })
      expect(await store.expireWindow({ partition, window: window(NOW), nowMs: NOW + 11 })).toBe(true)
    })

    test('expired stretches that touch are one', async () => {
      const store = await openStore()
      const expire = (windowMs: number) => store.expireWindow({ partition, window: window(windowMs), nowMs: NOW })
      await expire(NOW)
      await expire(NOW + 2 * width)
      await expire(NOW - 4 * width)
      expect(await expired(store)).toEqual([
        { fromMs: NOW - 4 * width, toMs: NOW - 3 * width },
        { fromMs: NOW, toMs: NOW + width },
        { fromMs: NOW + 2 * width, toMs: NOW + 3 * width },
      ])
      await expire(NOW + width)
      await expire(NOW + width)
      expect(await expired(store)).toEqual([
        { fromMs: NOW - 4 * width, toMs: NOW - 3 * width },
        { fromMs: NOW, toMs: NOW + 3 * width },
      ])
      const within = await timeline(store, metric, MINUTE, { fromMs: NOW - 3 * width, toMs: NOW + 1 })
      expect(within.expired).toEqual([{ fromMs: NOW, toMs: NOW + 3 * width }])
      expect(await expired(store, HOUR)).toEqual([])
    })

    test('with `forget` the stretches of the named resolutions are forgotten within the window', async () => {
      const store = await openStore()
      const coarseWidth = windowWidthMs(HOUR)
      const windows = [NOW - width, NOW, NOW + coarseWidth - width, NOW + coarseWidth]
      for (const windowMs of windows) await store.expireWindow({ partition, window: window(windowMs), nowMs: NOW })
      const fine = windowWidthMs(SECONDS_10)
      await store.expireWindow({ partition, window: window(NOW, SECONDS_10), nowMs: NOW })
      await list(store, metric, HOUR, NOW, { expiresMs: NOW })
      const expiry = { partition, window: window(NOW, HOUR), forget: [MINUTE], nowMs: NOW }
      expect(await store.expireWindow(expiry)).toBe(true)
      expect(await expired(store)).toEqual([
        { fromMs: NOW - width, toMs: NOW },
        { fromMs: NOW + coarseWidth, toMs: NOW + coarseWidth + width },
      ])
      expect(await expired(store, HOUR)).toEqual([])
      expect(await expired(store, SECONDS_10)).toEqual([{ fromMs: NOW, toMs: NOW + fine }])
      // A fold into the window is possible again.
      await list(store, metric, MINUTE, NOW)
    })
  })

  describe(`${name}: sets`, () => {
    const metric = metricOf('users', { type: 'set' })
    const { partition, metricId } = metric
    const a = seriesIdOf(metricId, [['a', '1']])
    const b = seriesIdOf(metricId, [['b', '1']])
    const added = (seriesId: Id64, bucketMs: number, members: readonly string[]) =>
      part({ metrics: [touch(metric)], members: [{ metricId, seriesId, bucketMs, members }] })
    const key = (seriesId: Id64, resolutionMs: number, bucketMs: number) => ({
      metricId,
      seriesId,
      resolutionMs,
      bucketMs,
    })

    test('members count once in each union, at each resolution', async () => {
      const store = await openStore()
      await store.append([commit(partition, 1, added(a, NOW, ['x', 'y', 'x']), added(a, NOW, ['y', 'z']))])
      await store.append([commit(partition, 2, added(a, NOW + MINUTE, ['x']), added(b, NOW, ['z', 'w']))])
      const unions = [
        [key(a, MINUTE, NOW)],
        [key(a, MINUTE, NOW + MINUTE)],
        [key(b, MINUTE, NOW), key(a, MINUTE, NOW)],
        [key(a, HOUR, NOW)],
        [key(a, HOUR, NOW), key(b, HOUR, NOW), key(b, HOUR, NOW)],
        [key(a, MINUTE, NOW - MINUTE)],
        [],
      ]
      expect(await store.countDistinct(partition, unions)).toEqual([3, 1, 4, 3, 4, 0, 0])
    })

    test('many members are counted within the error of a HyperLogLog', async () => {
      const store = await openStore()
      const members = Array.from({ length: 20_000 }, (_, i) => `user-${i}`)
      await store.append([commit(partition, 1, added(a, NOW, members.slice(0, 12_000)))])
      await store.append([commit(partition, 2, added(b, NOW, members.slice(8_000)))])
      const [united] = await store.countDistinct(partition, [[key(a, MINUTE, NOW), key(b, MINUTE, NOW)]])
      expect(Math.abs(united! / 20_000 - 1)).toBeLessThan(4 * 0.0081)
    })

    test('members of a stretch that has expired enter coarser resolutions only', async () => {
      const store = await openStore()
      const window = { metricId, resolutionMs: MINUTE, windowMs: NOW }
      await store.expireWindow({ partition, window, nowMs: NOW })
      const after = NOW + windowWidthMs(MINUTE)
      await store.append([commit(partition, 1, added(a, NOW, ['x']), added(a, after, ['y']))])
      const unions = [[key(a, MINUTE, NOW)], [key(a, HOUR, NOW)], [key(a, MINUTE, after)]]
      expect(await store.countDistinct(partition, unions)).toEqual([0, 1, 1])
    })
  })

  describe(`${name}: deleted metrics`, () => {
    const set = metricOf('m', { type: 'set' })
    const { partition, metricId, definition } = set
    const seriesId = seriesIdOf(metricId, [['a', 'b']])
    const deletion = (generation = 1) => ({ project: 'shop', name: 'm', generation })
    const setKey = (resolutionMs: number, bucketMs = NOW) => ({ metricId, seriesId, resolutionMs, bucketMs })
    const filled = (times: readonly number[] = [NOW]) =>
      part({
        block: block(),
        metrics: [touch(set)],
        series: [seriesTouch(set, [['a', 'b']])],
        members: times.map((bucketMs) => ({ metricId, seriesId, bucketMs, members: ['x'] })),
      })
    /** As a fold would: the inbox becomes a window at each resolution of sets. */
    const fold = async (store: Store, times: readonly number[] = [NOW]): Promise<boolean> => {
      const inbox = await store.readInbox(partition, 1e9)
      const windows = SET_RESOLUTION_STEPS.flatMap((resolutionMs) => {
        const width = windowWidthMs(resolutionMs)
        const starts = new Set(times.map((timeMs) => Math.floor(timeMs / width) * width))
        return [...starts].map((windowMs) => ({ metricId, resolutionMs, windowMs }))
      })
      const blocks = windows.map(() => block())
      await store.writeBlocks(partition, blocks, NOW)
      const added = windows.map((window, i) => ({ timeline: window, entry: entryOf(blocks[i]!.name, window.windowMs) }))
      const touched = windows.map((window) => ({ ...window, expiresMs: NOW + DAY }))
      return store.commitFold({ partition, inbox, removed: [], added, touched, nowMs: NOW })
    }
    /** Until nothing is left to do; how often it was called. */
    const clear = async (store: Store, max: number): Promise<number> => {
      for (let calls = 1; ; calls++) {
        if (!(await store.clearDeleted(partition, max, NOW))) return calls
        if (calls > 100) throw new Error('there is no end to it')
      }
    }

    test('are gone at once, and their name is free for another type', async () => {
      const store = await openStore()
      await store.append([commit(partition, 1, filled())])
      await store.defineMetrics([{ ...definition, name: 'other' }])
      expect(await store.deleteMetric(deletion())).toBe(true)
      expect(await store.readMetric('shop', 'm')).toBeUndefined()
      expect(await listAll(store, 'shop')).toEqual([])
      expect(await store.deleteMetric(deletion())).toBe(false)
      const [again] = await store.defineMetrics([{ ...definition, type: 'counter' }])
      expect(again).toMatchObject({ type: 'counter', generation: 2, points: 0, seriesCount: 0, tagKeys: [] })
      expect(again!.metricId).toEqual(metricIdOf('shop', 'm', 2))
      expect(await store.readMetric('shop', 'm')).toEqual(again)
      expect(await store.readSeries(partition, again!.metricId, 0, 10)).toEqual([])
      expect(await store.deleteMetric(deletion(2))).toBe(true)
      const [third] = await store.defineMetrics([definition])
      expect(third).toMatchObject({ type: 'set', generation: 3 })
    })

    test('of another generation, project or name are left alone', async () => {
      const store = await openStore()
      await store.defineMetrics([definition, { ...definition, project: 'other' }])
      expect(await store.deleteMetric(deletion(0))).toBe(false)
      expect(await store.deleteMetric({ ...deletion(), name: 'n' })).toBe(false)
      expect(await store.readMetric('shop', 'm')).toMatchObject({ generation: 1 })
      expect(await store.deleteMetric(deletion())).toBe(true)
      expect(await store.readMetric('other', 'm')).toMatchObject({ generation: 1 })
    })

    test('cannot come back with a commit of somebody who has not heard of it', async () => {
      const store = await openStore()
      const other = namesOf(partition, 'o')
      await store.append([commit(partition, 1, filled())])
      await store.deleteMetric(deletion())
      const conflict = { status: 'conflict', metricIds: [metricId], deleted: [metricId] }
      const late = part({ ...filled(), metrics: [touch(set), touch(other)] })
      expect(await only(store.append([commit(partition, 2, late)]))).toEqual(conflict)
      await store.defineMetrics([{ ...definition, type: 'gauge' }])
      expect(await only(store.append([commit(partition, 2, late)]))).toEqual(conflict)
      expect(await store.readMetric('shop', other.definition.name)).toBeUndefined()
      expect(await store.readMetric('shop', 'm')).toMatchObject({ type: 'gauge', points: 0 })
      // The number is free, and the others may go on.
      const rest = part({ metrics: [touch(other)] })
      expect(await only(store.append([commit(partition, 2, rest)]))).toEqual({ status: 'applied', skipped: [] })
    })

    test('cannot come back on a store that has forgotten them, once it is told', async () => {
      const store = await openStore()
      expect(await store.deleteMetric(deletion(2))).toBe(false)
      for (const generation of [1, 2]) {
        const old = metricOf('m', { type: 'set' }, generation)
        const outcome = await only(
          store.append([commit(partition, 1, part({ metrics: [touch(old, { generation })] }))]),
        )
        expect(outcome).toEqual({ status: 'conflict', metricIds: [old.metricId], deleted: [old.metricId] })
      }
      expect(await store.defineMetrics([definition])).toMatchObject([{ generation: 3 }])
    })

    test('are told of like a commit', async () => {
      const store = await openStore()
      await store.append([commit(partition, 1, filled())])
      const heard = new Promise<unknown>((resolve) => {
        const end = store.onCommit((...told) => resolve(told))
        onTestFinished(end)
      })
      await store.deleteMetric(deletion())
      expect(await heard).toEqual([partition, [metricId]])
    })

    test('keep what they have until their inbox is folded, then all of it goes, step by step', async () => {
      const opened = await openedStore()
      const { store } = opened
      const times = Array.from({ length: 5 }, (_, i) => NOW - i * windowWidthMs(MINUTE))
      await store.append([commit(partition, 1, filled(times))])
      const { order } = (await store.readInbox(partition, 1))[0]!
      await store.deleteMetric(deletion())
      expect(await clear(store, 100)).toBe(1)
      // What was there is still readable for whoever is reading it.
      expect(await store.readSeries(partition, metricId, 0, 10)).toHaveLength(1)
      expect(await store.countDistinct(partition, [[setKey(MINUTE)]])).toEqual([1])
      expect(order).toBeGreaterThan(0)
      expect(await fold(store, times)).toBe(true)
      expect(await clear(store, 2)).toBeGreaterThan(2)
      expect(await store.readSeries(partition, metricId, 0, 10)).toEqual([])
      for (const resolution of SET_RESOLUTION_STEPS) expect(await blocksOf(store, set, resolution)).toEqual([])
      expect(await store.dueWindows(partition, NOW + 1_000 * DAY, 100)).toEqual([])
      expect(
        await store.countDistinct(partition, [times.map((timeMs) => setKey(MINUTE, timeMs)), [setKey(HOUR)]]),
      ).toEqual([0, 0])
    })

    test('do not wait for what others commit meanwhile', async () => {
      const store = await openStore()
      const other = namesOf(partition, 'o')
      await store.append([commit(partition, 1, filled())])
      await fold(store)
      await store.deleteMetric(deletion())
      await store.append([commit(partition, 2, part({ block: block(), metrics: [touch(other)] }))])
      await clear(store, 100)
      expect(await blocksOf(store, set, MINUTE)).toEqual([])
      expect(await store.readSeries(partition, metricId, 0, 10)).toEqual([])
    })

    test('give back all that they took', async () => {
      const contents = async (lives: boolean): Promise<readonly string[]> => {
        const opened = await openedStore()
        const { store } = opened
        const neighbour = part({ block: block(), metrics: [touch(namesOf(partition, 'o'))] })
        await store.append([commit(partition, 1, neighbour)])
        if (lives) {
          await store.append([commit(partition, 2, filled())])
          await list(store, set, SECONDS_10, NOW)
          await list(store, set, SECONDS_10, NOW - windowWidthMs(SECONDS_10), { expiresMs: NOW })
          const window = { metricId, resolutionMs: SECONDS_10, windowMs: NOW - windowWidthMs(SECONDS_10) }
          expect(await store.expireWindow({ partition, window, nowMs: NOW })).toBe(true)
          await store.append([commit(partition, 3, filled())])
          await store.deleteMetric(deletion())
          // A fold that began before goes on.
          expect(await fold(store)).toBe(true)
          const reopened = await opened.reopen()
          await clear(reopened, 2)
          for (let i = 0; i < 3; i++) await reopened.sweep(NOW + HOUR)
        } else {
          const inbox = await store.readInbox(partition, 1e9)
          await store.commitFold({ partition, inbox, removed: [], added: [], touched: [], nowMs: NOW })
          for (let i = 0; i < 3; i++) await store.sweep(NOW + HOUR)
        }
        return opened.contents()
      }
      const [without, after] = [await contents(false), await contents(true)]
      expect(without.length).toBeGreaterThan(3)
      // But for the end of its generation, which is remembered.
      expect(after.filter((line) => !line.includes('deleted'))).toEqual(without)
    })

    test('that nobody may read any more cannot be folded again', async () => {
      const store = await openStore()
      await store.append([commit(partition, 1, filled())])
      const inbox = await store.readInbox(partition, 1e9)
      await store.deleteMetric(deletion())
      expect(await fold(store)).toBe(true)
      await clear(store, 100)
      // Another fold of the same inbox, and a merge of what it had brought.
      const late = block()
      await store.writeBlocks(partition, [late], NOW)
      const timelineKey = { metricId, resolutionMs: MINUTE }
      const added = [{ timeline: timelineKey, entry: entryOf(late.name, NOW) }]
      const touched = [{ ...timelineKey, windowMs: NOW, expiresMs: NOW + DAY }]
      const foldOf = { partition, added, touched, nowMs: NOW }
      expect(await store.commitFold({ ...foldOf, inbox, removed: [] })).toBe(false)
      const removed = [{ timeline: timelineKey, entry: entryOf('block-x', NOW) }]
      expect(await store.commitFold({ ...foldOf, inbox: [], removed })).toBe(false)
    })
  })

  describe(`${name}: events`, () => {
    const event = (id: string, timeMs: number, project = 'shop'): StoredEvent => ({
      project,
      id,
      timeMs,
      json: `{"é":"${id}"}`,
    })

    test('events are listed newest first, equal times by the greater id, page by page', async () => {
      const store = await openStore()
      const events = [
        event('b', NOW),
        event('a', NOW),
        event('c', NOW),
        event('d', NOW - 1),
        event('e', NOW + 1),
        event('f', -5),
      ]
      await store.append([commit(0, 1, part({ events: events.slice(0, 3) }))])
      await store.append([commit(3, 1, part({ events: [...events.slice(3), event('o', NOW, 'other')] }))])
      const all = { project: 'shop', fromMs: -10, toMs: NOW + 10, limit: 100, bytesMax: 1e6 }
      const ids = async (request: Partial<typeof all> & { after?: { timeMs: number; id: string } }) =>
        (await store.readEvents({ ...all, ...request })).map(({ id }) => id).join('')
      expect(await ids({})).toBe('ecbadf')
      expect(await ids({ limit: 2 })).toBe('ec')
      expect(await ids({ after: { timeMs: NOW, id: 'c' }, limit: 2 })).toBe('ba')
      expect(await ids({ after: { timeMs: NOW, id: 'a' } })).toBe('df')
      expect(await ids({ after: { timeMs: NOW, id: 'bb' } })).toBe('badf')
      expect(await ids({ after: { timeMs: NOW + 20, id: 'a' } })).toBe('ecbadf')
      expect(await ids({ fromMs: NOW, toMs: NOW })).toBe('cba')
      expect(await ids({ toMs: NOW - 1, after: { timeMs: NOW, id: 'b' } })).toBe('df')
      expect(await store.readEvents({ ...all, limit: 1 })).toEqual([event('e', NOW + 1)])
      expect(await store.readEvents({ ...all, project: 'other' })).toEqual([event('o', NOW, 'other')])
    })

    test('a page of events ends before it has too many bytes, and no page leaves one out', async () => {
      const store = await openStore()
      const all = { project: 'shop', fromMs: 0, toMs: NOW, limit: 100 }
      const large = (id: string, timeMs: number): StoredEvent => ({
        ...event(id, timeMs),
        json: `"${'x'.repeat(998)}"`,
      })
      const late = Array.from({ length: 40 }, (_, i) => large(`l${i}`, NOW - i))
      const spread = Array.from({ length: 40 }, (_, i) => large(`s${i}`, NOW - 2 * i))
      await store.append([commit(0, 1, part({ events: late })), commit(1, 1, part({ events: spread }))])
      for (const bytesMax of [1, 5_000, 50_000]) {
        const found: string[] = []
        let after: StoredEvent | undefined
        for (;;) {
          const page = await store.readEvents({ ...all, bytesMax, ...(after === undefined ? {} : { after }) })
          if (page.length === 0) break
          if (page.length > 1) expect(page.length * 1_000).toBeLessThanOrEqual(bytesMax)
          found.push(...page.map(({ id }) => id))
          after = page.at(-1)
        }
        const newestFirst = [...late, ...spread].sort((a, b) => b.timeMs - a.timeMs || (a.id < b.id ? 1 : -1))
        expect(found).toEqual(newestFirst.map(({ id }) => id))
      }
    })

    test('events go in the order they were committed, whatever their time, and give back their place', async () => {
      const opened = await openedStore()
      const { store } = opened
      const all = { project: 'shop', fromMs: -1e12, toMs: NOW + DAY, limit: 1_000, bytesMax: 1e6 }
      const ids = async (project = 'shop') =>
        (await opened.store.readEvents({ ...all, project })).map(({ id }) => id).join(' ')
      const many = Array.from({ length: 300 }, (_, i) => event(`m${i}`, NOW))
      await store.append([commit(0, 1, part({ events: [event('new', NOW), event('old', -5)], nowMs: NOW }))])
      await store.append([commit(1, 1, part({ events: [event('other', NOW, 'other')], nowMs: NOW + 1 }))])
      await store.append([commit(0, 2, part({ events: [event('past', -1e11)], nowMs: NOW + DAY }))])
      expect(await store.expireEvents(0, NOW - 1, 10)).toBe(0)
      expect(await store.expireEvents(0, NOW, 1)).toBe(1)
      expect(await store.expireEvents(0, NOW, 10)).toBe(1)
      expect(await ids()).toBe('past')
      expect(await ids('other')).toBe('other')
      expect(await store.expireEvents(1, NOW + 1, 10)).toBe(1)
      expect(await ids('other')).toBe('')
      await store.append([commit(0, 3, part({ events: many, nowMs: NOW + DAY }))])
      expect(await store.expireEvents(0, NOW + DAY, 250)).toBe(250)
      expect(await store.expireEvents(0, NOW + DAY, 250)).toBe(51)
      expect(await store.expireEvents(1, NOW + DAY, 250)).toBe(0)
      expect(await ids()).toBe('')
      await store.append([commit(0, 4, part({ events: [event('again', NOW)], nowMs: NOW + 2 * DAY }))])
      expect(await store.expireEvents(0, NOW + DAY, 250)).toBe(0)
      expect(await ids()).toBe('again')
    })
  })

  describe(`${name}: requests`, () => {
    const receipt = (body: string): Receipt => ({ requestHash: 'ab'.repeat(32), status: 201, body })

    test('the first receipt of a key wins, for 24 hours', async () => {
      const store = await openStore()
      const writes = ['first', 'second'].map((body) => store.writeReceipt('shop', 'k', receipt(body), NOW))
      expect(await Promise.all(writes)).toEqual([receipt('first'), receipt('first')])
      expect(await store.readReceipt('shop', 'k', NOW + DAY - 1)).toEqual(receipt('first'))
      expect(await store.readReceipt('other', 'k', NOW)).toBeUndefined()
      expect(await store.readReceipt('shop', 'other', NOW)).toBeUndefined()
      expect(await store.readReceipt('shop', 'k', NOW + DAY + 1)).toBeUndefined()
      expect(await store.writeReceipt('shop', 'k', receipt('third'), NOW + DAY + 1)).toEqual(receipt('third'))
      await store.sweep(NOW + DAY + 2)
      expect(await store.readReceipt('shop', 'k', NOW + DAY + 2)).toEqual(receipt('third'))
    })

    test('the oldest receipts of a project go first when there are too many', async () => {
      const store = await openStore()
      await store.writeReceipt('other', 'k0', receipt('0'), NOW)
      for (let i = 0; i < RECEIPTS_MAX + 2; i++) await store.writeReceipt('shop', `k${i}`, receipt(`${i}`), NOW + i)
      const kept = []
      for (let i = 0; i < RECEIPTS_MAX + 2; i++) {
        if ((await store.readReceipt('shop', `k${i}`, NOW + 10)) !== undefined) kept.push(i)
      }
      expect(kept).toEqual([2, 3, 4])
      expect(await store.readReceipt('other', 'k0', NOW)).toEqual(receipt('0'))
      await store.sweep(NOW + DAY + 3)
      for (const i of [5, 6]) await store.writeReceipt('shop', `k${i}`, receipt(`${i}`), NOW + DAY + 3)
      expect(await store.readReceipt('shop', 'k4', NOW + DAY + 3)).toEqual(receipt('4'))
    })

    test('the oldest receipts of a project go first when they have too many bytes', async () => {
      const store = await openStore()
      const kept = async () => {
        const receipts = await Promise.all([0, 1, 2, 3].map((i) => store.readReceipt('shop', `k${i}`, NOW + 10)))
        return receipts.map((row) => row?.body.length)
      }
      const write = (i: number, length: number) =>
        store.writeReceipt('shop', `k${i}`, receipt('x'.repeat(length)), NOW + i)
      for (const [i, length] of [200, 300, 10].entries()) await write(i, length)
      expect(await kept()).toEqual([200, 300, 10, undefined])
      await write(3, 300)
      expect(await kept()).toEqual([undefined, 300, 10, 300])
      // One that alone is too large stays: a retry that comes at once has its answer.
      await write(0, 5_000)
      expect(await kept()).toEqual([5_000, undefined, undefined, undefined])
      await write(1, 10)
      expect(await kept()).toEqual([undefined, 10, undefined, undefined])
      // The room of what expired is free again.
      await store.sweep(NOW + DAY + 10)
      const later = NOW + DAY + 10
      for (const i of [0, 1, 2]) await store.writeReceipt('shop', `k${i}`, receipt('x'.repeat(200)), later + i)
      expect((await store.readReceipt('shop', 'k0', later))?.body.length).toBe(200)
    })

    test('permits of a window are granted up to the limit, and anew in the next one', async () => {
      const store = await openStore()
      const ask = (permits: number, nowMs: number, bucket = 'key') =>
        store.takePermits({ bucket, permits, limit: 10, windowMs: MINUTE, nowMs })
      expect(await ask(4, NOW)).toEqual({ granted: 4, left: 6 })
      expect(await ask(7, NOW + MINUTE - 1)).toEqual({ granted: 6, left: 0 })
      expect(await ask(1, NOW + 5)).toEqual({ granted: 0, left: 0 })
      expect(await ask(1, NOW, 'other')).toEqual({ granted: 1, left: 9 })
      expect(await ask(4, NOW + MINUTE)).toEqual({ granted: 4, left: 6 })
    })

    test('every partition is in one group', async () => {
      const store = await openStore()
      const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition)
      expect(store.groups.flat().sort((a, b) => a - b)).toEqual(partitions)
    })

    test('a lease is its holder’s until it ends or is given up, partition by partition', async () => {
      const store = await openStore()
      const take = (holder: string, leaseMs: number, nowMs = NOW, partition = 0) =>
        store.takeLease({ partition, holder, leaseMs, nowMs })
      expect(await take('one', DAY)).toBe(true)
      expect(await take('another', DAY)).toBe(false)
      expect(await take('another', 0)).toBe(false)
      expect(await take('another', DAY, NOW, 1)).toBe(true)
      expect(await take('one', DAY)).toBe(true)
      expect(await take('one', 0)).toBe(true)
      expect(await take('another', DAY)).toBe(true)
      // One that is shortened ends then: a holder that died is not waited for any longer.
      expect(await take('another', 100)).toBe(true)
      await expect.poll(() => take('one', DAY, NOW + 101)).toBe(true)
      expect(await take('another', DAY, NOW + 101)).toBe(false)
    })

    test('API keys are saved, replaced and listed', async () => {
      const store = await openStore()
      const key = {
        hash: '11'.repeat(32),
        project: 'shop',
        scopes: ['ingest', 'query'] as const,
        label: 'one',
        createdMs: NOW,
      }
      const last = {
        ...key,
        hash: 'ff'.repeat(32),
        label: 'two',
        expiresMs: NOW + DAY,
        limits: { batch: 100, query: 'off' as const },
      }
      await store.saveKey(last)
      await store.saveKey(key)
      await store.saveKey({ ...key, revokedMs: NOW + 1 })
      expect(await store.readKey(key.hash)).toEqual({ ...key, revokedMs: NOW + 1 })
      expect(await store.readKey('22'.repeat(32))).toBeUndefined()
      const listed = [...(await store.listKeys())].sort((one, other) => (one.hash < other.hash ? -1 : 1))
      expect(listed).toEqual([{ ...key, revokedMs: NOW + 1 }, last])
    })
  })

  describe(`${name}: life`, () => {
    test('reopening finds everything', async () => {
      const opened = await openedStore()
      const { store } = opened
      const metric = metricOf('m', { type: 'set', unit: 'u' })
      const { partition, metricId } = metric
      const seriesId = seriesIdOf(metricId, [['a', 'b']])
      const content = part({
        marker: { project: 'shop', key: 'k' },
        block: block(9, 9),
        metrics: [touch(metric)],
        series: [seriesTouch(metric, [['a', 'b']])],
        members: [{ metricId, seriesId, bucketMs: NOW, members: ['x', 'y'] }],
        events: [{ project: 'shop', id: 'e', timeMs: NOW, json: '{}' }],
      })
      await store.append([commit(partition, 1, content), commit((partition + 1) % PARTITIONS, 1)])
      await list(store, metric, SECONDS_10, NOW)
      await store.expireWindow({ partition, window: { metricId, resolutionMs: MINUTE, windowMs: NOW }, nowMs: NOW })
      await store.writeReceipt('shop', 'k', { requestHash: 'aa', status: 202, body: 'ü' }, NOW)
      await store.saveKey({ hash: '11'.repeat(32), project: 'shop', scopes: ['admin'], label: '', createdMs: 1 })
      const everything = async (of: Store) => [
        await listAll(of, 'shop'),
        await of.readSeries(partition, metricId, 0, 10),
        await of.hasSeries(partition, metricId, [seriesId]),
        await of.readWatermarks(WRITER, [0, 1, 2, 3]),
        await of.readInbox(partition, 1e9),
        await of.inboxSize(partition),
        await of.readBlocks(partition, [content.block!.name], 'sketches'),
        await timeline(of, metric, SECONDS_10),
        await timeline(of, metric, MINUTE),
        await of.dueWindows(partition, NOW + 10 * DAY, 10),
        await of.countDistinct(partition, [[{ metricId, seriesId, resolutionMs: HOUR, bucketMs: NOW }]]),
        await of.readEvents({ project: 'shop', fromMs: 0, toMs: NOW, limit: 10, bytesMax: 1e6 }),
        await of.readReceipt('shop', 'k', NOW),
        await of.listKeys(),
      ]
      const before = await everything(store)
      expect(before.every((answer) => answer !== undefined)).toBe(true)
      const reopened = await opened.reopen()
      expect(await everything(reopened)).toEqual(before)
      const again = commit(partition, 2, content)
      expect(await only(reopened.append([again]))).toEqual({ status: 'applied', skipped: [0] })
    })

    test('after close every verb rejects with store_unavailable, and closing again does nothing', async () => {
      const store = await openStore()
      await store.ping()
      await store.close()
      await store.close()
      const unavailable = { name: 'GatewayError', code: 'store_unavailable' }
      await expect(store.ping()).rejects.toMatchObject(unavailable)
      await expect(store.readMetric('shop', 'm')).rejects.toMatchObject(unavailable)
      await expect(store.append([commit(0, 1)])).rejects.toMatchObject(unavailable)
      await expect(store.writeBlocks(0, [block()], NOW)).rejects.toMatchObject(unavailable)
      await expect(
        store.takePermits({ bucket: 'b', permits: 1, limit: 1, windowMs: 1, nowMs: 1 }),
      ).rejects.toMatchObject(unavailable)
      await expect(store.takeLease({ partition: 0, holder: 'h', leaseMs: 1, nowMs: NOW })).rejects.toMatchObject(
        unavailable,
      )
      await expect(store.sweep(NOW)).rejects.toMatchObject(unavailable)
    })

    test('commits under way when the store closes are finished', async () => {
      const opened = await openedStore()
      const outcomes = [1, 2, 3].map((number) => opened.store.append([commit(0, number)]))
      const store = await opened.reopen()
      expect((await Promise.all(outcomes)).flat().map(({ status }) => status)).toEqual([
        'applied',
        'applied',
        'applied',
      ])
      expect(await store.readWatermarks(WRITER, [0])).toEqual([3])
    })

    test('any sequence of verbs leaves what a simple model says', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(stepArbitrary, { minLength: 1, maxLength: 40 }), async (steps) => {
          const opened = await openEmpty()
          const model = new Model()
          let { store } = opened
          try {
            for (const step of steps) {
              if (step.kind === 'reopen') store = await opened.reopen()
              else await model.take(store, step)
              await model.check(store)
            }
          } finally {
            await opened.dispose()
          }
        }),
        { numRuns: 25 },
      )
    })
  })
}

// A model of one partition: appends of two metrics by two writers, folds of all or part of the inbox, expiry, reopening.

const MODEL_METRICS = ['m0', 'm1'].map((base) => {
  for (let i = 0; ; i++) {
    const metric = metricOf(`${base}-${i}`)
    if (metric.partition === 2) return metric
  }
})
const MODEL_WIDTH = windowWidthMs(SECONDS_10)

const stepArbitrary = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      writer: fc.constantFrom(WRITER, OTHER_WRITER),
      /** Difference to the number that is due. */
      ahead: fc.constantFrom(0, 0, 0, 0, -1, 1),
      metric: fc.nat({ max: 1 }),
      tag: fc.nat({ max: 3 }),
      key: fc.option(fc.nat({ max: 2 }), { nil: undefined }),
      clash: fc.constantFrom(false, false, false, false, true),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('fold' as const),
      entries: fc.nat({ max: 3 }),
      metric: fc.nat({ max: 1 }),
      window: fc.nat({ max: 2 }),
      replaces: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('expire' as const),
      metric: fc.nat({ max: 1 }),
      window: fc.nat({ max: 2 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('sweep' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reopen' as const) }) },
)
type Step = typeof stepArbitrary extends fc.Arbitrary<infer T> ? Exclude<T, { readonly kind: 'reopen' }> : never

class Model {
  readonly #partition = 2
  #nowMs = NOW
  readonly #numbers = new Map<string, number>()
  readonly #markers = new Set<string>()
  readonly #points = [0, 0]
  readonly #tags: string[][] = [[], []]
  #inbox: { readonly block: string; readonly bytes: Uint8Array }[] = []
  #listed: { readonly metric: number; readonly window: number; readonly entry: IndexEntry }[] = []
  readonly #expired = [new Set<number>(), new Set<number>()]
  #order = 0

  async take(store: Store, step: Step): Promise<void> {
    this.#nowMs += 1_000
    if (step.kind === 'append') await this.#append(store, step)
    else if (step.kind === 'fold') await this.#fold(store, step)
    else if (step.kind === 'expire') await this.#expire(store, step)
    else await store.sweep(this.#nowMs)
  }

  async #append(store: Store, step: Extract<Step, { kind: 'append' }>): Promise<void> {
    const last = this.#numbers.get(step.writer) ?? 0
    const number = Math.max(1, last + 1 + step.ahead)
    const base = MODEL_METRICS[step.metric]!
    const type = step.clash ? ('counter' as const) : ('gauge' as const)
    const metric = { ...base, definition: { ...base.definition, type } }
    const appended = block(5 + step.tag)
    const only1 = part({
      ...(step.key === undefined ? {} : { marker: { project: 'shop', key: `key-${step.key}` } }),
      block: appended,
      metrics: [touch(metric)],
      series: [seriesTouch(metric, [['tag', `${step.tag}`]])],
      nowMs: this.#nowMs,
    })
    const outcome = await only(
      store.append([{ partition: this.#partition, writer: step.writer, number, parts: [only1] }]),
    )
    if (number <= last) return expect(outcome).toEqual({ status: 'known' })
    if (number > last + 1) return expect(outcome).toEqual({ status: 'gap', watermark: last })
    const skipped = step.key !== undefined && this.#markers.has(`key-${step.key}`)
    // The first definition is a gauge, unless a clash came first and made the metric a counter.
    if (!skipped && this.#types[step.metric] !== undefined && this.#types[step.metric] !== type) {
      return expect(outcome).toEqual({ status: 'conflict', metricIds: [base.metricId], deleted: [] })
    }
    expect(outcome).toEqual({ status: 'applied', skipped: skipped ? [0] : [] })
    this.#numbers.set(step.writer, number)
    if (skipped) return undefined
    if (step.key !== undefined) this.#markers.add(`key-${step.key}`)
    this.#types[step.metric] = type
    this.#points[step.metric]!++
    const tags = this.#tags[step.metric]!
    if (!tags.includes(`${step.tag}`)) tags.push(`${step.tag}`)
    this.#inbox.push({ block: appended.name, bytes: appended.scalars })
    return undefined
  }

  readonly #types: (string | undefined)[] = [undefined, undefined]

  async #fold(store: Store, step: Extract<Step, { kind: 'fold' }>): Promise<void> {
    const partition = this.#partition
    const { metricId } = MODEL_METRICS[step.metric]!
    const inbox = (await store.readInbox(partition, 1e9)).slice(0, step.entries)
    const windowMs = NOW + step.window * MODEL_WIDTH
    const merged = block()
    await store.writeBlocks(partition, [merged], this.#nowMs)
    const entry = entryOf(merged.name, windowMs, { order: ++this.#order })
    const timelineKey = { metricId, resolutionMs: SECONDS_10 }
    const replaced = step.replaces
      ? this.#listed.filter((of) => of.metric === step.metric && of.window === step.window)
      : []
    const folded = await store.commitFold({
      partition,
      inbox,
      removed: replaced.map((of) => ({ timeline: timelineKey, entry: of.entry })),
      added: [{ timeline: timelineKey, entry }],
      touched: [{ ...timelineKey, windowMs, expiresMs: this.#nowMs }],
      nowMs: this.#nowMs,
    })
    const possible = !this.#expired[step.metric]!.has(step.window)
    expect(folded).toBe(possible)
    if (!possible) return
    this.#inbox = this.#inbox.slice(inbox.length)
    this.#listed = this.#listed.filter((of) => !replaced.includes(of))
    this.#listed.push({ metric: step.metric, window: step.window, entry })
  }

  async #expire(store: Store, step: Extract<Step, { kind: 'expire' }>): Promise<void> {
    const { metricId } = MODEL_METRICS[step.metric]!
    const window = { metricId, resolutionMs: SECONDS_10, windowMs: NOW + step.window * MODEL_WIDTH }
    expect(await store.expireWindow({ partition: this.#partition, window, nowMs: this.#nowMs })).toBe(true)
    this.#listed = this.#listed.filter((of) => of.metric !== step.metric || of.window !== step.window)
    this.#expired[step.metric]!.add(step.window)
  }

  async check(store: Store): Promise<void> {
    const partition = this.#partition
    const inbox = await store.readInbox(partition, 1e9)
    expect(inbox.map((entry) => entry.block)).toEqual(this.#inbox.map((entry) => entry.block))
    const bytes = await store.readBlocks(
      partition,
      this.#inbox.map((entry) => entry.block),
      'scalars',
    )
    expect(bytes).toEqual(this.#inbox.map((entry) => entry.bytes))
    const total = this.#inbox.reduce((sum, entry) => sum + entry.bytes.length, 0)
    expect(await store.inboxSize(partition)).toEqual({ entries: inbox.length, bytes: total })
    for (const writer of [WRITER, OTHER_WRITER]) {
      expect(await store.readWatermarks(writer, [partition])).toEqual([this.#numbers.get(writer) ?? 0])
    }
    for (const [i, metric] of MODEL_METRICS.entries()) {
      const row = await store.readMetric('shop', metric.definition.name)
      expect(row?.points ?? 0).toBe(this.#points[i])
      const series = await store.readSeries(partition, metric.metricId, 0, 100)
      expect(series!.map((of) => of.tags[0]![1])).toEqual(this.#tags[i])
      const index = await timeline(store, metric, SECONDS_10)
      const listed = this.#listed.filter((of) => of.metric === i).map((of) => of.entry)
      expect(index.entries).toEqual(listed.sort((x, y) => x.windowMs - y.windowMs || x.order - y.order))
      const present = await store.readBlocks(
        partition,
        listed.map((entry) => entry.block),
        'scalars',
      )
      expect(present.every((of) => of !== undefined)).toBe(true)
      const covered = index.expired.flatMap(({ fromMs, toMs }) =>
        Array.from({ length: (toMs - fromMs) / MODEL_WIDTH }, (_, n) => (fromMs - NOW) / MODEL_WIDTH + n),
      )
      expect(covered).toEqual([...this.#expired[i]!].sort())
    }
    const due = await store.dueWindows(partition, this.#nowMs, 100)
    const names = (windows: readonly { readonly metricId: Id64; readonly windowMs: number }[]) =>
      windows.map(({ metricId, windowMs }) => `${formatId(metricId)} ${windowMs}`).sort()
    const windows = new Map(
      this.#listed.map((of) => [
        `${of.metric} ${of.window}`,
        { metricId: MODEL_METRICS[of.metric]!.metricId, windowMs: of.entry.windowMs },
      ]),
    )
    expect(names(due)).toEqual(names([...windows.values()]))
    expect([...due].sort((x, y) => compareIds(x.metricId, y.metricId))).toHaveLength(windows.size)
  }
}
