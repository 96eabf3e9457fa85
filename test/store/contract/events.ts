import { describe, expect, test } from 'vitest'
import type { StoredEvent } from '../../../src/store/events.ts'
import { commit, DAY, NOW, type Openers, part } from './fixtures.ts'

export function describeEvents(name: string, { openedStore, openStore }: Openers): void {
  describe(`${name}: events`, () => {
    const event = (id: string, timeMs: number, project = 'shop'): StoredEvent => ({
      project,
      id,
      timeMs,
      json: `{"é":"${id}"}`,
    })

    test('events are listed newest first, equal times by the greater id, page by page', async () => {
      const store = await openStore()
      const events = [
        event('b', NOW),
        event('a', NOW),
        event('c', NOW),
        event('d', NOW - 1),
        event('e', NOW + 1),
        event('f', -5),
      ]
      await store.append([commit(0, 1, part({ events: events.slice(0, 3) }))])
      await store.append([commit(3, 1, part({ events: [...events.slice(3), event('o', NOW, 'other')] }))])
      const all = { project: 'shop', fromMs: -10, toMs: NOW + 10, limit: 100, bytesMax: 1e6 }
      const ids = async (request: Partial<typeof all> & { after?: { timeMs: number; id: string } }) =>
        (await store.readEvents({ ...all, ...request })).map(({ id }) => id).join('')
      expect(await ids({})).toBe('ecbadf')
      expect(await ids({ limit: 2 })).toBe('ec')
      expect(await ids({ after: { timeMs: NOW, id: 'c' }, limit: 2 })).toBe('ba')
      expect(await ids({ after: { timeMs: NOW, id: 'a' } })).toBe('df')
      expect(await ids({ after: { timeMs: NOW, id: 'bb' } })).toBe('badf')
      expect(await ids({ after: { timeMs: NOW + 20, id: 'a' } })).toBe('ecbadf')
      expect(await ids({ fromMs: NOW, toMs: NOW })).toBe('cba')
      expect(await ids({ toMs: NOW - 1, after: { timeMs: NOW, id: 'b' } })).toBe('df')
      expect(await store.readEvents({ ...all, limit: 1 })).toEqual([event('e', NOW + 1)])
      expect(await store.readEvents({ ...all, project: 'other' })).toEqual([event('o', NOW, 'other')])
    })

    test('a page of events ends before it has too many bytes, and no page leaves one out', async () => {
      const store = await openStore()
      const all = { project: 'shop', fromMs: 0, toMs: NOW, limit: 100 }
      const large = (id: string, timeMs: number): StoredEvent => ({
        ...event(id, timeMs),
        json: `"${'x'.repeat(998)}"`,
      })
      const late = Array.from({ length: 40 }, (_, i) => large(`l${i}`, NOW - i))
      const spread = Array.from({ length: 40 }, (_, i) => large(`s${i}`, NOW - 2 * i))
      await store.append([commit(0, 1, part({ events: late })), commit(1, 1, part({ events: spread }))])
      for (const bytesMax of [1, 5_000, 50_000]) {
        const found: string[] = []
        let after: StoredEvent | undefined
        for (;;) {
          const page = await store.readEvents({ ...all, bytesMax, ...(after === undefined ? {} : { after }) })
          if (page.length === 0) break
          if (page.length > 1) expect(page.length * 1_000).toBeLessThanOrEqual(bytesMax)
          found.push(...page.map(({ id }) => id))
          after = page.at(-1)
        }
        const newestFirst = [...late, ...spread].sort((a, b) => b.timeMs - a.timeMs || (a.id < b.id ? 1 : -1))
        expect(found).toEqual(newestFirst.map(({ id }) => id))
      }
    })

    test('events expire in the order they were committed, whatever their time, and leave nothing behind', async () => {
      const opened = await openedStore()
      const { store } = opened
      const all = { project: 'shop', fromMs: -1e12, toMs: NOW + DAY, limit: 1_000, bytesMax: 1e6 }
      const ids = async (project = 'shop') =>
        (await opened.store.readEvents({ ...all, project })).map(({ id }) => id).join(' ')
      const many = Array.from({ length: 300 }, (_, i) => event(`m${i}`, NOW))
      await store.append([commit(0, 1, part({ events: [event('new', NOW), event('old', -5)], nowMs: NOW }))])
      await store.append([commit(1, 1, part({ events: [event('other', NOW, 'other')], nowMs: NOW + 1 }))])
      await store.append([commit(0, 2, part({ events: [event('past', -1e11)], nowMs: NOW + DAY }))])
      expect(await store.expireEvents(0, NOW - 1, 10)).toBe(0)
      expect(await store.expireEvents(0, NOW, 1)).toBe(1)
      expect(await store.expireEvents(0, NOW, 10)).toBe(1)
      expect(await ids()).toBe('past')
      expect(await ids('other')).toBe('other')
      expect(await store.expireEvents(1, NOW + 1, 10)).toBe(1)
      expect(await ids('other')).toBe('')
      await store.append([commit(0, 3, part({ events: many, nowMs: NOW + DAY }))])
      expect(await store.expireEvents(0, NOW + DAY, 250)).toBe(250)
      expect(await store.expireEvents(0, NOW + DAY, 250)).toBe(51)
      expect(await store.expireEvents(1, NOW + DAY, 250)).toBe(0)
      expect(await ids()).toBe('')
      await store.append([commit(0, 4, part({ events: [event('again', NOW)], nowMs: NOW + 2 * DAY }))])
      expect(await store.expireEvents(0, NOW + DAY, 250)).toBe(0)
      expect(await ids()).toBe('again')
    })
  })
}
