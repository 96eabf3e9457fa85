import { describe, expect, test } from 'vitest'
import type { Id64 } from '../../../src/model/id.ts'
import { seriesIdOf } from '../../../src/model/series.ts'
import { windowWidthMs } from '../../../src/store/windows.ts'
import { commit, HOUR, MINUTE, metricOf, NOW, type Openers, part, touch } from './fixtures.ts'

export function describeSets(name: string, { openStore }: Openers): void {
  describe(`${name}: sets`, () => {
    const metric = metricOf('users', { type: 'set' })
    const { partition, metricId } = metric
    const a = seriesIdOf(metricId, [['a', '1']])
    const b = seriesIdOf(metricId, [['b', '1']])
    const added = (seriesId: Id64, bucketMs: number, members: readonly string[]) =>
      part({ metrics: [touch(metric)], members: [{ metricId, seriesId, bucketMs, members }] })
    const key = (seriesId: Id64, resolutionMs: number, bucketMs: number) => ({
      metricId,
      seriesId,
      resolutionMs,
      bucketMs,
    })

    test('members count once in each union, at each resolution', async () => {
      const store = await openStore()
      await store.append([commit(partition, 1, added(a, NOW, ['x', 'y', 'x']), added(a, NOW, ['y', 'z']))])
      await store.append([commit(partition, 2, added(a, NOW + MINUTE, ['x']), added(b, NOW, ['z', 'w']))])
      const unions = [
        [key(a, MINUTE, NOW)],
        [key(a, MINUTE, NOW + MINUTE)],
        [key(b, MINUTE, NOW), key(a, MINUTE, NOW)],
        [key(a, HOUR, NOW)],
        [key(a, HOUR, NOW), key(b, HOUR, NOW), key(b, HOUR, NOW)],
        [key(a, MINUTE, NOW - MINUTE)],
        [],
      ]
      expect(await store.countDistinct(partition, unions)).toEqual([3, 1, 4, 3, 4, 0, 0])
    })

    test('many members are counted within the error of a HyperLogLog', async () => {
      const store = await openStore()
      const members = Array.from({ length: 20_000 }, (_, i) => `user-${i}`)
      await store.append([commit(partition, 1, added(a, NOW, members.slice(0, 12_000)))])
      await store.append([commit(partition, 2, added(b, NOW, members.slice(8_000)))])
      const [united] = await store.countDistinct(partition, [[key(a, MINUTE, NOW), key(b, MINUTE, NOW)]])
      expect(Math.abs(united! / 20_000 - 1)).toBeLessThan(4 * 0.0081)
    })

    test('members of a stretch that has expired enter coarser resolutions only', async () => {
      const store = await openStore()
      const window = { metricId, resolutionMs: MINUTE, windowMs: NOW }
      await store.expireWindow({ partition, window, nowMs: NOW })
      const after = NOW + windowWidthMs(MINUTE)
      await store.append([commit(partition, 1, added(a, NOW, ['x']), added(a, after, ['y']))])
      const unions = [[key(a, MINUTE, NOW)], [key(a, HOUR, NOW)], [key(a, MINUTE, after)]]
      expect(await store.countDistinct(partition, unions)).toEqual([0, 1, 1])
    })
  })
}
