import { expect, it } from 'vitest'
import type { Pace } from '../../../src/model/steps.ts'
import { RollupTable } from '../../../src/rollup/rollup-table.ts'
import { commitSteps } from '../../../src/write/commit/commit-steps.ts'
import { Metric, Series } from '../../../src/write/round/cached-metric.ts'
import { encodeMetrics, type RoundMetric, seriesRegistrations } from '../../../src/write/round/encode-round.ts'
import { metricRow } from '../../support/fake-gateway.ts'

class CountingPace implements Pace {
  pauses = 0

  async pause(): Promise<void> {
    this.pauses++
  }
}

const STEP_MS = 10_000

/** A metric with so many series, each with one row. */
function roundMetric(series: number, name = 'm'): RoundMetric {
  const metric = new Metric('shop', name, 'distribution')
  metric.setRow(metricRow({ name, type: 'distribution' }), 0)
  const table = new RollupTable('distribution')
  for (let i = 0; i < series; i++) table.addValue(table.addRow(i, i, 0), 0, i)
  return {
    metric,
    table,
    points: series,
    firstMs: 0,
    lastMs: 0,
    cumulative: false,
    series: [],
    members: new Map(),
    requestIndexes: [0],
  }
}

const noFault = (): never => {
  throw new Error('a metric that cannot be encoded')
}

it('pauses between the blocks of a large metric', async () => {
  const pace = new CountingPace()
  const encoded = await encodeMetrics(STEP_MS, [roundMetric(30_000)], noFault, pace)
  expect(encoded.map(({ block }) => block.rollupCount)).toEqual([8_192, 8_192, 8_192, 5_424])
  expect(encoded.map(({ roundMetrics }) => roundMetrics.length)).toEqual([1, 0, 0, 0])
  expect(pace.pauses).toBeGreaterThanOrEqual(4)
})

it('stores no block of a large metric when a later row cannot be encoded', async () => {
  const broken = roundMetric(20_000)
  broken.table.addWeighted(broken.table.addRow(30_000, 0, 0), 0, 1, 0.5)
  broken.table.addWeighted(broken.table.addRow(30_000, 0, 0), 0, 2, 0.5)
  const failed: unknown[] = []
  const roundMetrics = [broken, roundMetric(10, 'other')]
  const encoded = await encodeMetrics(STEP_MS, roundMetrics, (faulty) => failed.push(...faulty), new CountingPace())
  expect(failed).toEqual([broken])
  expect(encoded.map(({ block }) => block.rollupCount)).toEqual([10])
})

it('yields between the commits of a large round', () => {
  const { metric } = roundMetric(0)
  const { metricId, generation } = metric.row!
  const newSeries = Array.from({ length: 10_000 }, (_, i) => {
    const series = new Series(metric, [['of', String(i)]])
    series.id = { hi: i, lo: i }
    return series
  })
  const touch = {
    metricId,
    generation,
    definition: metric.definition,
    points: 1,
    firstMs: 0,
    lastMs: 0,
    cumulative: false,
  }
  const part = { metrics: [touch], series: seriesRegistrations(newSeries), members: [], events: [], nowMs: 0 }
  const steps = commitSteps(new Map([[0, [{ part, seriesToRegister: newSeries, series: newSeries, points: 1 }]]]))
  let yields = 0
  let next = steps.next()
  for (; next.done !== true; next = steps.next()) yields++
  expect(yields).toBe(26)
  const commits = next.value.flatMap((step) => step.get(0)!)
  expect(commits.flatMap(({ part: { series } }) => series)).toHaveLength(10_000)
})
