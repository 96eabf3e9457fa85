import { describe, expect, test } from 'vitest'
import { block, commit, exists, MINUTE, metricOf, NOW, type Openers, part } from './fixtures.ts'

export function describeInbox(name: string, { openedStore, openStore }: Openers): void {
  describe(`${name}: inbox and blocks`, () => {
    test('the inbox lists blocks in the order they arrived', async () => {
      const store = await openStore()
      const blocks = [block(10, 4), block(20), block(30, 6)]
      await store.append([
        commit(1, 1, part({ block: blocks[0]!, nowMs: NOW }), part({ block: blocks[1]!, nowMs: NOW + 1 })),
      ])
      await store.append([commit(1, 2, part({ block: blocks[2]!, nowMs: NOW + 2 }))])
      const inbox = await store.readInbox(1, 1_000)
      expect(inbox).toMatchObject([
        { block: blocks[0]!.name, scalarBytes: 10, sketchBytes: 4, arrivedMs: NOW },
        { block: blocks[1]!.name, scalarBytes: 20, sketchBytes: 0, arrivedMs: NOW + 1 },
        { block: blocks[2]!.name, scalarBytes: 30, sketchBytes: 6, arrivedMs: NOW + 2 },
      ])
      expect(inbox[0]!.order).toBeLessThan(inbox[1]!.order)
      expect(inbox[1]!.order).toBeLessThan(inbox[2]!.order)
      expect(await store.inboxSize(1)).toEqual({ entries: 3, bytes: 70 })
      expect(await store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
      expect(await store.readInbox(0, 1_000)).toEqual([])
    })

    test.each([
      [0, 1],
      [13, 1],
      [33, 1],
      [34, 2],
      [69, 2],
      [70, 3],
    ])('at most %i bytes of the inbox are %i entries, the first one always', async (bytesMax, entries) => {
      const store = await openStore()
      const parts = [block(10, 4), block(20), block(30, 6)].map((added) => part({ block: added }))
      await store.append([commit(1, 1, ...parts)])
      expect(await store.readInbox(1, bytesMax)).toHaveLength(entries)
    })

    test('a snapshot has the inbox on request', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      const { partition, metricId } = metric
      await store.append([commit(partition, 1, part({ block: block() }))])
      const request = { partition, metricId, timelines: [] }
      expect((await store.readIndex({ ...request, withInbox: true })).inbox).toEqual(
        await store.readInbox(partition, 1e9),
      )
      expect((await store.readIndex({ ...request, withInbox: false })).inbox).toEqual([])
    })

    test('an inbox is read up to `entriesMax` entries', async () => {
      const store = await openStore()
      await store.append([commit(1, 1, ...Array.from({ length: 300 }, () => part({ block: block() })))])
      for (const entriesMax of [1, 255, 256, 257, 300, 400])
        expect(await store.readInbox(1, 1e9, entriesMax)).toHaveLength(Math.min(300, entriesMax))
    })

    test('parts of blocks are read by name, in the order of the request', async () => {
      const store = await openStore()
      const both = block(40_000, 3)
      const plain = block(0)
      await store.append([commit(1, 1, part({ block: both }), part({ block: plain }))])
      expect(await store.readBlocks(1, [plain.name, 'no-such-block', both.name], 'scalars')).toEqual([
        plain.scalars,
        undefined,
        both.scalars,
      ])
      expect(await store.readBlocks(1, [both.name, plain.name], 'sketches')).toEqual([both.sketches, undefined])
      expect(await store.readBlocks(0, [both.name], 'scalars')).toEqual([undefined])
    })

    test('bytes that were read do not change with the next read', async () => {
      const store = await openStore()
      const blocks = [block(100), block(100), block(50_000), block(60_000)]
      await store.append([commit(1, 1, ...blocks.map((added) => part({ block: added })))])
      const read = []
      for (const { name: block } of blocks) read.push((await store.readBlocks(1, [block], 'scalars'))[0])
      expect(read).toEqual(blocks.map(({ scalars }) => scalars))
    })

    test('order numbers keep growing, also after reopening with an empty inbox', async () => {
      const opened = await openedStore()
      await opened.store.append([commit(1, 1, part({ block: block() }), part({ block: block() }))])
      const inbox = await opened.store.readInbox(1, 1e9)
      const fold = { partition: 1, inbox, removed: [], added: [], touched: [], nowMs: NOW }
      expect(await opened.store.commitFold(fold)).toBe(true)
      const store = await opened.reopen()
      await store.append([commit(1, 2, part({ block: block() }))])
      expect((await store.readInbox(1, 1e9))[0]!.order).toBeGreaterThan(inbox[1]!.order)
    })

    test('uncommitted blocks vanish after 15 minutes', async () => {
      const store = await openStore()
      const written = block(10, 5)
      await store.writeBlocks(1, [written], NOW)
      expect(await store.readBlocks(1, [written.name], 'scalars')).toEqual([written.scalars])
      expect(await store.readBlocks(1, [written.name], 'sketches')).toEqual([written.sketches])
      await store.sweep(NOW + 15 * MINUTE - 1)
      expect(await exists(store, 1, written.name)).toBe(true)
      await store.sweep(NOW + 15 * MINUTE + 1)
      expect(await exists(store, 1, written.name)).toBe(false)
    })
  })
}
