import { afterEach, describe, expect, it } from 'vitest'
import { partitionOf } from '../../../src/model/metric.ts'
import { DAY_MS } from '../../../src/model/time.ts'
import { decoderOf, T0_MS } from '../../support/engine.ts'
import { startGateway, type TestGateway } from '../../support/gateway.ts'

let gateway: TestGateway | undefined
afterEach(() => gateway?.close())

describe('a partition without writes for longer than stores keep watermarks', () => {
  it('takes the next commit, and nothing is counted twice', async () => {
    const weekly = Array.from({ length: 100 }, (_, i) => `weekly.${i}`).find(
      (name) => partitionOf('p', name, 8) !== partitionOf('p', 'busy', 8),
    )!
    let nowMs = T0_MS
    gateway = await startGateway({ now: () => nowMs })
    const { gateway: verbs, store } = gateway
    const point = (name: string) => ({ name, type: 'counter' as const, value: 1, timeMs: nowMs })
    const track = (...names: readonly string[]) => verbs.track('p', decoderOf(names.map(point)))
    await track('busy', weekly)
    for (const day of [4, 8]) {
      nowMs = T0_MS + day * DAY_MS
      await store.sweep(nowMs)
      await track('busy')
    }
    nowMs += 1_000
    expect(await track('busy', weekly)).toEqual([])
    expect((await verbs.metric('p', 'busy'))?.points).toBe(4)
    expect((await verbs.metric('p', weekly))?.points).toBe(2)
  })
})
