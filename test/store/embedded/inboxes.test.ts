import { expect, onTestFinished, test } from 'vitest'
import { Environment } from '../../../src/store/embedded/environment.ts'
import { firstEntries, Inboxes } from '../../../src/store/embedded/inboxes.ts'
import { Lmdb } from '../../../src/store/embedded/lmdb.ts'
import type { InboxEntry } from '../../../src/store/store.ts'
import { failingJournal } from '../../support/failing-journal.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const PARTITION = 3

const entry = (order: number, block = `block-${order}`): InboxEntry => ({
  block,
  scalarBytes: 10,
  sketchBytes: 1,
  arrivedMs: 1_000 + order,
  order,
})

async function openInboxes() {
  const folder = await temporaryFolder()
  const journal = failingJournal()
  const environment = await Environment.open(folder, new Lmdb(folder), { openFile: journal.openFile })
  onTestFinished(() => environment.close())
  const inboxes = new Inboxes()
  /** The blocks of an inbox as readers get them, and as the rows of the table say. */
  const blocks = async (partition = PARTITION) => {
    const [kept, rows] = await environment.read((tables) =>
      [inboxes, new Inboxes()].map((one) => one.read(tables, partition).map(({ block }) => block)),
    )
    expect(kept).toEqual(rows)
    return kept
  }
  return { environment, journal, inboxes, blocks }
}

test('an inbox in memory has the entries of its rows after each write', async () => {
  const { environment, inboxes, blocks } = await openInboxes()
  await environment.write((writes) => inboxes.add(writes, PARTITION, entry(1)))
  expect(await blocks()).toEqual(['block-1'])
  await environment.write((writes) => {
    inboxes.add(writes, PARTITION, entry(2))
    inboxes.add(writes, PARTITION, entry(3))
    inboxes.add(writes, PARTITION + 1, entry(4))
  })
  expect(await blocks()).toEqual(['block-1', 'block-2', 'block-3'])
  // As a fold does that leaves rows of the first two entries in the inbox.
  await environment.write((writes) => {
    inboxes.remove(writes, PARTITION, [entry(1), entry(2)])
    inboxes.add(writes, PARTITION, entry(1, 'unfolded'))
  })
  expect(await blocks()).toEqual(['unfolded', 'block-3'])
  await environment.write((writes) => inboxes.remove(writes, PARTITION, [entry(1), entry(3)]))
  expect(await blocks()).toEqual([])
  expect(await blocks(PARTITION + 1)).toEqual(['block-4'])
})

test('a write that fails changes no inbox', async () => {
  const { environment, journal, inboxes, blocks } = await openInboxes()
  await environment.write((writes) => inboxes.add(writes, PARTITION, entry(1)))
  expect(await blocks()).toEqual(['block-1'])
  journal.failure = 'sync'
  await expect(environment.write((writes) => inboxes.add(writes, PARTITION, entry(2)))).rejects.toThrow()
  await expect(environment.write((writes) => inboxes.remove(writes, PARTITION, [entry(1)]))).rejects.toThrow()
  expect(await environment.read((tables) => inboxes.read(tables, PARTITION).length)).toBe(1)
  journal.failure = undefined
  await environment.write((writes) => inboxes.add(writes, PARTITION, entry(3)))
  expect(await blocks()).toEqual(['block-1', 'block-3'])
})

test('a very long inbox is read from its rows', async () => {
  const { environment, inboxes } = await openInboxes()
  expect(await environment.read((tables) => inboxes.read(tables, PARTITION))).toEqual([])
  await environment.write((writes) => {
    for (let order = 1; order <= 65_540; order++) inboxes.add(writes, PARTITION, entry(order))
  })
  const read = () => environment.read((tables) => inboxes.read(tables, PARTITION))
  const entries = await read()
  expect([entries.length, entries[65_539]]).toEqual([65_540, entry(65_540)])
  // Each read makes a new array.
  expect(await read()).not.toBe(entries)
  await environment.write((writes) => inboxes.remove(writes, PARTITION, entries.slice(0, 65_000)))
  expect(await read()).toBe(await read())
})

test('the first entries take no more bytes than allowed, but there is at least one', () => {
  const entries = [entry(1), entry(2), entry(3)]
  const ordersOf = (bytesMax: number, entriesMax = 10) =>
    firstEntries(entries, bytesMax, entriesMax).map(({ order }) => order)
  expect([ordersOf(1), ordersOf(11), ordersOf(22), ordersOf(32), ordersOf(33), ordersOf(99, 2)]).toEqual([
    [1],
    [1],
    [1, 2],
    [1, 2],
    [1, 2, 3],
    [1, 2],
  ])
  expect(firstEntries([], 10, 10)).toEqual([])
})
