import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { partitionOf } from '../../../src/model/metric.ts'
import type { WriterSettings } from '../../../src/write/commit/writer.ts'
import { decoderOf, PROJECT, T0_MS, type TestPoint, totalOf } from '../../support/engine.ts'
import { type Fault, FaultyStore, gate, lostRequest, lostResponse } from '../../support/faulty-store.ts'
import { ForgetfulStore } from '../../support/forgetful-store.ts'
import { openTestStore, openTestWriter } from '../../support/test-writer.ts'

/** Two partitions of which neither waits for the other's server. */

const GROUPS = [[0], [1]]

function metricIn(partition: number): TestPoint {
  for (let i = 0; ; i++) {
    const name = `m${i}`
    if (partitionOf(PROJECT, name, 2) === partition) return { name, type: 'counter', value: 1 }
  }
}
const LEFT = metricIn(0)
const RIGHT = metricIn(1)

async function openGroups(settings: Partial<WriterSettings> = {}) {
  const real = await openTestStore()
  const faulty = new FaultyStore(real, { groups: GROUPS, mayLoseWrites: true })
  /** What happens to commits of the right partition. */
  const right = (fault: Fault) =>
    faulty.alwaysOf('append', (proceed, [commits]) =>
      commits.some(({ partition }) => partition === 1) ? fault(proceed) : proceed(),
    )
  const writer = openTestWriter(faulty, settings)
  const track = (points: readonly TestPoint[], key?: string) => writer.track(PROJECT, decoderOf(points), key)
  await track([LEFT, RIGHT])
  return { real, faulty, right, writer, track }
}

function detailsOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'stored',
    (error: unknown) => (error instanceof GatewayError ? [error.code, error.details?.['outcome']] : error),
  )
}

describe('a group of partitions that does not respond', () => {
  it('delays only requests that need it', async () => {
    const { real, right, track } = await openGroups()
    const slow = gate()
    right(slow.fault)
    const both = track([LEFT, RIGHT])
    await slow.reached
    for (let i = 0; i < 5; i++) await track([LEFT])
    expect(await totalOf(real, LEFT.name, 'sum')).toBe(7)
    expect(await totalOf(real, RIGHT.name, 'sum')).toBe(1)
    slow.open()
    await both
    expect(await totalOf(real, RIGHT.name, 'sum')).toBe(2)
  })

  it('leaves the outcome of a request unknown when other groups have stored their part', async () => {
    const { real, right, track } = await openGroups({ storeWaitMsMax: 500 })
    right(lostRequest)
    const unknown = ['store_unavailable', 'unknown']
    const outcomes = [[RIGHT], [LEFT, RIGHT], [LEFT]].map((points) => detailsOf(track(points)))
    expect(await Promise.all(outcomes)).toEqual([unknown, unknown, 'stored'])
    expect(await totalOf(real, LEFT.name, 'sum')).toBe(3)
  })

  it('gets no calls while it is unavailable, and nothing of such a request is stored', async () => {
    const { real, faulty, right, writer, track } = await openGroups({ storeWaitMsMax: 500 })
    right(lostRequest)
    await detailsOf(track([RIGHT]))
    const refused = ['store_unavailable', undefined]
    await expect.poll(() => detailsOf(track([RIGHT])), { timeout: 10_000 }).toEqual(refused)
    expect(await detailsOf(track([LEFT, RIGHT]))).toEqual(refused)
    expect(await detailsOf(track([LEFT]))).toBe('stored')
    expect(() => writer.requireAvailableStore()).toThrow(GatewayError)
    expect(await totalOf(real, LEFT.name, 'sum')).toBe(2)
    faulty.heal()
    await expect.poll(() => detailsOf(track([LEFT, RIGHT])), { timeout: 10_000 }).toBe('stored')
    expect(await totalOf(real, RIGHT.name, 'sum')).toBe(2)
  })

  it('counts a request with a key once in each partition, however often it is sent', async () => {
    const { real, faulty, right, track } = await openGroups({ storeWaitMsMax: 500 })
    for (const fault of [lostRequest, lostResponse]) {
      right(fault)
      await detailsOf(track([LEFT, RIGHT], 'key'))
    }
    faulty.heal()
    await expect.poll(() => detailsOf(track([LEFT, RIGHT], 'key')), { timeout: 10_000 }).toBe('stored')
    await track([LEFT, RIGHT], 'key')
    expect(await totalOf(real, LEFT.name, 'sum')).toBe(2)
    expect(await totalOf(real, RIGHT.name, 'sum')).toBe(2)
  })
})

describe('a group of partitions that lost writes', () => {
  it('makes the others check', async () => {
    const store = await ForgetfulStore.open({ groups: GROUPS })
    const writer = openTestWriter(store.faulty, { lossCheckIntervalMs: 3_600_000 })
    const track = (...points: readonly TestPoint[]) => writer.track(PROJECT, decoderOf(points))
    await track(LEFT, RIGHT)
    await store.remember()
    await track(LEFT, RIGHT)
    await store.forget()
    await track(LEFT)
    await expect.poll(() => totalOf(store.current, RIGHT.name, 'sum')).toBe(2)
    expect(await totalOf(store.current, LEFT.name, 'sum')).toBe(3)
  })

  it('accepts requests again after a check that got no response', async () => {
    const store = await ForgetfulStore.open({ groups: GROUPS })
    let nowMs = T0_MS
    const writer = openTestWriter(store.faulty, { lossCheckIntervalMs: 20, storeWaitMsMax: 5_000 }, {}, () => nowMs)
    const track = (...points: readonly TestPoint[]) => writer.track(PROJECT, decoderOf(points))
    await track(RIGHT)
    await store.remember()
    for (let i = 0; i < 2; i++) await track(LEFT)
    let checks = 0
    store.faulty.alwaysOf('append', (proceed, [[commit]]) => {
      if (commit!.partition === 0) return proceed()
      checks++
      return lostRequest(proceed)
    })
    await store.forget()
    await expect.poll(() => checks).toBe(1)
    store.faulty.heal()
    nowMs += 10_000
    expect(await detailsOf(track(RIGHT))).toBe('stored')
    expect(await totalOf(store.current, RIGHT.name, 'sum')).toBe(2)
  })

  it('goes on when another group evicts the commit that is being replayed', async () => {
    const store = await ForgetfulStore.open({ groups: GROUPS })
    const lost: number[] = []
    const writer = openTestWriter(
      store.faulty,
      { lossCheckIntervalMs: 3_600_000, retainedBytesMax: 4_000 },
      { pointsLost: (points) => lost.push(points) },
    )
    const track = (...points: readonly TestPoint[]) => writer.track(PROJECT, decoderOf(points))
    await track(RIGHT)
    await store.remember()
    for (let i = 0; i < 2; i++) await track(RIGHT)
    await store.forget()
    const slow = gate()
    store.faulty.alwaysOf('append', (proceed, [[commit]]) =>
      commit!.partition === 1 && commit!.commitNumber === 2 ? slow.fault(proceed) : proceed(),
    )
    const next = track(RIGHT)
    await slow.reached
    for (let i = 0; i < 10; i++) await track(LEFT)
    slow.open()
    expect(await next).toEqual([])
    expect(lost).toEqual([1])
    expect(await totalOf(store.current, RIGHT.name, 'sum')).toBe(3)
  })
})
