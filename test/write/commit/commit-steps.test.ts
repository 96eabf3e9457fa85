import { beforeEach, describe, expect, it } from 'vitest'
import type { Commit, Store } from '../../../src/store/store.ts'
import type { Writer, WriterSettings } from '../../../src/write/commit/writer.ts'
import { decoderOf, PROJECT, T0_MS, type TestPoint, totalOf } from '../../support/engine.ts'
import { FaultyStore, gate, lostRequest } from '../../support/faulty-store.ts'
import { ForgetfulStore } from '../../support/forgetful-store.ts'
import { openTestStore, openTestWriter } from '../../support/test-writer.ts'

let real: Store
let faulty: FaultyStore

beforeEach(async () => {
  real = await openTestStore()
  faulty = new FaultyStore(real)
})

const LARGE = { newMetricsPerRequestMax: 100_000, seriesPerMetricMax: 100_000 }

const newWriter = (settings: Partial<WriterSettings> = {}, store = faulty): Writer =>
  openTestWriter(store, { ...LARGE, ...settings })

const point = (name: string, tags: Readonly<Record<string, string>> = {}): TestPoint => ({
  name,
  type: 'counter',
  value: 1,
  tags,
})
const named = (count: number) => Array.from({ length: count }, (_, i) => point(`m${i}`))
const tagged = (count: number) => Array.from({ length: count }, (_, i) => point('m', { host: `${i}` }))
const track = (writer: Writer, ...points: readonly TestPoint[]) => writer.track(PROJECT, decoderOf(points))

/** What each call of `append` brought, all its commits together. */
function sizes() {
  return faulty.calls('append').map(([commits]) => {
    const parts = commits.flatMap((commit) => commit.parts)
    return {
      metrics: parts.reduce((sum, { metrics }) => sum + metrics.length, 0),
      series: parts.reduce((sum, { series }) => sum + series.length, 0),
      sets: parts.reduce((sum, { members }) => sum + members.length, 0),
      members: parts.reduce((sum, part) => sum + part.members.reduce((all, { members }) => all + members.length, 0), 0),
    }
  })
}

const namesIn = (commits: readonly Commit[]) =>
  commits.flatMap(({ parts }) => parts.flatMap(({ metrics }) => metrics.map(({ definition }) => definition.name)))

describe('a large round', () => {
  it.each([
    ['metrics', named(3_000), { metrics: 600, series: 600 }],
    ['series of a metric', tagged(3_000), { metrics: 20, series: 1_200 }],
    [
      'set buckets two days apart',
      Array.from(
        { length: 3_000 },
        (_, i): TestPoint => ({
          name: 's',
          type: 'set',
          value: 'x',
          timeMs: T0_MS - i * 2 * 86_400_000,
        }),
      ),
      { sets: 100 },
    ],
    [
      'members of a set',
      Array.from({ length: 30_000 }, (_, i): TestPoint => ({ name: 's', type: 'set', value: `member ${i}` })),
      { members: 10_000 },
    ],
  ])(
    'is brought in commits of a bounded size: %s',
    async (_, points, most) => {
      const writer = newWriter()
      expect(await track(writer, ...points)).toEqual([])
      for (const size of sizes())
        for (const [what, max] of Object.entries(most)) expect(size[what as keyof typeof size]).toBeLessThanOrEqual(max)
      const names = [...new Set(points.map(({ name }) => name))]
      const rows = await real.readMetrics(PROJECT, names)
      expect(rows.reduce((sum, row) => sum + row!.points, 0)).toBe(points.length)
      expect(rows.reduce((sum, row) => sum + row!.seriesCount, 0)).toBe(
        new Set(points.map(({ name, tags }) => JSON.stringify([name, tags]))).size,
      )
      const before = faulty.calls('append').length
      await track(writer, ...points.slice(0, 10))
      expect(faulty.calls('append')).toHaveLength(before + 1)
      expect(sizes().at(-1)).toMatchObject({ series: 0 })
    },
    30_000,
  )

  it('counts every member once', async () => {
    const writer = newWriter()
    const points = Array.from({ length: 20_000 }, (_, i): TestPoint => ({ name: 's', type: 'set', value: `${i}` }))
    await Promise.all([track(writer, ...points), writer.track(PROJECT, decoderOf(points), 'key')])
    await writer.track(PROJECT, decoderOf(points), 'key')
    const count = await totalOf(real, 's', 'count')
    expect(Math.abs(count - 20_000) / 20_000).toBeLessThan(0.03)
    expect((await real.readMetric(PROJECT, 's'))?.points).toBe(40_000)
  }, 30_000)

  it('lets a small request between two of its commits', async () => {
    const writer = newWriter()
    await track(writer, point('small'))
    const slow = gate()
    faulty.next('append', slow.fault)
    const large = track(writer, ...named(3_000))
    await slow.reached
    const small = track(writer, point('small'))
    slow.open()
    await small
    const calls = faulty.calls('append').map(([commits]) => namesIn(commits))
    expect(calls.findIndex((names, i) => i > 0 && names.includes('small'))).toBeLessThan(4)
    await large
    expect(calls.length).toBeLessThan(faulty.calls('append').length)
  })

  it('is stored whole before a metric that it touches is deleted', async () => {
    const writer = newWriter()
    await track(writer, point('m0'))
    const slow = gate()
    faulty.next('append', slow.fault)
    const large = track(writer, ...named(3_000), point('m0'))
    await slow.reached
    const deleted = writer.deleteMetric({ project: PROJECT, name: 'm0', generation: 1 })
    slow.open()
    await large
    expect(await deleted).toBe(true)
    expect(await real.readMetric(PROJECT, 'm0')).toBeUndefined()
  })

  it('ends when the store becomes unavailable, and steps that were not sent are never stored', async () => {
    const writer = newWriter({ storeWaitMsMax: 3_000 })
    await track(writer, ...named(3_000))
    faulty.next('append', (proceed) => {
      faulty.always('append', lostRequest)
      return proceed()
    })
    await expect(track(writer, ...named(3_000))).rejects.toMatchObject({
      code: 'store_unavailable',
      details: { outcome: 'unknown' },
    })
    faulty.heal()
    await expect.poll(() => track(writer, point('after')).catch(() => 'away')).toEqual([])
    const rows = await real.readMetrics(
      PROJECT,
      named(3_000).map(({ name }) => name),
    )
    const stored = rows.filter((row) => row!.points === 2)
    expect(stored.length).toBeGreaterThan(0)
    expect(stored.length).toBeLessThan(1_300)
  }, 30_000)

  it('registers all series again when the store loses writes between two of its commits', async () => {
    const store = await ForgetfulStore.open()
    faulty = store.faulty
    const writer = newWriter({}, store.faulty)
    const points = named(2_000)
    await store.remember()
    await track(writer, ...points)
    const second = gate()
    faulty.next('append', (proceed) => proceed(), second.fault)
    const again = track(writer, ...points)
    await second.reached
    const gone = store.forget()
    second.open()
    await gone
    await again
    const rows = await store.current.readMetrics(
      PROJECT,
      points.map(({ name }) => name),
    )
    expect(rows.map((row) => [row?.points, row?.seriesCount])).toEqual(points.map(() => [2, 1]))
  }, 30_000)
})
