import { expect, onTestFinished, test } from 'vitest'
import { Environment } from '../../../src/store/embedded/environment.ts'
import { Inboxes, KEPT_ENTRIES_MAX } from '../../../src/store/embedded/inboxes.ts'
import { partitionKey } from '../../../src/store/embedded/keys.ts'
import { Lmdb } from '../../../src/store/embedded/lmdb.ts'
import { encodePartition } from '../../../src/store/embedded/rows.ts'
import type { KeyRange } from '../../../src/store/embedded/table.ts'
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
    inboxes.replace(writes, PARTITION, entry(1, 'unfolded'))
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

test('a very long inbox is read from its rows, and of its rows only the first', async () => {
  const { environment, inboxes } = await openInboxes()
  const read = () => environment.read((tables) => inboxes.read(tables, PARTITION))
  expect(await read()).toEqual([])
  const length = KEPT_ENTRIES_MAX + 4
  await environment.write((writes) => {
    for (let order = 1; order <= length; order++) inboxes.add(writes, PARTITION, entry(order))
    const row = { newestOrder: length, inboxEntryCount: length, inboxBytes: 11 * length }
    writes.put('partitions', partitionKey(PARTITION), encodePartition(row))
  })
  const entries = await read()
  expect([entries.length, entries.at(-1)]).toEqual([length, entry(length)])
  // Each read makes a new array.
  expect(await read()).not.toBe(entries)
  const rowsRead = await environment.read((tables) => {
    let count = 0
    const inbox = Object.create(tables.inbox, {
      rows: {
        *value(range: KeyRange) {
          for (const row of tables.inbox.rows(range)) {
            count++
            yield row
          }
        },
      },
    })
    expect(inboxes.readFirst({ ...tables, inbox }, PARTITION, 22, 10).map(({ order }) => order)).toEqual([1, 2])
    return count
  })
  expect(rowsRead).toBe(3)
  await environment.write((writes) => inboxes.remove(writes, PARTITION, entries.slice(0, KEPT_ENTRIES_MAX)))
  expect(await read()).toBe(await read())
})

test('the first entries take no more bytes than allowed, but there is at least one', async () => {
  const { environment, inboxes } = await openInboxes()
  await environment.write((writes) => {
    for (const order of [1, 2, 3]) inboxes.add(writes, PARTITION, entry(order))
  })
  const ordersOf = (bytesMax: number, entriesMax = 10, partition = PARTITION) =>
    environment.read((tables) => inboxes.readFirst(tables, partition, bytesMax, entriesMax).map(({ order }) => order))
  expect(await ordersOf(1)).toEqual([1])
  expect(await ordersOf(11)).toEqual([1])
  expect(await ordersOf(22)).toEqual([1, 2])
  expect(await ordersOf(32)).toEqual([1, 2])
  expect(await ordersOf(33)).toEqual([1, 2, 3])
  expect(await ordersOf(99, 2)).toEqual([1, 2])
  expect(await ordersOf(99, 10, PARTITION + 1)).toEqual([])
})
