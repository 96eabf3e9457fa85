import fc from 'fast-check'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { Environment } from '../../../src/store/embedded/environment.ts'
import { Lmdb } from '../../../src/store/embedded/lmdb.ts'
import { MemoryTable } from '../../../src/store/embedded/memory-table.ts'
import type { Table } from '../../../src/store/embedded/table.ts'
import type { WriteSet } from '../../../src/store/embedded/write-set.ts'
import { failingJournal } from '../../support/failing-journal.ts'
import { reopenEnvironment } from '../../support/reopen-environment.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const key = (text: string) => Buffer.from(text)

async function openEnvironment(): Promise<Environment> {
  const folder = await temporaryFolder()
  const environment = await Environment.open(folder, new Lmdb(folder))
  onTestFinished(() => environment.close())
  return environment
}

describe('a writing verb', () => {
  test('is rolled back when it throws, and the next one runs', async () => {
    const environment = await openEnvironment()
    const failing = environment.write((writes) => {
      writes.put('keys', key('a'), key('1'))
      throw new RangeError('of the verb')
    })
    await expect(failing).rejects.toThrow(new RangeError('of the verb'))
    await environment.write((writes) => {
      expect(writes.get('keys', key('a'))).toBeUndefined()
      writes.put('keys', key('b'), key('2'))
    })
    const found = await environment.read((tables) => tables.keys.get(key('b'))?.toString())
    expect(found).toBe('2')
  })

  test('sees its own writes, and others only what is committed', async () => {
    const environment = await openEnvironment()
    await environment.write((writes) => writes.put('keys', key('a'), key('1')))
    const changing = environment.write((writes) => {
      writes.remove('keys', key('a'))
      writes.put('keys', key('b'), key('2'))
      writes.put('keys', key('b'), key('3'))
      expect([writes.has('keys', key('a')), writes.get('keys', key('b'))?.toString()]).toEqual([false, '3'])
      expect(writes.has('meta', key('b'))).toBe(false)
    })
    expect(await environment.read((tables) => tables.keys.has(key('a')))).toBe(true)
    await changing
    expect(await environment.read((tables) => tables.keys.has(key('a')))).toBe(false)
  })

  test('loses no concurrent update', async () => {
    const environment = await openEnvironment()
    const add = () =>
      environment.write((writes) => {
        const found = writes.get('keys', key('count'))
        const count = found === undefined ? 0 : Number(Buffer.from(found).toString())
        writes.put('keys', key('count'), key(String(count + 1)))
      })
    await Promise.all(Array.from({ length: 50 }, add))
    expect(await environment.read((tables) => tables.keys.get(key('count'))?.toString())).toBe('50')
  })

  test('changes memory only after its writes are durable', async () => {
    const environment = await openEnvironment()
    const acted: string[] = []
    await environment.write((writes) => {
      writes.put('keys', key('a'), key('1'))
      writes.onceDurable(() => acted.push('after'))
      acted.push('verb')
    })
    const failing = environment.write((writes) => {
      writes.onceDurable(() => acted.push('never'))
      throw new Error('of the verb')
    })
    await expect(failing).rejects.toThrow('of the verb')
    expect(acted).toEqual(['verb', 'after'])
  })
})

test('a range reads forwards up to its exclusive end; lastRowUpTo finds the last row at or before a key', async () => {
  const environment = await openEnvironment()
  await environment.write((writes) => {
    for (const text of ['b', 'd', 'f']) writes.put('keys', key(text), key(text.toUpperCase()))
  })
  await environment.read((tables) => {
    const texts = (start: string, end: string) =>
      [...tables.keys.rows({ start: key(start), end: key(end) })]
        .map((row) => Buffer.from(row.value).toString())
        .join('')
    expect(texts('a', 'z')).toBe('BDF')
    expect(texts('b', 'f')).toBe('BD')
    expect(texts('c', 'e')).toBe('D')
    const before = (start: string, end: string) => {
      const row = tables.keys.lastRowUpTo(key(start), key(end))
      return row && Buffer.from(row.value).toString()
    }
    expect(before('d', 'a')).toBe('D')
    expect(before('e', 'a')).toBe('D')
    expect(before('z', 'a')).toBe('F')
    expect(before('c', 'c')).toBeUndefined()
    expect(before('a', 'A')).toBeUndefined()
  })
})

const numberKey = (n: number) => key(String(n).padStart(4, '0'))

async function putNumbers(environment: Environment, count: number): Promise<void> {
  await environment.write((writes) => {
    for (let n = 0; n < count; n++) writes.put('events', numberKey(n), key('value'))
  })
}

describe('a range whose first rows are removed', () => {
  test.each([false, true])('is read without reading all of them again and again (reverse: %s)', async (reverse) => {
    const rowCount = 4_000
    const stepRows = 100
    let folder = await temporaryFolder()
    let environment = await Environment.open(folder, new Lmdb(folder))
    await putNumbers(environment, rowCount)
    ;({ folder, environment } = await reopenEnvironment(folder, environment, {}, 'reopen'))
    onTestFinished(() => environment.close())
    const bounds = { start: key('0'), end: key('9') }
    const range = reverse ? { start: bounds.end, end: bounds.start, reverse } : bounds
    // A read of a range gets each removed row from a layer.
    const layerReads = vi.spyOn(MemoryTable.prototype, 'get')
    onTestFinished(() => layerReads.mockRestore())
    let expectedFirst = reverse ? rowCount - 1 : 0
    for (let left = rowCount; left > 0; left -= stepRows) {
      await environment.read(({ events }) => {
        expect([...events.keys({ ...range, limit: 1 })].map(Number)).toEqual([expectedFirst])
      })
      await environment.write((writes) => {
        for (const found of writes.tables.events.keys({ ...range, limit: stepRows })) writes.remove('events', found)
      })
      expectedFirst += reverse ? -stepRows : stepRows
    }
    expect(await environment.read(({ events }) => [...events.rows(range)])).toEqual([])
    expect(layerReads.mock.calls.length).toBeLessThan(8 * rowCount)
  })

  const rowCount = 300
  const stepOf = fc.record({
    kind: fc.constantFrom('put' as const, 'remove' as const, 'remove' as const, 'throw' as const),
    from: fc.nat(rowCount - 1),
    count: fc.nat(100),
  })
  const readOf = fc.record({
    from: fc.nat(rowCount - 1),
    count: fc.nat(rowCount),
    reverse: fc.boolean(),
    limit: fc.constantFrom(1, 20, 1_000),
  })
  const frameOf = fc.record({
    steps: fc.array(fc.tuple(stepOf, readOf), { minLength: 1, maxLength: 4 }),
    reads: fc.array(readOf, { minLength: 1, maxLength: 3 }),
    fails: fc.constantFrom(false, false, false, true),
    reopens: fc.constantFrom(false, false, false, true),
  })

  function expectRange(
    table: Table,
    expected: ReadonlySet<number>,
    { from, count, reverse, limit }: typeof readOf extends fc.Arbitrary<infer T> ? T : never,
  ): void {
    const [low, high] = [from, from + count]
    const numbers = [...expected].filter((n) => (reverse ? n > low && n <= high : n >= low && n < high))
    numbers.sort((a, b) => (reverse ? b - a : a - b))
    const bounds = { start: numberKey(low), end: numberKey(high) }
    const range = reverse ? { start: bounds.end, end: bounds.start, reverse, limit } : { ...bounds, limit }
    expect([...table.keys(range)].map(Number)).toEqual(numbers.slice(0, limit))
    expect([...table.rows(range)].map((row) => Number(row.key))).toEqual(numbers.slice(0, limit))
  }

  test('has the rows that were not removed or were put again, also if writes fail in between', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(frameOf, { minLength: 3, maxLength: 15 }), async (frames) => {
        const journal = failingJournal()
        const options = { checkpointIntervalMs: 1e9, openFile: journal.openFile }
        let folder = await temporaryFolder()
        let environment = await Environment.open(folder, new Lmdb(folder), options)
        try {
          await putNumbers(environment, rowCount)
          ;({ folder, environment } = await reopenEnvironment(folder, environment, options, 'reopen'))
          let expected = new Set(Array.from({ length: rowCount }, (_, n) => n))
          for (const { steps, reads, fails, reopens } of frames) {
            journal.failure = fails ? 'sync' : undefined
            let changed = new Set(expected)
            // All writes of one turn share a frame.
            const writes = steps.map(async ([{ kind, from, count }, read]) => {
              const numbers = Array.from({ length: Math.min(count, rowCount - from) }, (_, i) => from + i)
              const verb = (set: WriteSet) => {
                expectRange(set.tables.events, changed, read)
                for (const n of numbers) {
                  if (kind === 'remove') set.remove('events', numberKey(n))
                  else set.put('events', numberKey(n), key('value'))
                }
                if (kind === 'throw') throw new RangeError('of the verb')
                for (const n of numbers) {
                  if (kind === 'remove') changed.delete(n)
                  else changed.add(n)
                }
              }
              try {
                await environment.write(verb)
              } catch (error) {
                if (error instanceof RangeError) return
                expect(error).toMatchObject({ code: 'store_unavailable' })
                changed = new Set(expected)
              }
            })
            await Promise.all(writes)
            expected = changed
            journal.failure = undefined
            await environment.read(({ events }) => {
              for (const read of reads) expectRange(events, expected, read)
            })
            if (reopens) ({ folder, environment } = await reopenEnvironment(folder, environment, options, 'reopen'))
          }
        } finally {
          await environment.close()
        }
      }),
      { numRuns: 60 },
    )
  }, 60_000)
})

test('an engine that cannot read is store_unavailable', async () => {
  const environment = await openEnvironment()
  const failing = environment.read(() => {
    throw Object.assign(new Error('MDB_PAGE_NOTFOUND'), { code: -30797 })
  })
  await expect(failing).rejects.toMatchObject({ code: 'store_unavailable' })
  await expect(
    environment.read(() => {
      throw new TypeError('of ours')
    }),
  ).rejects.toThrow(new TypeError('of ours'))
})

describe('room for large writes', () => {
  test('ends while a checkpoint runs and the next layer fills, and returns with its end', async () => {
    const folder = await temporaryFolder()
    const lmdb = new Lmdb(folder)
    const environment = await Environment.open(folder, lmdb, { layerBytesMax: 10_000 })
    onTestFinished(() => environment.close())
    let release = (): void => {}
    const isReleased = new Promise<void>((resolve) => (release = resolve))
    const write = lmdb.write.bind(lmdb)
    lmdb.write = async (puts) => {
      await isReleased
      await write(puts)
    }
    const put = (name: string) => environment.write((writes) => writes.put('keys', key(name), Buffer.alloc(4_000)))
    const room: boolean[] = []
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      await put(name)
      room.push(environment.hasRoomForLargeWrites)
    }
    // The third write fills the first layer, the fourth begins its checkpoint, the fifth half fills the second one.
    expect(room).toEqual([true, true, true, true, false])
    release()
    await expect.poll(() => environment.hasRoomForLargeWrites).toBe(true)
  })
  test('returns without further writes when one write has filled much of the next layer at once', async () => {
    const folder = await temporaryFolder()
    const environment = await Environment.open(folder, new Lmdb(folder), { layerBytesMax: 10_000 })
    onTestFinished(() => environment.close())
    const put = (name: string, bytes: number) =>
      environment.write((writes) => writes.put('keys', key(name), Buffer.alloc(bytes)))
    await put('a', 10_000)
    await put('b', 6_000)
    await expect.poll(() => environment.hasRoomForLargeWrites).toBe(true)
  })
})
