import fc from 'fast-check'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { Environment } from '../../../src/store/embedded/environment.ts'
import { Lmdb } from '../../../src/store/embedded/lmdb.ts'
import { reopenEnvironment, WatchedLmdb } from '../../support/reopen-environment.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

/** Rows that are put as new, replaced and removed in frames, layers and checkpoints, against a map. */

const KEYS = ['a', 'b', 'c', 'd']
const SMALL_LAYER = { checkpointIntervalMs: 1e9, layerBytesMax: 1_500 }
const RANGE = { start: Buffer.from('a'), end: Buffer.from('e') }

const stepOf = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom('put' as const, 'remove' as const), key: fc.constantFrom(...KEYS) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('reopen' as const, 'crash' as const), key: fc.constant('') }),
  },
)

async function expectRows(environment: Environment, expected: ReadonlyMap<string, string>): Promise<void> {
  await environment.read(({ inbox }) => {
    const rows: string[][] = []
    for (const { key, value } of inbox.rows(RANGE)) rows.push([String(key), Buffer.from(value).toString('latin1')])
    expect(rows).toEqual([...expected].sort(([a], [b]) => (a < b ? -1 : 1)))
    for (const key of KEYS) {
      const bytes = Buffer.from(key)
      expect(inbox.has(bytes)).toBe(expected.has(key))
      expect(inbox.get(bytes)?.length).toBe(expected.get(key)?.length)
      // Only the layers may have a row of which this is false.
      if (!inbox.isInLmdb(bytes)) expect(inbox.getFromLayers(key)?.length).toBe(expected.get(key)?.length)
    }
  })
}

test('rows known to be new are read, replaced and removed as others are, whatever happens in between', async () => {
  let removedNew = 0
  const history = fc.array(fc.array(stepOf, { maxLength: 5 }), { maxLength: 14 })
  // 0: a frozen layer waits for one turn. 1e9: it waits until the next layer is partly full.
  const checkpointDelay = fc.constantFrom(0, 1e9)
  await fc.assert(
    fc.asyncProperty(history, checkpointDelay, async (frames, checkpointDelayMs) => {
      const options = { ...SMALL_LAYER, checkpointDelayMs }
      let folder = await temporaryFolder()
      let environment = await Environment.open(folder, new WatchedLmdb(folder), options)
      const expected = new Map<string, string>()
      let puts = 0
      try {
        for (const steps of frames) {
          // All writes of one turn share a frame.
          const writes: Promise<void>[] = []
          for (const { kind, key } of steps) {
            if (kind === 'put') {
              const value = `${key} ${'.'.repeat(100 + puts++)}`
              const isNew = !expected.has(key)
              const write = environment.write((set) =>
                set[isNew ? 'putNew' : 'put']('inbox', Buffer.from(key), Buffer.from(value)),
              )
              writes.push(write)
              expected.set(key, value)
            } else if (kind === 'remove') {
              if (expected.delete(key)) removedNew++
              writes.push(environment.write((set) => set.remove('inbox', Buffer.from(key))))
            } else {
              await Promise.all(writes.splice(0))
              ;({ folder, environment } = await reopenEnvironment(folder, environment, options, kind))
            }
          }
          await Promise.all(writes)
          await expectRows(environment, expected)
        }
        await environment.close()
        const lmdb = new Lmdb(folder)
        expect([...lmdb.tables.inbox.getKeys({ ...RANGE })].map(String)).toEqual([...expected.keys()].sort())
        await lmdb.close()
      } finally {
        await environment.close()
      }
    }),
    { numRuns: 120 },
  )
  expect(removedNew).toBeGreaterThan(20)
}, 60_000)

describe('a frozen layer', () => {
  const put = (environment: Environment, name: string, bytes: number) =>
    environment.write((writes) => writes.putNew('inbox', Buffer.from(name), Buffer.alloc(bytes)))
  const remove = (environment: Environment, name: string) =>
    environment.write((writes) => writes.remove('inbox', Buffer.from(name)))
  const rowsOf = (environment: Environment) =>
    environment.read(({ inbox }) => [...inbox.keys(RANGE)].map((key) => String(key)))

  /** Opens an environment whose first layer has the new rows `a` and `b`, and is frozen by the write of `c`. */
  async function openWithFrozenLayer() {
    const folder = await temporaryFolder()
    const lmdb = new Lmdb(folder)
    const environment = await Environment.open(folder, lmdb, { checkpointIntervalMs: 1e9, layerBytesMax: 4_000 })
    onTestFinished(() => environment.close())
    const written = vi.spyOn(lmdb.tables.inbox, 'put')
    const removed = vi.spyOn(lmdb.tables.inbox, 'remove')
    for (const name of ['a', 'b']) await put(environment, name, 2_000)
    await put(environment, 'c', 100)
    return { environment, keysWritten: () => written.mock.calls.map(([key]) => String(key)), removed }
  }

  test('waits for its checkpoint, and rows that are removed meanwhile never get into LMDB', async () => {
    const { environment, keysWritten, removed } = await openWithFrozenLayer()
    expect(keysWritten()).toEqual([])
    await remove(environment, 'a')
    expect(await rowsOf(environment)).toEqual(['b', 'c'])
    await environment.close()
    expect(keysWritten()).toEqual(['b', 'c'])
    expect(removed).not.toHaveBeenCalled()
  })

  test('waits only until a third of the next layer is full', async () => {
    const { environment, keysWritten } = await openWithFrozenLayer()
    await put(environment, 'd', 2_000)
    await vi.waitFor(() => expect(keysWritten()).toEqual(['a', 'b']))
    await remove(environment, 'a')
    expect(await rowsOf(environment)).toEqual(['b', 'c', 'd'])
  })
})
