import { HOUR_MS } from '../../../src/model/time.ts'
import type { MetricRow } from '../../../src/store/catalog.ts'
import type { IndexEntry, Store } from '../../../src/store/store.ts'
import { windowStart, windowWidthMs } from '../../../src/store/windows.ts'
import { PROJECT, T0_MS, type TestPoint } from '../../support/engine.ts'

/** The time of folds. Points lie an hour before it. */
export const NOW_MS = T0_MS + HOUR_MS

export const gauge = (value: number, timeMs = T0_MS, tags: Readonly<Record<string, string>> = {}): TestPoint => ({
  name: 'level',
  type: 'gauge',
  value,
  timeMs,
  tags,
})

async function metric(store: Store, name: string): Promise<MetricRow> {
  const row = await store.readMetric(PROJECT, name)
  if (row === undefined) throw new Error(`there is no metric ${name}`)
  return row
}

/** What is listed of a metric in the window of a resolution that holds `timeMs`. */
export async function entriesOf(
  store: Store,
  name: string,
  resolutionMs: number,
  timeMs = T0_MS,
): Promise<readonly IndexEntry[]> {
  const { metricId } = await metric(store, name)
  const fromMs = windowStart(resolutionMs, timeMs)
  const { timelines } = await store.readIndex({
    partition: 0,
    metricId,
    withInbox: false,
    timelines: [{ resolutionMs, stretch: { fromMs, toMs: fromMs + windowWidthMs(resolutionMs) } }],
  })
  return timelines[0]!.entries
}

export async function windowOf(store: Store, name: string, resolutionMs: number, timeMs = T0_MS) {
  const { metricId } = await metric(store, name)
  return { metricId, resolutionMs, windowMs: windowStart(resolutionMs, timeMs) }
}
