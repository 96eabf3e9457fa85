import { describe, expect, it } from 'vitest'
import { Metric } from '../../../src/write/round/cached-metric.ts'

describe('a metric', () => {
  it('finds the series of its tags among so many that some have equal hashes', () => {
    const metric = new Metric('shop', 'cpu', 'gauge')
    // Two of so many hashes of 32 bits are equal, but for one run in 30,000.
    const hosts = Array.from({ length: 300_000 }, (_, i) => (Math.imul(i, 0x9e3779b1) >>> 0).toString(36))
    const series = hosts.map((host) => metric.seriesOf([['host', host]]))
    expect(new Set(series).size).toBe(hosts.length)
    expect(series.findIndex(({ tags }, i) => tags[0]![1] !== hosts[i])).toBe(-1)
    expect(hosts.findIndex((host, i) => metric.seriesOf([['host', host]]) !== series[i])).toBe(-1)
  })
})
