import { cpSync, readdirSync, readFileSync, renameSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { HyperLogLog } from '../../../src/sketch/hyperloglog.ts'
import { Environment, type EnvironmentOptions } from '../../../src/store/embedded/environment.ts'
import { type JournalFile, openJournalFile, readJournal } from '../../../src/store/embedded/journal.ts'
import type { TableName } from '../../../src/store/embedded/keys.ts'
import { Lmdb } from '../../../src/store/embedded/lmdb.ts'
import type { WriteSet } from '../../../src/store/embedded/write-set.ts'
import { failingJournal } from '../../support/failing-journal.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

/**
 * An environment whose process dies: a copy of its folder is what the next process finds. Copies are taken while no
 * checkpoint is writing, since LMDB may not be copied meanwhile.
 */

const TABLES = ['series', 'sets'] as const satisfies readonly TableName[]
const START = Buffer.alloc(0)
const END = Buffer.alloc(4, 0xff)
const WITHOUT_CHECKPOINTS = { checkpointIntervalMs: 1e9, checkpointDelayMs: 0 }

async function open(folder: string, options: EnvironmentOptions = WITHOUT_CHECKPOINTS): Promise<Environment> {
  const environment = await Environment.open(folder, new Lmdb(folder), options)
  onTestFinished(() => environment.close())
  return environment
}

async function copyOf(folder: string): Promise<string> {
  const copy = await temporaryFolder()
  cpSync(folder, copy, { recursive: true, filter: (path) => !path.endsWith('lock.mdb') })
  return copy
}

const journalsIn = (folder: string) =>
  readdirSync(folder)
    .filter((name) => name.startsWith('journal-'))
    .sort()

/** Resolves when no checkpoint is writing. */
const settled = (folder: string) => vi.waitFor(() => expect(journalsIn(folder)).toHaveLength(1), { timeout: 20_000 })

type Contents = Readonly<Record<string, string>>

function contentsOf(environment: Environment): Promise<Contents> {
  return environment.read((tables) => {
    const found: Record<string, string> = {}
    for (const name of TABLES) {
      for (const { key, value } of tables[name].rows({ start: START, end: END })) {
        found[`${name} ${Buffer.from(key).toString()}`] = Buffer.from(value).toString('hex')
      }
    }
    return found
  })
}

async function contentsAfterCrash(folder: string): Promise<Contents> {
  const environment = await Environment.open(folder, new Lmdb(folder), WITHOUT_CHECKPOINTS)
  try {
    return await contentsOf(environment)
  } finally {
    await environment.close()
  }
}

const put = (environment: Environment, key: string, value: string) =>
  environment.write((writes) => writes.put('series', Buffer.from(key), Buffer.from(value)))

function addMember(writes: WriteSet, key: string, member: string): void {
  const added = new HyperLogLog()
  added.add(member)
  writes.addMembers(Buffer.from(key), added)
}

describe('after a crash', () => {
  test('every acknowledged verb is there, whatever was cut off the journal after it', async () => {
    const folder = await temporaryFolder()
    const environment = await open(folder)
    const journal = join(folder, 'journal-1')
    const states: { readonly bytes: number; readonly contents: Contents }[] = []
    for (let i = 0; i < 6; i++) {
      await environment.write((writes) => {
        writes.put('series', Buffer.from(`k${i % 4}`), Buffer.from(`v${i}`))
        writes.remove('series', Buffer.from(`k${(i + 2) % 4}`))
        addMember(writes, 's', `member ${i}`)
      })
      states.push({ bytes: statSync(journal).size, contents: await contentsOf(environment) })
    }
    for (const [i, { bytes, contents }] of states.entries()) {
      const next = states[i + 1]?.bytes ?? bytes + 1
      for (const cut of [bytes, bytes + 1, Math.floor((bytes + next) / 2), next - 1]) {
        const copy = await copyOf(folder)
        if (cut < statSync(journal).size) truncateSync(join(copy, 'journal-1'), cut)
        expect(await contentsAfterCrash(copy)).toEqual(contents)
      }
    }
  }, 60_000)

  test('a checkpoint that was written in part is completed from the journal', async () => {
    const folder = await temporaryFolder()
    const environment = await open(folder)
    for (let i = 0; i < 8; i++) {
      await environment.write((writes) => {
        writes.put('series', Buffer.from(`k${i}`), Buffer.from(`v${i}`))
        writes.remove('series', Buffer.from(`k${i - 3}`))
        addMember(writes, `s${i % 2}`, `member ${i}`)
      })
    }
    const expected = await contentsOf(environment)
    const rows = Object.entries(expected).map(
      ([name, value]) => [...name.split(' '), value] as [string, string, string],
    )
    for (let written = 0; written <= rows.length; written += 3) {
      const copy = await copyOf(folder)
      const lmdb = new Lmdb(copy)
      await lmdb.write(() => {
        for (const [table, key, value] of rows.slice(0, written)) {
          lmdb.tables[table as TableName].put(Buffer.from(key), Buffer.from(value, 'hex'))
        }
      })
      await lmdb.close()
      expect(await contentsAfterCrash(copy)).toEqual(expected)
      // Nothing is left to replay, and another start changes nothing.
      expect(await contentsAfterCrash(copy)).toEqual(expected)
    }
  }, 60_000)

  test('a journal file that a checkpoint has covered but not removed is ignored', async () => {
    const folder = await temporaryFolder()
    const environment = await open(folder, { ...WITHOUT_CHECKPOINTS, layerBytesMax: 1 })
    await put(environment, 'a', '1')
    const before = await copyOf(folder)
    await put(environment, 'a', '2')
    await put(environment, 'a', '3')
    await settled(folder)
    expect(journalsIn(folder)).not.toContain('journal-1')
    const copy = await copyOf(folder)
    cpSync(join(before, 'journal-1'), join(copy, 'journal-1'))
    expect(await contentsAfterCrash(copy)).toEqual({ 'series a': '33' })
    expect(journalsIn(copy)).toEqual([])
  })

  test('any history of writes, checkpoints and crashes reads like a map', async () => {
    const key = fc.constantFrom('a', 'b', 'bb', 'c', 'd', 'e')
    const change = fc.oneof(
      fc.record({ kind: fc.constant('put' as const), key, value: fc.string({ maxLength: 3 }) }),
      fc.record({ kind: fc.constant('remove' as const), key }),
      fc.record({ kind: fc.constant('member' as const), key, value: fc.constantFrom('x', 'y', 'z') }),
    )
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ verbs: fc.array(fc.array(change, { maxLength: 4 }), { maxLength: 3 }) }) },
      { weight: 1, arbitrary: fc.constant('crash' as const) },
    )
    const history = fc.record({
      steps: fc.array(step, { maxLength: 12 }),
      layerBytesMax: fc.constantFrom(1, 1_500, 1e9),
    })
    await fc.assert(
      fc.asyncProperty(history, async ({ steps, layerBytesMax }) => {
        let folder = await temporaryFolder()
        let environment = await open(folder, { ...WITHOUT_CHECKPOINTS, layerBytesMax })
        const rows = new Map<string, string>()
        const members = new Map<string, HyperLogLog>()
        for (const drawn of steps) {
          if (drawn === 'crash') {
            await settled(folder)
            folder = await copyOf(folder)
            environment = await open(folder, { ...WITHOUT_CHECKPOINTS, layerBytesMax })
          } else {
            await Promise.all(
              drawn.verbs.map((changes) =>
                environment.write((writes) => {
                  for (const one of changes) {
                    const bytes = Buffer.from(one.key)
                    if (one.kind === 'put') writes.put('series', bytes, Buffer.from(one.value))
                    else if (one.kind === 'remove') writes.remove('series', bytes)
                    else addMember(writes, one.key, one.value)
                  }
                }),
              ),
            )
            for (const one of drawn.verbs.flat()) {
              if (one.kind === 'put') rows.set(one.key, Buffer.from(one.value).toString('hex'))
              else if (one.kind === 'remove') rows.delete(one.key)
              else {
                const sketch = members.get(one.key) ?? new HyperLogLog()
                sketch.add(one.value)
                members.set(one.key, sketch)
              }
            }
          }
          const sketches = [...members].map(([name, sketch]) => [
            `sets ${name}`,
            Buffer.from(sketch.encode()).toString('hex'),
          ])
          expect(await contentsOf(environment)).toEqual({
            ...Object.fromEntries([...rows].map(([name, value]) => [`series ${name}`, value])),
            ...Object.fromEntries(sketches),
          })
          await environment.read(({ series }) => {
            const sorted = [...rows.keys()].sort()
            const texts = (keys: Iterable<Uint8Array>) => [...keys].map((bytes) => Buffer.from(bytes).toString())
            const [from, to] = [Buffer.from('b'), Buffer.from('d')]
            expect(texts(series.keys({ start: from, end: to }))).toEqual(
              sorted.filter((name) => name >= 'b' && name < 'd'),
            )
            expect(texts(series.keys({ start: START, end: END, limit: 2 }))).toEqual(sorted.slice(0, 2))
            const back = sorted.filter((name) => name < 'd' && name > 'b').reverse()
            expect(texts(series.keys({ start: to, end: from, reverse: true, exclusiveStart: true }))).toEqual(back)
            const last = sorted.filter((name) => name <= 'bc' && name > 'a').at(-1)
            const found = series.lastRowUpTo(Buffer.from('bc'), Buffer.from('a'))
            expect(found && Buffer.from(found.key).toString()).toBe(last)
          })
        }
      }),
      { numRuns: 25 },
    )
  }, 120_000)

  test.each<[string, (folder: string) => void, RegExp]>([
    [
      'a missing journal file',
      (folder) => renameSync(join(folder, 'journal-1'), join(folder, 'gone')),
      /lacks its file journal-1/,
    ],
    [
      'the journal of another time',
      (folder) => renameSync(join(folder, 'journal-1'), join(folder, 'journal-3')),
      /lacks its file journal-1/,
    ],
    [
      'a journal file that is cut off before another',
      (folder) => {
        cpSync(join(folder, 'journal-1'), join(folder, 'journal-2'))
        truncateSync(join(folder, 'journal-1'), statSync(join(folder, 'journal-1')).size - 1)
      },
      /journal-2 in .* follows journal-1, which is damaged/,
    ],
  ])('%s is an error that names it', async (_, damage, message) => {
    const folder = await temporaryFolder()
    await put(await open(folder), 'a', '1')
    const copy = await copyOf(folder)
    damage(copy)
    await expect(contentsAfterCrash(copy)).rejects.toThrow(message)
  })

  test('the journal of a later time than a closed store is an error', async () => {
    const folder = await temporaryFolder()
    await (await open(folder)).close()
    const backup = await copyOf(folder)
    await put(await open(folder), 'a', '1')
    for (const name of journalsIn(folder)) cpSync(join(folder, name), join(backup, name))
    await expect(contentsAfterCrash(backup)).rejects.toThrow('is not of the same time as data.mdb')
  })
})

describe('a journal file that cannot be written', () => {
  test.each(['half', 'sync'] as const)(
    '(%s) refuses the verbs of its frame, and the next ones begin another',
    async (failure) => {
      const folder = await temporaryFolder()
      const journal = failingJournal()
      const environment = await open(folder, { ...WITHOUT_CHECKPOINTS, openFile: journal.openFile })
      await put(environment, 'a', '1')
      journal.failure = failure
      const refused = await Promise.allSettled([put(environment, 'a', '2'), put(environment, 'b', '2')])
      for (const { status, ...outcome } of refused) {
        expect({ status, ...outcome }).toMatchObject({ status: 'rejected', reason: { code: 'store_unavailable' } })
      }
      // Neither the file nor a new one can be written.
      await expect(put(environment, 'a', '3')).rejects.toMatchObject({ code: 'store_unavailable' })
      expect(await contentsOf(environment)).toEqual({ 'series a': '31' })
      journal.failure = undefined
      await put(environment, 'c', '4')
      const expected = { 'series a': '31', 'series c': '34' }
      expect(await contentsOf(environment)).toEqual(expected)
      expect(await contentsAfterCrash(await copyOf(folder))).toEqual(expected)
    },
  )
})

describe('a checkpoint', () => {
  test('keeps the journal small and leaves out rows that came and went', async () => {
    const folder = await temporaryFolder()
    const environment = await open(folder, { ...WITHOUT_CHECKPOINTS, journalBytesMax: 20_000 })
    for (let i = 0; i < 100; i++) {
      await environment.write((writes) => {
        writes.put('series', Buffer.from(`block ${i}`), Buffer.alloc(1_000))
        writes.put('series', Buffer.from('last'), Buffer.from(String(i)))
      })
      await environment.write((writes) => writes.remove('series', Buffer.from(`block ${i}`)))
      expect(journalsIn(folder).length).toBeLessThanOrEqual(2)
      for (const name of journalsIn(folder)) {
        // The file may be removed between the two calls.
        expect(statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0).toBeLessThan(22_000)
      }
    }
    await settled(folder)
    const lmdb = new Lmdb(await copyOf(folder))
    // A checkpoint may begin between the two verbs.
    expect(lmdb.tables.series.getKeysCount()).toBeLessThan(10)
    await lmdb.close()
  })

  test('happens by itself a while after a write, and when the store closes', async () => {
    const folder = await temporaryFolder()
    const environment = await open(folder, { checkpointIntervalMs: 20, checkpointDelayMs: 0 })
    await put(environment, 'a', '1')
    await vi.waitFor(() => expect(journalsIn(folder)).toEqual(['journal-2']))
    await put(environment, 'a', '2')
    await environment.close()
    expect(journalsIn(folder)).toEqual([])
    expect(await contentsAfterCrash(folder)).toEqual({ 'series a': '32' })
  })

  test('that fails keeps the journal, and writes go on until memory is full', async () => {
    const folder = await temporaryFolder()
    const lmdb = new Lmdb(folder)
    const environment = await Environment.open(folder, lmdb, { ...WITHOUT_CHECKPOINTS, layerBytesMax: 2_000 })
    const failing = vi.spyOn(lmdb, 'write').mockRejectedValue(new Error('no space left'))
    let accepted = 0
    for (;;) {
      const outcome = await put(environment, `k${accepted}`, 'v').catch((error: unknown) => error)
      if (outcome !== undefined) {
        expect(outcome).toMatchObject({ code: 'store_unavailable' })
        break
      }
      accepted++
    }
    expect(accepted).toBeGreaterThan(10)
    expect(accepted).toBeLessThan(30)
    const all = Object.fromEntries(Array.from({ length: accepted }, (_, i) => [`series k${i}`, '76']))
    expect(await contentsAfterCrash(await copyOf(folder))).toEqual(all)
    failing.mockRestore()
    await put(environment, 'z', 'v')
    expect(await contentsOf(environment)).toEqual({ ...all, 'series z': '76' })
    await environment.close()
    expect(await contentsAfterCrash(folder)).toEqual({ ...all, 'series z': '76' })
  })

  test('that fails is tried again a second later, also if nothing is written meanwhile', async () => {
    const folder = await temporaryFolder()
    const lmdb = new Lmdb(folder)
    const environment = await Environment.open(folder, lmdb, { ...WITHOUT_CHECKPOINTS, layerBytesMax: 1_000 })
    onTestFinished(() => environment.close())
    const failing = vi.spyOn(lmdb, 'write').mockRejectedValue(new Error('no space left'))
    for (let i = 0; i < 8; i++) await put(environment, `a${i}`, 'v')
    await vi.waitFor(() => expect(failing).toHaveBeenCalled())
    failing.mockRestore()
    await vi.waitFor(() => expect(lmdb.tables.series.getKeysCount()).toBeGreaterThan(0), { timeout: 5_000 })
  })

  test('that fails is logged with its cause, once until one succeeds, and again when it fails at the end', async () => {
    const folder = await temporaryFolder()
    const lmdb = new Lmdb(folder)
    const logged: string[] = []
    const log = {
      warn: (details: object, message: string) => logged.push(`${message}: ${(details as { err: Error }).err.message}`),
    }
    const environment = await Environment.open(folder, lmdb, { ...WITHOUT_CHECKPOINTS, layerBytesMax: 1_000, log })
    const write = vi.spyOn(lmdb, 'write').mockRejectedValue(new Error('no space left'))
    const failed = expect.stringMatching(/^a checkpoint failed.*: no space left$/)
    for (let i = 0; i < 20; i++) await put(environment, `a${i}`, 'v').catch(() => undefined)
    expect(logged).toEqual([failed])
    write.mockRestore()
    await put(environment, 'b', 'v')
    await settled(folder)
    expect(logged).toHaveLength(1)
    vi.spyOn(lmdb, 'write').mockRejectedValue(new Error('no space left'))
    for (let i = 0; i < 20; i++) await put(environment, `c${i}`, 'v').catch(() => undefined)
    expect(logged).toEqual([failed, failed])
    await environment.close()
    expect(logged).toEqual([failed, failed, expect.stringMatching(/^the last checkpoint failed.*: no space left$/)])
  })

  test('creates the next journal file while writes go on', async () => {
    const folder = await temporaryFolder()
    let finishCreation: (() => void) | undefined
    const openFile = async (path: string): Promise<JournalFile> => {
      if (path.endsWith('journal-2')) await new Promise<void>((resolve) => (finishCreation = resolve))
      return openJournalFile(path)
    }
    const environment = await open(folder, { checkpointIntervalMs: 20, checkpointDelayMs: 0, openFile })
    await put(environment, 'a', '1')
    await vi.waitFor(() => expect(finishCreation).toBeDefined())
    await put(environment, 'a', '2')
    expect(await contentsAfterCrash(await copyOf(folder))).toEqual({ 'series a': '32' })
    finishCreation!()
    await vi.waitFor(() => expect(journalsIn(folder)).toEqual(['journal-2']))
    await put(environment, 'a', '3')
    expect(await contentsAfterCrash(await copyOf(folder))).toEqual({ 'series a': '33' })
  })

  test('that the store does not wait for when it closes leaves no journal file', async () => {
    const folder = await temporaryFolder()
    let isCreating = false
    const openFile = (path: string): Promise<JournalFile> => {
      isCreating ||= path.endsWith('journal-2')
      return openJournalFile(path)
    }
    const environment = await open(folder, { checkpointIntervalMs: 20, checkpointDelayMs: 0, openFile })
    await put(environment, 'a', '1')
    while (!isCreating) await new Promise((resolve) => setImmediate(resolve))
    await environment.close()
    expect(journalsIn(folder)).toEqual([])
    expect(await contentsAfterCrash(folder)).toEqual({ 'series a': '31' })
  })

  test('that finds no room for the next journal file is logged, and writes go on in the current file', async () => {
    const folder = await temporaryFolder()
    const logged: unknown[] = []
    const log = { warn: (details: object) => logged.push((details as { err: Error }).err) }
    let isFull = false
    const openFile = async (path: string): Promise<JournalFile> => {
      if (isFull) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' })
      return openJournalFile(path)
    }
    const environment = await open(folder, { checkpointIntervalMs: 20, checkpointDelayMs: 0, openFile, log })
    isFull = true
    await put(environment, 'a', '1')
    await vi.waitFor(() => expect(logged).toMatchObject([{ code: 'ENOSPC' }]))
    await put(environment, 'a', '2')
    expect(await contentsOf(environment)).toEqual({ 'series a': '32' })
    expect(logged).toHaveLength(1)
  })
})

test('members of a set are journaled as what they add', async () => {
  const folder = await temporaryFolder()
  const environment = await open(folder)
  await environment.write((writes) => {
    for (let i = 0; i < 3_000; i++) addMember(writes, 's', `member ${i}`)
  })
  const before = statSync(join(folder, 'journal-1')).size
  await environment.write((writes) => addMember(writes, 's', 'another'))
  await environment.write((writes) => addMember(writes, 's', 'and another'))
  expect(statSync(join(folder, 'journal-1')).size - before).toBeLessThan(120)
  const kinds: string[] = []
  readJournal(folder, 1, ({ kind }) => kinds.push(kind))
  expect(kinds).toEqual(['add', 'add', 'add'])
  expect(await contentsAfterCrash(await copyOf(folder))).toEqual(await contentsOf(environment))
  expect(readFileSync(join(folder, 'journal-1')).length).toBeGreaterThan(0)
})
