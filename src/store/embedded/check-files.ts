import { appendFileSync, closeSync, openSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { endianness } from 'node:os'
import { join } from 'node:path'

/**
 * Checks the files of a folder before LMDB maps them into memory. If the data file lacks a page, or the disk has no
 * space for a page, accessing this page would end the process by a signal (SIGBUS) instead of an error.
 *
 * A data file begins with two meta pages (struct MDB_meta of liblmdb). The meta page with the later transaction is
 * valid.
 */

/** Byte offsets of the fields of a meta page, which begins with a header of 24 bytes. */
const MAGIC_OFFSET = 24
const VERSION_OFFSET = 28
const PAGE_BYTES_OFFSET = 48
const LAST_PAGE_OFFSET = 144
const TRANSACTION_OFFSET = 152
const META_BYTES = 160

const LMDB_MAGIC = 0xbeefc0de
const LMDB_DATA_VERSION = 2
const PAGE_BYTES_MAX = 65_536

/**
 * Maximum number of pages that may be missing at the end of an intact file: LMDB does not write pages that one
 * transaction has both allocated and freed.
 */
const UNWRITTEN_PAGES_MAX = 16

/** Minimum free space of the disk, in which LMDB writes its lock file and its first pages when it is opened. */
const FREE_BYTES_MIN = 262_144

interface MetaPage {
  readonly pageBytes: number
  readonly lastPageNumber: number
  readonly transactionNumber: number
}

/**
 * Returns the number of bytes missing at the end of the data file; 0 if there is no file yet. Throws an Error if the
 * file is damaged, or of another LMDB version.
 */
export function checkDataFile(folder: string): number {
  const path = join(folder, 'data.mdb')
  const size = statSync(path, { throwIfNoEntry: false })?.size
  if (size === undefined) return 0
  const damaged = (what: string): Error =>
    new Error(
      `the file ${path} ${what}; restore the folder from a backup, or move the file away to begin with an empty store`,
    )
  if (size === 0) throw damaged('is empty: it was cut off, or the disk was full when it was made')
  const first = readMetaPage(path, 0)
  if (first === 'foreign') throw damaged('was not written by this gateway, or is damaged at its beginning')
  if (first === 'version') throw damaged('was written by another version of LMDB')
  const second = readMetaPage(path, first.pageBytes)
  if (typeof second === 'string' || second.pageBytes !== first.pageBytes) {
    throw damaged('is damaged at its beginning, or was cut off there')
  }
  const { lastPageNumber, pageBytes } = first.transactionNumber >= second.transactionNumber ? first : second
  const missing = (lastPageNumber + 1) * pageBytes - size
  if (missing > UNWRITTEN_PAGES_MAX * pageBytes) {
    throw damaged(`was cut off: it has ${size} bytes, its contents take ${(lastPageNumber + 1) * pageBytes}`)
  }
  return Math.max(0, missing)
}

/**
 * Appends zeros for the missing bytes to the data file. Reading a page in them is then an LMDB error and does not end
 * the process. The caller must hold the folder's lock.
 */
export function padDataFile(folder: string, missingBytes: number): void {
  if (missingBytes > 0) appendFileSync(join(folder, 'data.mdb'), Buffer.alloc(missingBytes))
}

/** Throws an Error if `FREE_BYTES_MIN` bytes cannot be written to the folder. */
export function checkFreeSpace(folder: string): void {
  const path = join(folder, `.room-${process.pid}`)
  try {
    writeFileSync(path, Buffer.alloc(FREE_BYTES_MIN, 1))
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new Error(
      `the folder ${folder} has no room for ${FREE_BYTES_MIN} bytes (${reason}); free some space or choose another folder`,
      { cause },
    )
  } finally {
    rmSync(path, { force: true })
  }
}

/**
 * Reads the meta page at a byte offset of the file. If it is not usable, returns why: `foreign` (damaged, or not of
 * LMDB) or `version` (of another version of LMDB).
 */
function readMetaPage(path: string, pageOffset: number): MetaPage | 'foreign' | 'version' {
  const bytes = Buffer.alloc(META_BYTES)
  const file = openSync(path, 'r')
  try {
    if (readSync(file, bytes, 0, META_BYTES, pageOffset) < META_BYTES) return 'foreign'
  } finally {
    closeSync(file)
  }
  const isLittleEndian = endianness() === 'LE'
  const u32 = (offset: number): number => (isLittleEndian ? bytes.readUInt32LE(offset) : bytes.readUInt32BE(offset))
  const u64 = (offset: number): number =>
    Number(isLittleEndian ? bytes.readBigUInt64LE(offset) : bytes.readBigUInt64BE(offset))
  const pageBytes = u32(PAGE_BYTES_OFFSET)
  if (u32(MAGIC_OFFSET) !== LMDB_MAGIC) return 'foreign'
  if ((u32(VERSION_OFFSET) & 0xffff) !== LMDB_DATA_VERSION) return 'version'
  if (pageBytes < 512 || pageBytes > PAGE_BYTES_MAX || (pageBytes & (pageBytes - 1)) !== 0) return 'foreign'
  return { pageBytes, lastPageNumber: u64(LAST_PAGE_OFFSET), transactionNumber: u64(TRANSACTION_OFFSET) }
}
