import { expect, test } from 'vitest'
import type { WindowKey } from '../../../src/store/store.ts'
import { OpenWindows } from '../../../src/write/fold/open-windows.ts'
import { RUNS_PER_MERGE } from '../../../src/write/fold/runs-to-merge.ts'

const WINDOW_MS = 3_600_000
const MANY = 100_001

function windowAt(index: number): WindowKey {
  return { metricId: { hi: 1, lo: 2 }, resolutionMs: 10_000, windowMs: index * WINDOW_MS }
}

test('beyond their bound the windows that were not touched for the longest time are evicted', () => {
  const windows = new OpenWindows()
  for (let index = 0; index < MANY - 1; index++) windows.touch(0, windowAt(index), RUNS_PER_MERGE, index)
  expect([...windows.withRunsToMerge()]).toHaveLength(MANY - 1)
  // Touched again, the first window is the newest one.
  windows.touch(0, windowAt(0), 1, MANY)
  windows.touch(0, windowAt(MANY), RUNS_PER_MERGE, MANY)
  const kept = [...windows.withRunsToMerge()].map(({ window }) => window.windowMs / WINDOW_MS)
  expect(kept.length).toBeLessThan(MANY - 1)
  expect(kept.length).toBeGreaterThan(MANY / 2)
  expect(kept.slice(-2)).toEqual([0, MANY])
  // Of the others, the oldest ones are gone and the newer ones are all there.
  expect(kept.slice(0, -2)).toEqual(Array.from({ length: kept.length - 2 }, (_, i) => MANY - kept.length + 1 + i))
})
