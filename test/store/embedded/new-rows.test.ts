import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Environment } from '../../../src/store/embedded/environment.ts'
import { Lmdb } from '../../../src/store/embedded/lmdb.ts'
import { reopenEnvironment } from '../../support/reopen-environment.ts'
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
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(stepOf, { maxLength: 5 }), { maxLength: 14 }), async (frames) => {
      let folder = await temporaryFolder()
      let environment = await Environment.open(folder, new Lmdb(folder), SMALL_LAYER)
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
              ;({ folder, environment } = await reopenEnvironment(folder, environment, SMALL_LAYER, kind))
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
    { numRuns: 60 },
  )
  expect(removedNew).toBeGreaterThan(20)
}, 60_000)
