import { fixedInterval } from '../../src/model/interval.ts'
import type { Plan } from '../../src/query/plan/plan.ts'

/** A plan of buckets from time 0 on, each of which is read from one stored bucket of the same width. */
export function planOf(buckets: number, widthMs: number): Plan {
  return {
    interval: fixedInterval(widthMs)!,
    fromMs: 0,
    toMs: buckets * widthMs,
    edges: Float64Array.from({ length: buckets + 1 }, (_, bucket) => bucket * widthMs),
    reads: [{ level: 0, fromMs: 0, toMs: buckets * widthMs }],
    unavailableBuckets: new Uint8Array(buckets),
    unavailableCount: 0,
  }
}
