import { describe, expect, it } from 'vitest'
import { GatewayMetrics } from '../../src/telemetry/gateway-metrics.ts'
import type { PolledFigures } from '../../src/telemetry/telemetry-interface.ts'

const SOURCES: PolledFigures = {
  points: () => 7,
  events: () => 9,
  pendingBytes: () => 100,
  retainedBytes: () => 200,
  cacheBytes: () => 300,
  rateCounters: () => 4,
  folds: () => ({
    steps: 1,
    failures: 2,
    merges: 3,
    seals: 4,
    expired: 5,
    rowsOmitted: 0,
    blocksOmitted: 0,
    bytesWritten: 6,
    waitedMs: 1_500,
  }),
  backlog: async () => ({ entries: 8, bytes: 900 }),
}

/** Samples by name and labels. */
async function samplesOf(telemetry: GatewayMetrics): Promise<ReadonlyMap<string, number>> {
  const lines = (await telemetry.readMetricsText()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]))
}

const META = {
  resolutionsMs: [10_000],
  rollupsRead: 10,
  blocksRead: 5,
  cacheHits: 3,
  isExact: true,
  bucketsUnavailable: 0,
  durationMs: 30,
  cost: 10,
  nowMs: 0,
}

describe('the metrics of the gateway', () => {
  it('have the same counts at each reading', async () => {
    const telemetry = new GatewayMetrics(SOURCES)
    const count = telemetry.createResponseCounter('/a/:name')
    for (const status of [200, 200, 404]) count('GET', status)
    count('DELETE', 204)
    telemetry.countRejectedItems([
      { index: 0, code: 'invalid_value', message: '' },
      { index: 4, code: 'invalid_value', message: '' },
      { index: 5, code: 'missing_name', message: '' },
    ])
    telemetry.observeCommitStep(3)
    telemetry.observeCommitStep(30)
    telemetry.observeQuery(META)
    telemetry.observeQuery({ ...META, durationMs: 60_000 })
    telemetry.countLostPoints(11)
    await telemetry.readMetricsText()
    const samples = await samplesOf(telemetry)
    const expected: Record<string, number> = {
      'gaugeql_http_requests_total{route="/a/:name",method="GET",status="200"}': 2,
      'gaugeql_http_requests_total{route="/a/:name",method="GET",status="404"}': 1,
      'gaugeql_http_requests_total{route="/a/:name",method="DELETE",status="204"}': 1,
      'gaugeql_rejected_items_total{code="invalid_value"}': 2,
      'gaugeql_rejected_items_total{code="missing_name"}': 1,
      gaugeql_processes: 1,
      gaugeql_points_total: 7,
      gaugeql_events_total: 9,
      gaugeql_lost_points_total: 11,
      'gaugeql_commit_seconds_bucket{le="0.0025"}': 0,
      'gaugeql_commit_seconds_bucket{le="0.005"}': 1,
      'gaugeql_commit_seconds_bucket{le="0.05"}': 2,
      gaugeql_commit_seconds_count: 2,
      'gaugeql_query_seconds_bucket{le="30"}': 1,
      gaugeql_query_seconds_count: 2,
      gaugeql_rollups_read_total: 20,
      gaugeql_blocks_read_total: 10,
      gaugeql_block_cache_hits_total: 6,
      gaugeql_block_cache_bytes: 300,
      gaugeql_pending_bytes: 100,
      gaugeql_retained_bytes: 200,
      gaugeql_rate_counters: 4,
      gaugeql_fold_backlog_bytes: 900,
      gaugeql_fold_backlog_entries: 8,
      gaugeql_fold_backlog_age_seconds: 1.5,
      gaugeql_folds_total: 1,
      gaugeql_fold_failures_total: 2,
      'gaugeql_merges_total{kind="part"}': 3,
      'gaugeql_merges_total{kind="whole"}': 4,
      gaugeql_windows_expired_total: 5,
      gaugeql_fold_written_bytes_total: 6,
    }
    for (const [name, value] of Object.entries(expected)) expect([name, samples.get(name)]).toEqual([name, value])
    expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(0)
    expect(samples.has('nodejs_eventloop_lag_p99_seconds')).toBe(true)
  })

  it('omit the figures of the store while it does not respond', async () => {
    let backlog = (): Promise<{ entries: number; bytes: number }> => Promise.resolve({ entries: 0, bytes: 1 })
    const telemetry = new GatewayMetrics({ ...SOURCES, backlog: () => backlog() })
    expect((await samplesOf(telemetry)).get('gaugeql_fold_backlog_bytes')).toBe(1)
    backlog = () => Promise.reject(new Error('away'))
    const samples = await samplesOf(telemetry)
    expect(samples.has('gaugeql_fold_backlog_bytes')).toBe(false)
    expect(samples.get('gaugeql_points_total')).toBe(7)
  })

  it('are collected once for concurrent readers', async () => {
    let asked = 0
    const telemetry = new GatewayMetrics({
      ...SOURCES,
      backlog: async () => {
        asked++
        return { entries: 0, bytes: 0 }
      },
    })
    await Promise.all([telemetry.readMetricsText(), telemetry.readMetricsText(), telemetry.readMetricsText()])
    expect(asked).toBe(1)
  })
})
