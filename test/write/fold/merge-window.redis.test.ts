import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { openRedisStore } from '../../../src/store/redis/redis-store.ts'
import { foldInbox } from '../../../src/write/fold/fold.ts'
import { mergeWindow } from '../../../src/write/fold/merge-window.ts'
import { SEALED_TIER } from '../../../src/write/fold/runs-to-merge.ts'
import { decoderOf, FOLD_SETTINGS, openWriter, PROJECT, T0_MS, totalOf } from '../../support/engine.ts'
import { type RedisServer, startRedis } from '../../support/redis-server.ts'
import { entriesOf, gauge, NOW_MS, windowOf } from './harness.ts'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server?.stop())

it('seals a large window on Redis in several steps, and another gateway goes on after the first', async () => {
  const { resolutions, setResolutions } = FOLD_SETTINGS
  const open = async () => {
    const store = await openRedisStore({ url: server.url, prefix: 'merge', partitions: 1, resolutions, setResolutions })
    onTestFinished(() => store.close())
    return store
  }
  const store = await open()
  const writer = openWriter(store)
  onTestFinished(() => writer.close())
  let count = 0
  for (let run = 0; run < 3; run++) {
    const series = 1_000
    const points = Array.from({ length: (20 - run) * series }, (_, i) =>
      gauge(Math.sin(i + run), T0_MS + Math.floor(i / series) * 30_000, { host: `${i % series}` }),
    )
    count += points.length
    await writer.track(PROJECT, decoderOf(points))
    while ((await foldInbox(store, 0, FOLD_SETTINGS, NOW_MS)) !== undefined);
  }
  const window = await windowOf(store, 'level', 10_000)
  const options = { isSealing: true, nowMs: NOW_MS, stepBytesMax: 1 }
  expect(await mergeWindow(store, 0, window, options)).toMatchObject({ isComplete: false })
  expect(await totalOf(store, 'level', 'count')).toBe(count)
  const other = await open()
  for (let isComplete = false; !isComplete; ) {
    const step = await mergeWindow(other, 0, window, options)
    isComplete = step!.isComplete
    expect(await totalOf(store, 'level', 'count')).toBe(count)
  }
  const entries = await entriesOf(store, 'level', 10_000)
  expect(new Set(entries.map(({ tier }) => tier))).toEqual(new Set([SEALED_TIER]))
  expect(await mergeWindow(store, 0, window, options)).toBeUndefined()
})
