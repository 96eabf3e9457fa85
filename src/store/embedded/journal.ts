import { randomBytes } from 'node:crypto'
import { constants, readdirSync, readFileSync } from 'node:fs'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { TABLES, type TableName } from './keys.ts'
import type { Layer } from './layer.ts'

/**
 * The journal: the write-ahead log of the store. A journal file has the changes of writes in order, so that a commit
 * costs one write and one sync at the end of a file. A frame has the changes of the writes that are acknowledged
 * together. An incomplete frame is ignored as a whole.
 *
 * A frame has the rows that are put and removed, not the requests that caused the changes. So replaying is idempotent,
 * even if LMDB already has some of the rows. For a set sketch, a row can have members to add; adding members again
 * changes nothing. A frame is written only after the previous one is synced. So a crash can leave only the last frame
 * of a file incomplete, and that frame was not acknowledged. A damaged frame that is followed by another one is an
 * error.
 *
 *   file   magic `GQJ` · version u8 · salt (16 bytes) · checksum u32 (CRC-32 of all before), then the frames
 *   frame  magic (4 bytes) · bytes of the rows u32 · number in the file u32 · checksum u32, then the rows. The
 *          checksum is the CRC-32 of the salt, the two numbers and the rows.
 *   row    table u8 · kind u8 · bytes of the key u16 · bytes of the value u32 · key · value
 *
 * Integers are little-endian. The salt is part of each checksum, so that a client, which does not know the salt, cannot
 * send bytes that are mistaken for a frame.
 */

const FILE_MAGIC = Buffer.from('GQJ\x01', 'latin1')
const VERSION_OFFSET = 3
const SALT_BYTES = 16
const SALT_END = FILE_MAGIC.length + SALT_BYTES
const HEADER_BYTES = SALT_END + 4
/** The first bytes of each frame. They do not occur in UTF-8 text. */
const FRAME_MAGIC = 0xfdf7fbfe
const FRAME_HEADER_BYTES = 16
const ROW_HEADER_BYTES = 8
/** Initial size of the buffer in which frames are encoded, and maximum size at which it is kept for the next frame. */
const INITIAL_BUFFER_BYTES = 65_536
const KEPT_BUFFER_BYTES_MAX = 1_048_576

const ROW_KINDS = ['remove', 'put', 'add'] as const
export type RowKind = (typeof ROW_KINDS)[number]

/** A row of a frame. `add`: the value is a set sketch that is merged into the stored sketch. */
export interface JournalRow {
  readonly table: TableName
  readonly kind: RowKind
  readonly key: Buffer
  readonly value: Buffer
}

/** A journal file, written only at its end. Each write is synced to disk before `write` resolves. */
export interface JournalFile {
  write(bytes: Uint8Array, position: number): Promise<void>
  close(): Promise<void>
}

export type OpenJournalFile = (path: string) => Promise<JournalFile>

/** The journal file to which frames are appended. */
export class Journal {
  readonly fileNumber: number
  readonly #file: JournalFile
  readonly #salt: Buffer
  #frameCount = 0
  #fileBytes = HEADER_BYTES
  #buffer = Buffer.alloc(INITIAL_BUFFER_BYTES)

  private constructor(fileNumber: number, file: JournalFile, salt: Buffer) {
    this.fileNumber = fileNumber
    this.#file = file
    this.#salt = salt
  }

  /** Creates a journal file without frames and syncs it to disk. An existing file with this number is overwritten. */
  static async create(
    folder: string,
    fileNumber: number,
    openFile: OpenJournalFile = openJournalFile,
  ): Promise<Journal> {
    const file = await openFile(pathOf(folder, fileNumber))
    const salt = randomBytes(SALT_BYTES)
    try {
      await file.write(headerOf(salt), 0)
      await syncFolder(folder)
    } catch (error) {
      await file.close()
      throw error
    }
    return new Journal(fileNumber, file, salt)
  }

  get fileBytes(): number {
    return this.#fileBytes
  }

  /**
   * Appends the changes of a layer as one frame. If this rejects, the state of the file is unknown, and nothing must be
   * appended to the file any more.
   */
  async append(layer: Layer): Promise<void> {
    const length = this.#encode(layer)
    await this.#file.write(this.#buffer.subarray(0, length), this.#fileBytes)
    this.#fileBytes += length
    this.#frameCount++
    if (this.#buffer.length > KEPT_BUFFER_BYTES_MAX) this.#buffer = Buffer.alloc(INITIAL_BUFFER_BYTES)
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  /** Encodes a layer as a frame at the beginning of `#buffer`. Returns the length of the frame in bytes. */
  #encode(layer: Layer): number {
    let length = FRAME_HEADER_BYTES
    const encodedMembers: Uint8Array[] = []
    for (const [, table] of layer.tables()) {
      for (const [key, { value, addedMembers }] of table.entries()) {
        const bytes = addedMembers?.encode() ?? value
        if (addedMembers !== undefined) encodedMembers.push(bytes!)
        length += ROW_HEADER_BYTES + key.length + (bytes?.length ?? 0)
      }
    }
    if (length > this.#buffer.length) this.#buffer = Buffer.alloc(2 ** Math.ceil(Math.log2(length)))
    const buffer = this.#buffer
    let offset = FRAME_HEADER_BYTES
    let nextMembers = 0
    for (const [name, table] of layer.tables()) {
      const tableNumber = TABLES.indexOf(name)
      for (const [key, { value, addedMembers }] of table.entries()) {
        const bytes = addedMembers === undefined ? value : encodedMembers[nextMembers++]
        const kind: RowKind = bytes === undefined ? 'remove' : addedMembers === undefined ? 'put' : 'add'
        buffer.writeUInt8(tableNumber, offset)
        buffer.writeUInt8(ROW_KINDS.indexOf(kind), offset + 1)
        buffer.writeUInt16LE(key.length, offset + 2)
        buffer.writeUInt32LE(bytes?.length ?? 0, offset + 4)
        offset += ROW_HEADER_BYTES
        offset += buffer.write(key, offset, 'latin1')
        if (bytes !== undefined) buffer.set(bytes, offset)
        offset += bytes?.length ?? 0
      }
    }
    buffer.writeUInt32LE(FRAME_MAGIC, 0)
    buffer.writeUInt32LE(length - FRAME_HEADER_BYTES, 4)
    buffer.writeUInt32LE(this.#frameCount, 8)
    buffer.writeUInt32LE(checksumOf(this.#salt, buffer.subarray(0, length)), 12)
    return length
  }
}

function headerOf(salt: Buffer, magic = FILE_MAGIC): Buffer {
  const header = Buffer.concat([magic, salt, Buffer.alloc(4)])
  header.writeUInt32LE(crc32(header.subarray(0, -4)), header.length - 4)
  return header
}

/** Computes the checksum of a frame. `frame` has the header and the rows. */
function checksumOf(salt: Buffer, frame: Buffer): number {
  return crc32(frame.subarray(FRAME_HEADER_BYTES), crc32(frame.subarray(4, 12), crc32(salt)))
}

/** Returns the numbers of the journal files in a folder, in ascending order. */
export function journalFileNumbers(folder: string): number[] {
  const fileNumbers: number[] = []
  for (const name of readdirSync(folder)) {
    const digits = /^journal-(\d+)$/.exec(name)?.[1]
    if (digits !== undefined) fileNumbers.push(Number(digits))
  }
  return fileNumbers.sort((a, b) => a - b)
}

/**
 * Removes the journal files with a number below `firstFileNumber`. A file that cannot be removed stays; the next
 * checkpoint tries again. Until then it does no harm: no start replays it. Rejects if the folder cannot be read.
 */
export async function removeJournalFilesBefore(folder: string, firstFileNumber: number): Promise<void> {
  for (const fileNumber of journalFileNumbers(folder)) {
    if (fileNumber >= firstFileNumber) return
    // Removing a file of many megabytes can take long, so it must not block this thread.
    await unlink(pathOf(folder, fileNumber)).catch(() => undefined)
  }
}

export interface JournalSummary {
  /** Number of complete frames. */
  readonly frameCount: number
  /**
   * Whether the file ends with an incomplete header or frame. The writes in this frame were not acknowledged, unless
   * the disk has damaged the frame later.
   */
  readonly isCut: boolean
}

/**
 * Calls `onRow` for every row of the complete frames, in order. Throws an Error that names the file if the file is
 * damaged or of a newer version; rows before the damage have been passed to `onRow` then.
 */
export function readJournal(folder: string, fileNumber: number, onRow: (row: JournalRow) => void): JournalSummary {
  const path = pathOf(folder, fileNumber)
  const damaged = (offset: number): Error =>
    new Error(
      `the file ${path} is damaged at byte ${offset}; restore the folder from a backup, or move it away to begin with an empty store`,
    )
  const newerVersion = (): Error =>
    new Error(`the file ${path} is of a newer version of the gateway; start that version or restore a backup`)
  const bytes = readFileSync(path)
  const salt = bytes.subarray(FILE_MAGIC.length, SALT_END)
  if (!headerOf(salt).equals(bytes.subarray(0, HEADER_BYTES))) {
    // The file has at most the bytes of a header, so it has no frame. A crash during its creation leaves such a file:
    // frames are written only after the header is synced.
    if (bytes.length <= HEADER_BYTES) return { frameCount: 0, isCut: true }
    throw hasNewerHeader(bytes) ? newerVersion() : damaged(0)
  }
  let offset = HEADER_BYTES
  let frameCount = 0
  for (;;) {
    const frame = frameAt(bytes, offset, salt)
    if (frame?.frameNumber !== frameCount) break
    for (const row of rowsOf(frame.rows)) {
      if (row === undefined) throw newerVersion()
      onRow(row)
    }
    offset = frame.end
    frameCount++
  }
  const magic = Buffer.alloc(4)
  magic.writeUInt32LE(FRAME_MAGIC)
  for (let next = bytes.indexOf(magic, offset); next !== -1; next = bytes.indexOf(magic, next + 1)) {
    if (frameAt(bytes, next, salt) !== undefined) throw damaged(offset)
  }
  return { frameCount, isCut: offset < bytes.length }
}

/** Whether a file begins with an undamaged header of a higher version. */
function hasNewerHeader(bytes: Buffer): boolean {
  const magic = Buffer.from(FILE_MAGIC)
  magic[VERSION_OFFSET] = bytes[VERSION_OFFSET]!
  const header = headerOf(bytes.subarray(FILE_MAGIC.length, SALT_END), magic)
  return magic[VERSION_OFFSET] > FILE_MAGIC[VERSION_OFFSET]! && header.equals(bytes.subarray(0, HEADER_BYTES))
}

interface Frame {
  readonly frameNumber: number
  readonly rows: Buffer
  /** Byte offset in the file after the frame. */
  readonly end: number
}

/** Returns the frame at `offset`; undefined if no complete and undamaged frame begins there. */
function frameAt(bytes: Buffer, offset: number, salt: Buffer): Frame | undefined {
  if (offset + FRAME_HEADER_BYTES > bytes.length || bytes.readUInt32LE(offset) !== FRAME_MAGIC) return undefined
  const end = offset + FRAME_HEADER_BYTES + bytes.readUInt32LE(offset + 4)
  if (end > bytes.length) return undefined
  const frame = bytes.subarray(offset, end)
  if (checksumOf(salt, frame) !== frame.readUInt32LE(12)) return undefined
  return { frameNumber: frame.readUInt32LE(8), rows: frame.subarray(FRAME_HEADER_BYTES), end }
}

/** Reads the rows of a frame. Yields undefined, and ends, at a row of an unknown table or kind. */
function* rowsOf(rows: Buffer): Generator<JournalRow | undefined> {
  for (let offset = 0; offset < rows.length; ) {
    const keyAt = offset + ROW_HEADER_BYTES
    const valueAt = keyAt + rows.readUInt16LE(offset + 2)
    const table = TABLES[rows.readUInt8(offset)]
    const kind = ROW_KINDS[rows.readUInt8(offset + 1)]
    if (table === undefined || kind === undefined) {
      yield undefined
      return
    }
    offset = valueAt + rows.readUInt32LE(offset + 4)
    yield { table, kind, key: rows.subarray(keyAt, valueAt), value: rows.subarray(valueAt, offset) }
  }
}

function pathOf(folder: string, fileNumber: number): string {
  return join(folder, `journal-${fileNumber}`)
}

/**
 * Creates or empties a file whose writes are synced to disk before they resolve. On Linux, the system syncs each write
 * by itself (O_DSYNC), which makes a commit a third faster. On other systems, each write is followed by fdatasync.
 */
export async function openJournalFile(path: string): Promise<JournalFile> {
  const syncs = process.platform === 'linux'
  const { O_CREAT, O_DSYNC, O_TRUNC, O_WRONLY } = constants
  const handle = await open(path, O_CREAT | O_TRUNC | O_WRONLY | (syncs ? O_DSYNC : 0), 0o644)
  return {
    async write(bytes, position) {
      for (let written = 0; written < bytes.length; ) {
        written += (await handle.write(bytes, written, bytes.length - written, position + written)).bytesWritten
      }
      if (!syncs) await handle.datasync()
    },
    close: () => handle.close(),
  }
}

/** Makes the name of a new file durable. Windows has no such call and does not need it. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle: FileHandle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
