import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { MetricFamily } from '../../src/telemetry/telemetry-interface.ts'
import { WorkerMetrics } from '../../src/telemetry/worker-metrics.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function familiesWith(counted: number, held: number): MetricFamily[] {
  const family = (name: string, type: string, aggregator: string, value: number): MetricFamily => ({
    name,
    help: name,
    type,
    aggregator,
    values: [{ value, labels: {} }],
  })
  const le = (bound: number | string, value: number) => ({
    value,
    labels: { le: bound },
    metricName: 'seconds_bucket',
  })
  return [
    family('counted', 'counter', 'sum', counted),
    family('held', 'gauge', 'sum', held),
    family('waited', 'gauge', 'max', held),
    { ...family('seconds', 'histogram', 'sum', 0), values: [le(1, counted), le('+Inf', counted + 1)] },
  ]
}

function samplesOf(text: string): Record<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return Object.fromEntries(lines.map((line) => line.split(' ')).map(([name, value]) => [name, Number(value)]))
}

/** Processes `a` and `b`; they respond with the metrics set in `responses`. */
function twoProcesses() {
  const responses = new Map<string, MetricFamily[]>()
  const asked: string[] = []
  const metrics = new WorkerMetrics<string>((process) => {
    asked.push(process)
    const families = responses.get(process)
    if (families !== undefined) metrics.receiveResponse(process, families)
  })
  for (const process of ['a', 'b']) metrics.addWorker(process)
  const read = async (): Promise<Record<string, number>> => {
    const text = metrics.readMetricsText()
    await vi.runAllTimersAsync()
    return samplesOf(await text)
  }
  return { metrics, responses, asked, read }
}

describe('the metrics of several processes', () => {
  it('are summed, except those that are the same for all', async () => {
    const { responses, read } = twoProcesses()
    responses.set('a', familiesWith(3, 10)).set('b', familiesWith(4, 20))
    expect(await read()).toEqual({
      counted: 7,
      held: 30,
      waited: 20,
      'seconds_bucket{le="1"}': 7,
      'seconds_bucket{le="+Inf"}': 9,
    })
  })

  it('use the last known counters of a process that does not respond, and do not ask it twice', async () => {
    const { metrics, responses, asked, read } = twoProcesses()
    responses.set('a', familiesWith(3, 10)).set('b', familiesWith(4, 20))
    await read()
    responses.delete('b')
    responses.set('a', familiesWith(5, 10))
    const expected = { counted: 9, held: 10, waited: 10, 'seconds_bucket{le="1"}': 9 }
    expect(await read()).toMatchObject(expected)
    expect(await read()).toMatchObject(expected)
    expect(asked.filter((process) => process === 'b')).toHaveLength(2)
    metrics.receiveResponse('b', familiesWith(6, 20))
    responses.set('b', familiesWith(7, 20))
    expect(await read()).toMatchObject({ counted: 12, held: 30 })
  })

  it('keep the counters of processes that have exited', async () => {
    const { metrics, responses, read } = twoProcesses()
    responses.set('a', familiesWith(3, 10))
    for (let i = 0; i < 4; i++) {
      responses.set('b', familiesWith(1, 20))
      expect(await read()).toMatchObject({ counted: 4 + i, held: 30, 'seconds_bucket{le="+Inf"}': 6 + 2 * i })
      metrics.removeWorker('b')
      expect(await read()).toMatchObject({ counted: 4 + i, held: 10 })
      metrics.addWorker('b')
    }
  })

  it('keep the counters of a process that exits during a reading', async () => {
    const { metrics, responses, read } = twoProcesses()
    responses.set('a', familiesWith(3, 10)).set('b', familiesWith(4, 20))
    await read()
    responses.delete('b')
    const reading = metrics.readMetricsText()
    metrics.removeWorker('b')
    expect(samplesOf(await reading)).toMatchObject({ counted: 7, held: 10 })
  })
})
