import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HyperLogLog } from '../../../src/sketch/hyperloglog.ts'
import { Environment } from '../../../src/store/embedded/environment.ts'
import { Lmdb } from '../../../src/store/embedded/lmdb.ts'
import { reopenEnvironment, WatchedLmdb } from '../../support/reopen-environment.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

/**
 * Set sketches to which members are added in frames, layers and checkpoints: whatever is in between, they are complete.
 */

const KEYS = ['a', 'b', 'c']
const SMALL_LAYER = { checkpointIntervalMs: 1e9, layerBytesMax: 4_096 }

const stepOf = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      key: fc.constantFrom(...KEYS),
      members: fc.array(fc.nat(3_000), { maxLength: 40 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('remove' as const), key: fc.constantFrom(...KEYS) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('reopen' as const, 'crash' as const) }) },
)

function sketchOf(members: Iterable<number>): HyperLogLog {
  const sketch = new HyperLogLog()
  for (const member of members) sketch.add(`member ${member}`)
  return sketch
}

const hexOf = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('hex')

async function expectContents(environment: Environment, expected: ReadonlyMap<string, ReadonlySet<number>>) {
  await environment.read(({ sets }) => {
    for (const key of KEYS) {
      const members = expected.get(key)
      const whole = members && hexOf(sketchOf(members).encode())
      expect(hexOf(sets.get(Buffer.from(key)))).toBe(whole)
      expect(sets.has(Buffer.from(key))).toBe(members !== undefined)
      const united = new HyperLogLog()
      sets.addMembersTo(united, Buffer.from(key))
      expect(united.estimate()).toBe(sketchOf(members ?? []).estimate())
    }
    const range = { start: Buffer.from('a'), end: Buffer.from('d') }
    const sorted = [...expected.keys()].sort()
    expect([...sets.keys(range)].map(String)).toEqual(sorted)
    const rows: string[] = []
    for (const { key, value } of sets.rows(range)) rows.push(`${Buffer.from(key)} ${hexOf(value)}`)
    expect(rows).toEqual(sorted.map((key) => `${key} ${hexOf(sketchOf(expected.get(key)!).encode())}`))
  })
}

describe('the members that are added to a set sketch', () => {
  test('are united with those in older layers and in LMDB, whatever happens in between', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(stepOf, { maxLength: 4 }), { maxLength: 12 }), async (frames) => {
        let folder = await temporaryFolder()
        let environment = await Environment.open(folder, new WatchedLmdb(folder), SMALL_LAYER)
        const expected = new Map<string, Set<number>>()
        try {
          for (const steps of frames) {
            // All writes of one turn share a frame.
            const writes: Promise<void>[] = []
            for (const step of steps) {
              if (step.kind === 'add') {
                if (step.members.length === 0) continue
                writes.push(environment.write((set) => set.addMembers(Buffer.from(step.key), sketchOf(step.members))))
                expected.set(step.key, new Set([...(expected.get(step.key) ?? []), ...step.members]))
              } else if (step.kind === 'remove') {
                writes.push(environment.write((set) => set.remove('sets', Buffer.from(step.key))))
                expected.delete(step.key)
              } else {
                await Promise.all(writes.splice(0))
                ;({ folder, environment } = await reopenEnvironment(folder, environment, SMALL_LAYER, step.kind))
              }
            }
            await Promise.all(writes)
            await expectContents(environment, expected)
          }
        } finally {
          await environment.close()
        }
      }),
      { numRuns: 40 },
    )
  }, 60_000)

  test('replace a stored sketch that is damaged, and all other rows are written', async () => {
    const folder = await temporaryFolder()
    const lmdb = new Lmdb(folder)
    const logged: object[] = []
    const log = { warn: (details: object) => void logged.push(details) }
    let environment = await Environment.open(folder, lmdb, { ...SMALL_LAYER, log })
    await lmdb.write(() => lmdb.tables.sets.put(Buffer.from('b'), Buffer.from('not a sketch')))
    await environment.write((set) => {
      for (const key of KEYS) set.addMembers(Buffer.from(key), sketchOf([1, 2]))
    })
    await environment.close()
    expect(logged).toEqual([{ sketches: 1 }])
    environment = await Environment.open(folder, new WatchedLmdb(folder), SMALL_LAYER)
    await expectContents(environment, new Map(KEYS.map((key) => [key, new Set([1, 2])])))
    await environment.close()
  })
})
