import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { HyperLogLog } from '../../../src/sketch/hyperloglog.ts'
import { Journal, type JournalRow, journalFileNumbers, readJournal } from '../../../src/store/embedded/journal.ts'
import { Layer } from '../../../src/store/embedded/layer.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const FRAME_HEADER_BYTES = 16

function membersOf(number: number): HyperLogLog {
  const members = new HyperLogLog()
  members.add(`member ${number}`)
  return members
}

function frame(number: number): Layer {
  const layer = new Layer()
  layer.set('events', `k${number}`, { value: Buffer.from(`value ${number}`) })
  layer.set('keys', `\xff${number}`, { value: undefined })
  layer.set('sets', `s${number}`, { value: undefined, addedMembers: membersOf(number) })
  return layer
}

/** A journal with this many frames, and where each of them ends. */
async function journalOf(folder: string, frames: number): Promise<{ readonly path: string; readonly ends: number[] }> {
  const journal = await Journal.create(folder, 7)
  const ends = [journal.fileBytes]
  for (let number = 0; number < frames; number++) {
    await journal.append(frame(number))
    ends.push(journal.fileBytes)
  }
  await journal.close()
  return { path: join(folder, 'journal-7'), ends }
}

function textsOf(rows: readonly JournalRow[]): string[] {
  return rows.map(
    ({ table, kind, key, value }) => `${kind} ${table} ${key.toString('latin1')} ${value.toString('latin1')}`,
  )
}

function read(folder: string) {
  const rows: JournalRow[] = []
  const contents = readJournal(folder, 7, (row) => rows.push(row))
  return { ...contents, rows: textsOf(rows) }
}

const rowsOf = (number: number) => [
  `put events k${number} value ${number}`,
  `remove keys \xff${number} `,
  `add sets s${number} ${Buffer.from(membersOf(number).encode()).toString('latin1')}`,
]
const rowsOfFirst = (frames: number) => Array.from({ length: frames }, (_, number) => rowsOf(number)).flat()

describe('a journal file', () => {
  test('is read as it was written', async () => {
    const folder = await temporaryFolder()
    await journalOf(folder, 3)
    expect(journalFileNumbers(folder)).toEqual([7])
    expect(read(folder)).toEqual({ frameCount: 3, isCut: false, rows: rowsOfFirst(3) })
  })

  test('that is cut off at any byte has the frames before it', async () => {
    const folder = await temporaryFolder()
    const { path, ends } = await journalOf(folder, 4)
    const size = ends.at(-1)!
    for (let bytes = size; bytes >= 0; bytes--) {
      truncateSync(path, bytes)
      const frames = Math.max(0, ends.filter((end) => end <= bytes).length - 1)
      expect(read(folder)).toEqual({ frameCount: frames, isCut: !ends.includes(bytes), rows: rowsOfFirst(frames) })
    }
  })

  test('whose last frame was half written over older bytes of the disk ends before it', async () => {
    const folder = await temporaryFolder()
    const { path, ends } = await journalOf(folder, 4)
    const bytes = readFileSync(path)
    for (const fill of [0, 0xff]) {
      for (let at = ends[3]!; at < ends[4]!; at++) {
        writeFileSync(path, Buffer.from(bytes).fill(fill, at))
        const isWhole = bytes.subarray(at).every((byte) => byte === fill)
        expect(read(folder).frameCount).toBe(isWhole ? 4 : 3)
      }
    }
  })

  test('with a damaged byte before its last frame is an error that names the file', async () => {
    const folder = await temporaryFolder()
    const { path, ends } = await journalOf(folder, 4)
    const bytes = readFileSync(path)
    for (let at = 0; at < ends[3]!; at++) {
      const damaged = Buffer.from(bytes)
      damaged[at]! ^= 0x10
      writeFileSync(path, damaged)
      expect(() => read(folder)).toThrow(`the file ${path} is damaged at byte`)
    }
  })

  test.each([
    ['table', 0],
    ['kind', 1],
  ])('with a row of an unknown %s is an error that names the file', async (_, rowOffset) => {
    const folder = await temporaryFolder()
    const { path, ends } = await journalOf(folder, 1)
    const bytes = readFileSync(path)
    const frame = bytes.subarray(ends[0])
    frame.writeUInt8(200, FRAME_HEADER_BYTES + rowOffset)
    const checked = [bytes.subarray(4, 20), frame.subarray(4, 12), frame.subarray(FRAME_HEADER_BYTES)]
    frame.writeUInt32LE(crc32(Buffer.concat(checked)), 12)
    writeFileSync(path, bytes)
    expect(() => read(folder)).toThrow(`the file ${path} is of a newer version of the gateway`)
  })

  test('with a higher version in its header is an error that names the file, and says that it is newer', async () => {
    const folder = await temporaryFolder()
    const { path } = await journalOf(folder, 1)
    const bytes = readFileSync(path)
    bytes.writeUInt8(2, 3)
    writeFileSync(path, bytes)
    expect(() => read(folder)).toThrow(`the file ${path} is damaged at byte 0`)
    bytes.writeUInt32LE(crc32(bytes.subarray(0, 20)), 20)
    writeFileSync(path, bytes)
    expect(() => read(folder)).toThrow(`the file ${path} is of a newer version of the gateway`)
  })

  test('of a block that holds the bytes of another journal is no damage', async () => {
    const folder = await temporaryFolder()
    const other = await temporaryFolder()
    const { path } = await journalOf(other, 2)
    const journal = await Journal.create(folder, 7)
    const layer = new Layer()
    layer.set('scalars', 'block', { value: readFileSync(path) })
    await journal.append(layer)
    await journal.close()
    truncateSync(join(folder, 'journal-7'), journal.fileBytes - 1)
    expect(read(folder)).toEqual({ frameCount: 0, isCut: true, rows: [] })
  })
})
