import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'lmdb'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.ts'
import { Lmdb } from '../../src/store/embedded/lmdb.ts'
import { built, runChild } from '../support/child-gateway.ts'
import { startGateway } from '../support/gateway.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/**
 * A folder whose data file was damaged, and a disk without room: the gateway says so and exits, and dies by no
 * signal.
 */

let sound: string

beforeAll(async () => {
  sound = mkdtempSync(join(tmpdir(), 'gaugeql-'))
  const gateway = await startGateway({ folder: sound })
  for (let i = 0; i < 20; i++) {
    await fetch(`${gateway.url}/api/v1/events`, {
      method: 'POST',
      headers: { 'x-api-key': gateway.key, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'e', properties: { text: 'x'.repeat(20_000) } }),
    })
  }
  await gateway.close()
  await built()
}, 120_000)

afterAll(() => rmSync(sound, { recursive: true, force: true }))

async function copyOfSound(): Promise<string> {
  const folder = await temporaryFolder()
  copyFileSync(join(sound, 'data.mdb'), join(folder, 'data.mdb'))
  return folder
}

describe('a data file', () => {
  it.each<[string, (path: string, bytes: Buffer) => void, RegExp]>([
    ['that is empty', (path) => writeFileSync(path, ''), /is empty/],
    ['of a few bytes', (path) => truncateSync(path, 100), /not written by this gateway/],
    ['of one page', (path) => truncateSync(path, 4_096), /damaged at its beginning/],
    ['of half its pages', (path, bytes) => truncateSync(path, bytes.length / 2), /was cut off: it has \d+ bytes/],
    ['of zeros', (path, bytes) => writeFileSync(path, Buffer.alloc(bytes.length)), /not written by this gateway/],
    ['whose first page is zeros', (path, bytes) => writeFileSync(path, bytes.fill(0, 0, 4_096)), /not written by/],
    ['whose second page is zeros', (path, bytes) => writeFileSync(path, bytes.fill(0, 4_096, 8_192)), /damaged at/],
    ['of another program', (path) => writeFileSync(path, 'SQLite format 3\0'.repeat(5_000)), /not written by this/],
    ['of another format', (path, bytes) => writeFileSync(path, bytes.fill(1, 28, 29)), /another version of LMDB/],
    // Pages beyond the first: no page of a table is what it should be.
    ['whose pages are zeros', (path, bytes) => writeFileSync(path, bytes.fill(0, 8_192)), /cannot be opened|cannot/],
  ])('%s is refused, naming the folder', async (_name, damage, reason) => {
    const folder = await copyOfSound()
    const path = join(folder, 'data.mdb')
    damage(path, readFileSync(path))
    const damaged = readFileSync(path)
    for (const args of [[], ['keys', 'list']]) {
      const { code, signal, output, errors } = await runChild({ PORT: '0', DATA_DIR: folder }, args)
      expect({ code, signal, output }).toEqual({ code: 1, signal: null, output: '' })
      // LMDB itself may have written a line before.
      const [said] = errors.trim().split('\n').slice(-1)
      expect(said).toMatch(/^GaugeQL could not (start|run the command): DATA_DIR cannot be used: /)
      expect(said).toContain(folder)
      expect(said).toMatch(reason)
    }
    // Nothing was written over what may yet be saved.
    expect(readFileSync(path).equals(damaged)).toBe(true)
  })

  it('of another program that uses LMDB is refused, and not written to', async () => {
    const folder = await temporaryFolder()
    const other = open({ path: folder, noSubdir: false, encoding: 'binary' })
    await other.put('theirs', Buffer.from('1'))
    await other.close()
    const before = readFileSync(join(folder, 'data.mdb'))
    const { code, errors } = await runChild({ PORT: '0', DATA_DIR: folder })
    expect(code).toBe(1)
    expect(errors).toContain(`the store in ${folder} cannot be opened: it holds the data of another program`)
    expect(readFileSync(join(folder, 'data.mdb')).equals(before)).toBe(true)
  })

  it('that lacks pages in use is refused, naming the folder', async () => {
    const folder = await copyOfSound()
    const path = join(folder, 'data.mdb')
    truncateSync(path, readFileSync(path).length - 4 * 4_096)
    await expect(openEmbeddedStore({ folder, ...SHAPE })).rejects.toThrow(`${folder} cannot be opened: MDB_`)
  })

  it('that lacks pages which no transaction has written is extended', async () => {
    const folder = await copyOfSound()
    const path = join(folder, 'data.mdb')
    // The pages of the large value are free afterwards, and later writes fit into the first of them.
    const lmdb = new Lmdb(folder)
    const { keys } = lmdb.tables
    await lmdb.write(() => keys.put(Buffer.from('large'), Buffer.alloc(1_000_000)))
    await lmdb.write(() => keys.remove(Buffer.from('large')))
    for (let i = 0; i < 5; i++) await lmdb.write(() => keys.put(Buffer.from('small'), Buffer.from([i])))
    await lmdb.write(() => keys.remove(Buffer.from('small')))
    await lmdb.close()
    const { length } = readFileSync(path)
    truncateSync(path, length - 4_096)
    const store = await openEmbeddedStore({ folder, ...SHAPE })
    await store.close()
    expect(readFileSync(path).length).toBeGreaterThanOrEqual(length)
  })
})

const steps = (...ms: number[]) => ms.map((bucketWidthMs) => ({ bucketWidthMs, keptMs: 1 }))
const SHAPE = {
  partitions: 8,
  resolutions: steps(10_000, 60_000, 900_000, 3_600_000, 86_400_000),
  setResolutions: steps(60_000, 3_600_000, 86_400_000),
}

describe('a disk without room', () => {
  it.skipIf(process.platform !== 'linux')('is named, for a new folder and for one in use', async () => {
    for (const folder of [join(await temporaryFolder(), 'new'), await copyOfSound()]) {
      // A limit on the size of files stands for it.
      const { code, signal, errors } = await runChild({ PORT: '0', DATA_DIR: folder }, [], 'ulimit -f 8')
      expect({ code, signal }).toEqual({ code: 1, signal: null })
      expect(errors).toContain(`DATA_DIR cannot be used: the folder ${folder} has no room`)
    }
  })
})
