import { HYPERLOGLOG_BYTES_MAX, HyperLogLog } from '../../sketch/hyperloglog.ts'
import type { StoreLog } from '../store-log.ts'
import { type JournalRow, journalFileNumbers, readJournal } from './journal.ts'
import { JOURNAL_KEY } from './keys.ts'
import { Layer } from './layer.ts'
import type { Lmdb } from './lmdb.ts'
import { type MemoryTable, valueWithMembers } from './memory-table.ts'
import { decodeJson, encodeJson } from './rows.ts'
import { keyTextOf, type LmdbTable, type Tables } from './table.ts'

/**
 * Writes checkpoints to LMDB, and reads the changes of the journal at a start. A checkpoint writes a layer in bounded
 * transactions. The last transaction records that the journal files of this layer are no longer needed. If a checkpoint
 * is interrupted, the next start replays these files.
 */

/** What the table `meta` has about the journal. */
export interface JournalState {
  /** Number of the first journal file that a start has to replay. The file must exist, unless `isClosed`. */
  readonly first: number
  /** Whether the store was closed with all changes in LMDB. If so, no journal file from `first` on may have a frame. */
  readonly isClosed: boolean
}

const NO_JOURNAL: JournalState = { first: 1, isClosed: true }

/**
 * A transaction ends with the row that reaches one of these bounds. It blocks this thread for about a millisecond. A
 * commit takes several turns of the event loop, and each may contain a transaction.
 */
const TRANSACTION_ROWS_MAX = 200
const TRANSACTION_BYTES_MAX = 131_072

/**
 * Writes a layer to LMDB in several transactions, and then `journalState` in the last transaction. If a set sketch in
 * LMDB is damaged, the members that the layer adds to the sketch replace it, and this is logged. Otherwise a damaged
 * row would make every checkpoint fail.
 */
export async function writeCheckpoint(
  lmdb: Lmdb,
  layer: Layer,
  journalState: JournalState,
  log?: StoreLog,
): Promise<void> {
  let replacedCount = 0
  for (const [name, table] of layer.tables()) {
    while (table.sortKeys(TRANSACTION_ROWS_MAX)) await nextTurn()
    const lmdbTable = lmdb.tables[name]
    for (const batch of keyBatchesOf(table)) {
      await lmdb.write(() => {
        for (const text of batch) {
          const key = Buffer.from(text, 'latin1')
          const { value, addedMembers } = table.get(text)!
          if (addedMembers !== undefined) replacedCount += putSketch(lmdbTable, key, addedMembers) ? 0 : 1
          else if (value === undefined) lmdbTable.remove(key)
          else lmdbTable.put(key, value)
        }
      })
    }
  }
  await lmdb.write(() => lmdb.tables.meta.put(JOURNAL_KEY, encodeJson(journalState)))
  if (replacedCount > 0)
    log?.warn({ sketches: replacedCount }, 'stored sets were damaged and have only new members now')
}

/**
 * Adds members to a set sketch in LMDB; writes nothing if the sketch has all of them already. Returns false if the
 * stored sketch was damaged and was replaced.
 */
function putSketch(lmdbTable: LmdbTable, key: Buffer, addedMembers: HyperLogLog): boolean {
  const storedValue = lmdbTable.getBinary(key)
  try {
    const value = valueWithMembers(storedValue, addedMembers)
    if (storedValue === undefined || Buffer.compare(storedValue, value) !== 0) lmdbTable.put(key, value)
    return true
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    lmdbTable.put(key, addedMembers.encode())
    return false
  }
}

function* keyBatchesOf(table: MemoryTable): Generator<readonly string[]> {
  let batch: string[] = []
  let bytes = 0
  for (const text of table.keysFrom('', false)) {
    batch.push(text)
    const { value, addedMembers } = table.get(text)!
    bytes += text.length + (addedMembers === undefined ? (value?.length ?? 0) : HYPERLOGLOG_BYTES_MAX)
    if (batch.length < TRANSACTION_ROWS_MAX && bytes < TRANSACTION_BYTES_MAX) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/**
 * Reads the journal files that a start has to replay. Returns their changes as a new layer, and the number for the next
 * file. Changes nothing in LMDB. Throws an Error that names the folder or file if a file is missing or damaged, or does
 * not belong to this state of LMDB.
 */
export function readJournalChanges(
  folder: string,
  tables: Tables,
): { readonly layer: Layer; readonly nextFileNumber: number } {
  const stateBytes = tables.meta.get(JOURNAL_KEY)
  const { first, isClosed } = stateBytes === undefined ? NO_JOURNAL : (decodeJson(stateBytes) as JournalState)
  const fileNumbers = journalFileNumbers(folder).filter((fileNumber) => fileNumber >= first)
  if (!isClosed && fileNumbers[0] !== first) {
    throw new Error(`the store in ${folder} lacks its file journal-${first}; restore the folder from a backup`)
  }
  const layer = new Layer()
  let cutFileNumber: number | undefined
  let nextFileNumber = first
  for (const fileNumber of fileNumbers) {
    const { frameCount, isCut } = readJournal(folder, fileNumber, (row) => addChange(layer, row))
    if (frameCount > 0 && (isClosed || fileNumber !== nextFileNumber || cutFileNumber !== undefined)) {
      const reason =
        cutFileNumber === undefined
          ? 'is not of the same time as data.mdb'
          : `follows journal-${cutFileNumber}, which is damaged`
      throw new Error(`the file journal-${fileNumber} in ${folder} ${reason}; restore the folder from a backup`)
    }
    if (isCut) cutFileNumber ??= fileNumber
    nextFileNumber = fileNumber + 1
  }
  return { layer, nextFileNumber }
}

function addChange(layer: Layer, { table, kind, key, value }: JournalRow): void {
  const write =
    kind === 'add'
      ? { value: undefined, addedMembers: HyperLogLog.decode(value) }
      : { value: kind === 'put' ? value : undefined }
  layer.set(table, keyTextOf(key), write)
}
