import { describe, expect, onTestFinished, test } from 'vitest'
import { Environment } from '../../../src/store/embedded/environment.ts'
import { Lmdb } from '../../../src/store/embedded/lmdb.ts'
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
})
