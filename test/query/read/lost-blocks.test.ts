import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { HOUR_MS, MINUTE_MS } from '../../../src/model/time.ts'
import type { QueryInput } from '../../../src/query/plan/request.ts'
import type { Store } from '../../../src/store/store.ts'
import type { Stretch } from '../../../src/store/windows.ts'
import type { Writer } from '../../../src/write/commit/writer.ts'
import { foldInbox } from '../../../src/write/fold/fold.ts'
import {
  decoderOf,
  FOLD_SETTINGS,
  openQuerier,
  openStore,
  openWriter,
  PROJECT,
  type TestPoint,
} from '../../support/engine.ts'

/** A lost block is named as lost wherever the query reads it, for no retry will find it. */

/** An hour after the start of a window of every resolution: no block holds this time and two hours before. */
const NOW_MS = Date.UTC(2024, 2, 18, 1)

let folder: string
let store: Store
let writer: Writer

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lost-'))
  store = await openStore(folder, 1)
  writer = openWriter(store)
})
afterEach(async () => {
  await writer.close()
  await store.close()
  rmSync(folder, { recursive: true })
})

/** The store after it lost all timeline blocks of these 10 s. */
async function withoutBlocksAt(timeMs: number): Promise<Store> {
  const { partition, metricId } = (await store.readMetric(PROJECT, 'm'))!
  const stretch: Stretch = { fromMs: timeMs, toMs: timeMs + 10_000 }
  const timelines = FOLD_SETTINGS.resolutions.map(({ bucketWidthMs }) => ({ resolutionMs: bucketWidthMs, stretch }))
  const snapshot = await store.readIndex({ partition, metricId, timelines, withInbox: false })
  const lost = new Set(snapshot.timelines.flatMap(({ entries }) => entries.map(({ block }) => block)))
  expect(lost.size).toBeGreaterThan(0)
  const changed: Partial<Store> = {
    readBlocks: async (of, names, part) =>
      (await store.readBlocks(of, names, part)).map((bytes, i) => (lost.has(names[i]!) ? undefined : bytes)),
    explainMissingBlocks: async () => 'someone deleted them',
  }
  return new Proxy(store, {
    get(target, property) {
      const member: unknown = Reflect.get(property in changed ? changed : target, property)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

test.each<[string, TestPoint['type'], number, Partial<QueryInput>]>([
  ['in the range', 'gauge', 0, { from: NOW_MS, to: NOW_MS + MINUTE_MS }],
  ['in a range of one instant', 'gauge', 0, { from: NOW_MS, to: NOW_MS }],
  ['in the compared period', 'gauge', 2 * HOUR_MS, { from: NOW_MS, to: NOW_MS + MINUTE_MS, compare: { offset: '2h' } }],
  ['among the running totals before the range', 'counter', 2 * HOUR_MS, { from: NOW_MS, to: NOW_MS + MINUTE_MS }],
  ['among the last values before the range', 'gauge', 2 * HOUR_MS, { from: NOW_MS, to: NOW_MS, fill: 'previous' }],
])('a lost block %s', async (_, type, lostBeforeMs, input) => {
  const point = { name: 'm', type, total: type === 'counter' }
  // No value lies in the first bucket if a last value is searched.
  const times = [NOW_MS - lostBeforeMs, ...(input.fill === 'previous' ? [] : [NOW_MS])]
  await writer.track(PROJECT, decoderOf(times.map((timeMs, i) => ({ ...point, value: 1 + i, timeMs }))))
  while ((await foldInbox(store, 0, FOLD_SETTINGS, NOW_MS)) !== undefined);
  const ask = async (from: Store) =>
    openQuerier(from).query((await from.readMetric(PROJECT, 'm'))!, { metric: 'm', interval: '10s', ...input })
  await ask(store)
  await expect(ask(await withoutBlocksAt(NOW_MS - lostBeforeMs))).rejects.toMatchObject({
    code: 'store_unavailable',
    message: 'stored data of this range is lost: someone deleted them',
    details: { outcome: 'lost' },
  })
})
