import { beforeEach, describe, expect, it } from 'vitest'
import type { PointSink } from '../../../src/model/point.ts'
import type { Store } from '../../../src/store/store.ts'
import type { Writer, WriterSettings } from '../../../src/write/commit/writer.ts'
import { PROJECT, T0_MS, totalOf } from '../../support/engine.ts'
import { FaultyStore, gate } from '../../support/faulty-store.ts'
import { openTestStore, openTestWriter } from '../../support/test-writer.ts'
import { held, refusal, until } from '../commit/harness.ts'

interface Total {
  readonly item?: number
  readonly host?: string
  /** Seconds after the start. */
  readonly at: number
  readonly total: number
}

let real: Store
let faulty: FaultyStore

beforeEach(async () => {
  real = await openTestStore()
  faulty = new FaultyStore(real)
})

const newWriter = (settings: Partial<WriterSettings> = {}): Writer => openTestWriter(faulty, settings)

function track(writer: Writer, ...totals: readonly Total[]) {
  return writer.track(PROJECT, (sink: PointSink) => {
    for (const [i, { item = i, host = 'a', at, total }] of totals.entries()) {
      const series = sink.resolve('total', 'counter', [['host', host]])
      if ('code' in series) sink.reject(item, series)
      else sink.addTotalSince(item, series, T0_MS + at * 1_000, total, T0_MS)
    }
  })
}

const sum = () => totalOf(real, 'total', 'sum')
const pointsOf = async () => (await real.readMetric(PROJECT, 'total'))?.points

describe('the start of a running total', () => {
  it('is stored by a request although another one, whose commit fails later, has it too', async () => {
    const writer = newWriter()
    await track(writer, { host: 'other', at: 1, total: 0 })
    const slow = gate()
    faulty.next('append', async () => {
      await slow.fault(async () => undefined)
      throw new Error('a defect')
    })
    const failing = held(track(writer, { at: 10, total: 5 }))
    await slow.reached
    const concurrent = held(track(writer, { at: 20, total: 7 }))
    await until(() => writer.pendingBytes > 0)
    slow.open()
    expect(await refusal(failing)).toMatchObject({ code: 'internal' })
    await concurrent
    expect(await sum()).toBe(7)
  })

  it('is stored once, and only once in a request', async () => {
    const writer = newWriter()
    await track(writer, { at: 10, total: 5 }, { at: 20, total: 6 })
    await track(writer, { at: 30, total: 7 })
    expect(await sum()).toBe(7)
    expect(await pointsOf()).toBe(4)
  })

  it('is stored with the next request when its item was rejected and another item of the series was not', async () => {
    const writer = newWriter({ seriesPerMetricMax: 1 })
    const rejected = await track(
      writer,
      { item: 0, at: 10, total: 5 },
      { item: 0, host: 'too many', at: 10, total: 5 },
      { item: 1, at: 20, total: 7 },
    )
    expect(rejected).toMatchObject([{ index: 0, code: 'series_limit_exceeded' }])
    await track(writer, { at: 30, total: 8 })
    expect(await sum()).toBe(8)
  })

  it('is not stored again because another item of its request was rejected', async () => {
    const writer = newWriter({ seriesPerMetricMax: 1 })
    const send = (at: number) => track(writer, { at, total: at }, { host: 'too many', at, total: at })
    for (const at of [10, 20, 30]) expect(await send(at)).toMatchObject([{ index: 1 }])
    expect(await sum()).toBe(30)
    expect(await pointsOf()).toBe(4)
  })
})
