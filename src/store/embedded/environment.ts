import { FailureLog } from '../../model/failure-log.ts'
import type { StoreLog } from '../store-log.ts'
import { type JournalState, replayJournal, writeCheckpoint } from './checkpoint.ts'
import { Journal, type OpenJournalFile, openJournalFile, removeJournalFilesBefore } from './journal.ts'
import type { TableName } from './keys.ts'
import { Layer } from './layer.ts'
import { asUnavailable, attempt, type Lmdb, unavailable } from './lmdb.ts'
import { type Tables, tablesOver } from './table.ts'
import { WriteSet } from './write-set.ts'

/**
 * Runs all reads and writes of a store folder. A write runs alone: it reads the results of earlier writes and records
 * its own in a `WriteSet`, which is dropped if the write throws. Writes that are waiting at the same time share one
 * frame of the journal. When the frame is synced to disk, its writes enter a layer in memory, become visible to
 * readers, and resolve. A checkpoint writes the layer to LMDB a few times a minute; rows that are added and removed
 * between two checkpoints are never written to LMDB.
 *
 * Invariant: everything that readers see is in LMDB, or in both the journal and a layer. If writing or syncing the
 * journal fails, the state of the file is unknown. The store then refuses writes until all layers are in LMDB and a new
 * file exists.
 */
export interface EnvironmentOptions {
  readonly checkpointMs?: number
  /**
   * Size of the layer in memory, and of the journal file, at which a checkpoint begins. During a checkpoint a second
   * layer and file are filled. When they are full too, writes wait for the checkpoint, or are refused if it fails.
   */
  readonly layerBytesMax?: number
  readonly journalBytesMax?: number
  readonly openFile?: OpenJournalFile
  readonly log?: StoreLog
}

/**
 * Interval between checkpoints. It is long enough that most inbox blocks are folded before they would be written to
 * LMDB.
 */
const CHECKPOINT_MS = 30_000
const CHECKPOINT_RETRY_MS = 1_000
const LAYER_BYTES_MAX = 16_777_216
const JOURNAL_BYTES_MAX = 33_554_432
/** Maximum size of one frame, and time to fill it. Waiting writes beyond it go into the next frame. */
const FRAME_BYTES_MAX = 1_048_576
const FRAME_MS_MAX = 5

type Options = Required<Omit<EnvironmentOptions, 'log'>> & { readonly log: StoreLog | undefined }

interface Waiting {
  readonly verb: (writes: WriteSet) => unknown
  readonly resolve: (result: never) => void
  readonly reject: (error: unknown) => void
}

export class Environment {
  readonly tables: Tables
  readonly #folder: string
  readonly #lmdb: Lmdb
  readonly #options: Options
  readonly #checkpointFailures: FailureLog
  /** The tables that a write reads: `tables` and the earlier writes of its frame. */
  readonly #verbTables: Tables
  readonly #queue: Waiting[] = []
  #running: Promise<void> | undefined
  #isClosed = false

  #journal: Journal
  /** The journal file whose last write failed. */
  #failed: Journal | undefined
  #staged = new Layer()
  #active = new Layer()
  /** The layer that a checkpoint is writing to LMDB. */
  #frozen: Layer | undefined
  #checkpoint: Promise<void> | undefined
  #checkpointError: unknown
  #isDue = false
  #timer: NodeJS.Timeout | undefined

  private constructor(folder: string, lmdb: Lmdb, journal: Journal, options: Options) {
    this.#folder = folder
    this.#lmdb = lmdb
    this.#journal = journal
    this.#options = options
    this.#checkpointFailures = new FailureLog((err) =>
      options.log?.warn({ err }, 'a checkpoint failed; it is retried, and writes are refused when the journal is full'),
    )
    this.tables = tablesOver(lmdb.tables, () => this.#layers())
    this.#verbTables = tablesOver(lmdb.tables, () => [this.#staged, ...this.#layers()])
  }

  /**
   * Opens the environment and replays the journal into LMDB. Throws an Error that names the folder if it is damaged.
   * Closing the environment closes `lmdb`.
   */
  static async open(folder: string, lmdb: Lmdb, options: EnvironmentOptions = {}): Promise<Environment> {
    const { openFile = openJournalFile } = options
    const { layer, nextFileNumber } = replayJournal(
      folder,
      tablesOver(lmdb.tables, () => []),
    )
    const journal = await Journal.create(folder, nextFileNumber, openFile)
    try {
      await writeCheckpoint(lmdb, layer, { first: nextFileNumber, isClosed: false })
    } catch (error) {
      await journal.close()
      throw error
    }
    removeJournalFilesBefore(folder, nextFileNumber)
    return new Environment(folder, lmdb, journal, {
      checkpointMs: options.checkpointMs ?? CHECKPOINT_MS,
      layerBytesMax: options.layerBytesMax ?? LAYER_BYTES_MAX,
      journalBytesMax: options.journalBytesMax ?? JOURNAL_BYTES_MAX,
      openFile,
      log: options.log,
    })
  }

  /** False when a checkpoint is running and the second layer is half full already. */
  get hasRoom(): boolean {
    return this.#frozen === undefined || this.#active.bytes < this.#options.layerBytesMax / 2
  }

  /** Runs a read on one snapshot of the durable data. `verb` is synchronous, so no write can run meanwhile. */
  async read<T>(verb: (tables: Tables) => T): Promise<T> {
    if (this.#isClosed) throw unavailable()
    return attempt(() => verb(this.tables))
  }

  /** Runs a write after all earlier ones. Resolves when its changes are durable. */
  write<T>(verb: (writes: WriteSet) => T): Promise<T> {
    if (this.#isClosed) return Promise.reject(unavailable())
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ verb, resolve, reject })
      this.#running ??= this.#run()
    })
  }

  /** Writes rows that other processes also read and write directly to LMDB, not to the journal. */
  writeShared(puts: (lmdb: Lmdb) => void): Promise<void> {
    if (this.#isClosed) return Promise.reject(unavailable())
    return this.#lmdb.write(() => puts(this.#lmdb))
  }

  /** Completes the waiting writes and moves all data to LMDB. Data that cannot be moved stays in the journal. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#running
    clearTimeout(this.#timer)
    try {
      await this.#finishCheckpoint()
      const first = this.#journal.fileNumber + 1
      await writeCheckpoint(this.#lmdb, this.#active, { first, isClosed: true })
      removeJournalFilesBefore(this.#folder, first)
    } catch (err) {
      this.#options.log?.warn({ err }, 'the last checkpoint failed; the next start replays the journal')
    }
    await this.#journal.close()
    await this.#lmdb.close()
  }

  #layers(): readonly Layer[] {
    return this.#frozen === undefined ? [this.#active] : [this.#active, this.#frozen]
  }

  async #run(): Promise<void> {
    // Waits until the end of this event turn, so that all writes of the turn share a frame.
    await undefined
    while (this.#queue.length > 0) {
      try {
        await this.#prepareJournal()
      } catch (error) {
        for (const { reject } of this.#queue.splice(0)) reject(asUnavailable(error))
        continue
      }
      await this.#commitFrame()
    }
    this.#running = undefined
  }

  async #commitFrame(): Promise<void> {
    const done: { readonly waiting: Waiting; readonly writes: WriteSet; readonly result: unknown }[] = []
    const untilMs = performance.now() + FRAME_MS_MAX
    do {
      const waiting = this.#queue.shift()!
      const writes = new WriteSet(this.#verbTables)
      try {
        const result = attempt(() => waiting.verb(writes))
        if (this.#staged.isEmpty) this.#staged = writes.layer
        else this.#staged.stage(writes.layer)
        done.push({ waiting, writes, result })
      } catch (error) {
        waiting.reject(error)
      }
    } while (this.#queue.length > 0 && this.#staged.bytes < FRAME_BYTES_MAX && performance.now() < untilMs)
    const staged = this.#staged
    this.#staged = new Layer()
    if (!staged.isEmpty) {
      try {
        await this.#journal.append(staged)
      } catch (cause) {
        this.#failed = this.#journal
        for (const { waiting } of done) waiting.reject(asUnavailable(cause))
        return
      }
      this.#timer ??= this.#schedule(this.#options.checkpointMs)
      this.#active.absorb(staged, (name, key) => this.#isStored(name, key))
    }
    for (const { waiting, writes, result } of done) {
      writes.finish()
      waiting.resolve(result as never)
    }
  }

  /** Returns whether the row is in LMDB, or will be after the running checkpoint. */
  #isStored(name: TableName, key: string): boolean {
    if (this.#frozen?.get(name, key) !== undefined) return true
    try {
      return this.#lmdb.tables[name].doesExist(Buffer.from(key, 'latin1'))
    } catch {
      // The read failed. True is safe: removing a missing row has no effect.
      return true
    }
  }

  /**
   * Begins a checkpoint if one is due. Rejects if the journal cannot be written, or if layer or journal are full and
   * the checkpoint fails.
   */
  async #prepareJournal(): Promise<void> {
    if (this.#failed === this.#journal) {
      await this.#finishCheckpoint()
      await this.#freeze()
    }
    if (this.#failed !== undefined) {
      await this.#finishCheckpoint()
      this.#failed = undefined
    }
    const { layerBytesMax, journalBytesMax } = this.#options
    const isFull = this.#active.bytes >= layerBytesMax || this.#journal.bytes >= journalBytesMax
    if (!isFull && !this.#isDue) return
    if (isFull) await this.#finishCheckpoint()
    if (this.#frozen !== undefined) return
    this.#isDue = false
    try {
      await this.#freeze()
    } catch (error) {
      // The current file is used until it is full.
      if (isFull) throw error
      this.#checkpointFailures.failed(error)
      this.#timer ??= this.#schedule(CHECKPOINT_RETRY_MS)
      return
    }
    this.#startCheckpoint()
  }

  /** Begins a new journal file and an empty layer. The previous layer is frozen; the next checkpoint writes it. */
  async #freeze(): Promise<void> {
    const { fileNumber } = this.#journal
    const next = await Journal.create(this.#folder, fileNumber + 1, this.#options.openFile)
    const previous = this.#journal
    this.#journal = next
    this.#frozen = this.#active
    this.#active = new Layer()
    await previous.close()
  }

  /** Waits until the frozen layer is in LMDB. Rejects if the checkpoint fails. */
  async #finishCheckpoint(): Promise<void> {
    if (this.#frozen === undefined) return
    if (this.#checkpoint === undefined) this.#startCheckpoint()
    await this.#checkpoint
    if (this.#frozen !== undefined) throw this.#checkpointError
  }

  #startCheckpoint(): void {
    const first = this.#journal.fileNumber
    this.#checkpoint = this.#writeFrozen({ first, isClosed: false })
      .catch((error: unknown) => {
        this.#checkpointError = error
        this.#checkpointFailures.failed(error)
        if (!this.#isClosed) this.#timer ??= this.#schedule(CHECKPOINT_RETRY_MS)
      })
      .finally(() => {
        this.#checkpoint = undefined
      })
  }

  async #writeFrozen(state: JournalState): Promise<void> {
    await writeCheckpoint(this.#lmdb, this.#frozen!, state)
    this.#frozen = undefined
    removeJournalFilesBefore(this.#folder, state.first)
    this.#checkpointFailures.succeeded()
  }

  /** Makes a checkpoint due after `ms`, and starts the queue to begin it. */
  #schedule(ms: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#timer = undefined
      this.#isDue = true
      if (this.#frozen !== undefined && this.#checkpoint === undefined) this.#startCheckpoint()
      this.write(() => undefined).catch(() => undefined)
    }, ms).unref()
  }
}
