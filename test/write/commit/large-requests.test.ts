import { setTimeout as pause } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from 'vitest'
import { HOUR_MS } from '../../../src/model/time.ts'
import type { Store } from '../../../src/store/store.ts'
import type { Writer } from '../../../src/write/commit/writer.ts'
import {
  ORDINARY_MEMBERS_MAX,
  ORDINARY_NEW_SERIES_MAX,
  ORDINARY_POINTS_MAX,
  PointBatch,
} from '../../../src/write/round/point-batch.ts'
import { ask, PROJECT, T0_MS, type TestPoint, totalOf } from '../../support/engine.ts'
import { FaultyStore, gate, lostRequest } from '../../support/faulty-store.ts'
import { openTestStore, openTestWriter } from '../../support/test-writer.ts'
import { held, hit, refusal, track, until } from './harness.ts'

/** A large request, whatever makes it large, must not delay a small one. */

let real: Store
let faulty: FaultyStore
let writer: Writer

beforeEach(async () => {
  real = await openTestStore()
  faulty = new FaultyStore(real, { groups: [real.groups.flat()] })
  writer = openTestWriter(faulty)
})

const points = (length: number, point: (i: number) => TestPoint): readonly TestPoint[] =>
  Array.from({ length }, (_, i) => point(i))

/** Members of one set, each in an hour of its own: several commits. */
const visitors = points(ORDINARY_MEMBERS_MAX + 1, (i) => ({
  name: 'visitors',
  type: 'set',
  value: 'ada',
  timeMs: T0_MS - i * HOUR_MS,
}))

const small: TestPoint = { ...hit(7), name: 'small' }

/** How many points each call of `append` carries that carries a point of metric `small`. */
const pointsBesideSmall = (): readonly number[] =>
  faulty
    .calls('append')
    .map(([commits]) => commits.flatMap(({ parts }) => parts.flatMap(({ metrics }) => metrics)))
    .filter((metrics) => metrics.some(({ definition }) => definition.name === 'small'))
    .map((metrics) => metrics.reduce((sum, { points }) => sum + points, 0))

const LARGE: readonly [string, readonly TestPoint[]][] = [
  ['many points', points(ORDINARY_POINTS_MAX + 1, (i) => hit(1, { host: String(i % 100) }))],
  ['many set members', visitors],
  [
    'many new series',
    points(ORDINARY_NEW_SERIES_MAX + 1, (i) => ({ ...hit(1, { host: String(i) }), name: `hits${i % 2}` })),
  ],
]

describe('a small request', () => {
  it.each(LARGE)('is not in the round of a request with %s that arrives with it', async (_, large) => {
    // Metrics that are new would take longer to be admitted.
    await track(writer, small, { ...hit(0), name: 'hits0' }, { ...hit(0), name: 'hits1' }, visitors[0]!)
    const slow = gate()
    faulty.next('append', slow.fault)
    const first = track(writer, small)
    await slow.reached
    const order: string[] = []
    const both = [
      track(writer, ...large).then(() => order.push('large')),
      track(writer, small).then(() => order.push('small')),
    ]
    // The large one is decoded, admitted and added to a round before the round is closed.
    await until(() => writer.pendingBytes > 10_000)
    await pause(20)
    slow.open()
    await Promise.all([first, ...both])
    expect(order).toEqual(['small', 'large'])
    expect(pointsBesideSmall().slice(1)).toEqual([1, 1])
  })

  it('is committed while large ones wait because the store is behind with writing', async () => {
    await track(writer, hit(0))
    faulty.hasRoomForLargeWrites = false
    let isStored = false
    const large = track(writer, ...visitors).then(() => (isStored = true))
    for (let i = 0; i < 5; i++) await track(writer, hit(1))
    const sent = faulty.calls('append').flatMap(([commits]) => commits.flatMap(({ parts }) => parts))
    expect(sent.filter(({ members }) => members.length > 0)).toEqual([])
    expect(isStored).toBe(false)
    faulty.hasRoomForLargeWrites = true
    await large
    expect(await totalOf(real, 'hits', 'sum')).toBe(5)
    expect(await totalOf(real, 'visitors', 'count')).toBeGreaterThan(0)
  })

  it('is committed between the commits of large ones, however many there are', async () => {
    await track(writer, hit(0), visitors[0]!)
    const large = Array.from({ length: 12 }, () => track(writer, ...visitors))
    await until(() => faulty.calls('append').length > 2)
    const before = faulty.calls('append').length
    await track(writer, hit(1))
    // Its own, and at most one of each large round that is in progress.
    expect(faulty.calls('append').length - before).toBeLessThanOrEqual(5)
    await Promise.all(large)
  })
})

describe('a large request', () => {
  it('leaves no large columns behind, also if all its points are rejected', async () => {
    const limited = openTestWriter(faulty, { seriesPerMetricMax: 1 })
    await track(limited, hit(0))
    const rejected = await track(limited, ...points(100_000, () => hit(1, { host: 'b' })))
    expect(rejected).toHaveLength(100_000)
    const capacities: number[] = []
    for (let i = 0; i < 2; i++) {
      await limited.track(PROJECT, (sink) => {
        if (sink instanceof PointBatch) capacities.push(sink.timeMs.length)
      })
    }
    expect(capacities).toEqual([512, 512])
  })

  it('is refused while the store does not respond, also when it was being encoded', async () => {
    await track(writer, hit(0))
    faulty.always('append', lostRequest)
    const large = [held(track(writer, ...visitors)), held(track(writer, ...visitors)), held(track(writer, hit(1)))]
    for (const request of large) expect((await refusal(request)).code).toBe('store_unavailable')
  })

  it('is stored before a deletion that arrives after it', async () => {
    await track(writer, hit(0), visitors[0]!)
    const slow = gate()
    faulty.next('append', slow.fault)
    const first = track(writer, hit(1))
    await slow.reached
    const large = held(track(writer, ...visitors))
    await until(() => writer.pendingBytes > 10_000)
    const row = (await real.readMetric('test', 'visitors'))!
    const deletion = writer.deleteMetric({ project: 'test', name: 'visitors', generation: row.generation })
    slow.open()
    await Promise.all([first, large])
    expect(await deletion).toBe(true)
    expect(await real.readMetric('test', 'visitors')).toBeUndefined()
    expect((await ask(real, 'hits', { aggregations: ['sum'] })).groups[0]!.totals.get('sum')).toBe(1)
  })
})
