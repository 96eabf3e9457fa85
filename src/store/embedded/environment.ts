import { FailureLog } from '../../model/failure-log.ts'
import type { Pace, Steps } from '../../model/steps.ts'
import type { StoreLog } from '../store-log.ts'
import { type JournalState, readJournalChanges, writeCheckpoint } from './checkpoint.ts'
import { Journal, type OpenJournalFile, openJournalFile, removeJournalFilesBefore } from './journal.ts'
import type { TableName } from './keys.ts'
import { Layer } from './layer.ts'
import { asUnavailable, convertLmdbErrors, type Lmdb, unavailableError } from './lmdb.ts'
import { type Tables, tablesOver } from './table.ts'
import { WriteSet } from './write-set.ts'

export interface EnvironmentOptions {
  readonly checkpointIntervalMs?: number
  readonly checkpointDelayMs?: number
  /**
   * Size of the layer in memory, and of the journal file, at which the layer is frozen and a second layer and file are
   * begun. When one of these is full too, writes wait for the checkpoint of the frozen layer, or are refused if it
   * fails.
   */
  readonly layerBytesMax?: number
  readonly journalBytesMax?: number
  readonly openFile?: OpenJournalFile
  readonly log?: StoreLog
}

/** The first frame of a layer makes its checkpoint due after this time. */
const CHECKPOINT_INTERVAL_MS = 30_000
/**
 * A frozen layer waits for this time before its checkpoint, or until the active layer or its journal file is full by
 * the part `CHECKPOINT_DELAY_FILL_MAX`. Meanwhile most of its inbox blocks are folded (the age at which they are folded
 * is less than this time), so they are never written to LMDB.
 */
const CHECKPOINT_DELAY_MS = 20_000
const CHECKPOINT_DELAY_FILL_MAX = 1 / 3
const CHECKPOINT_RETRY_PAUSE_MS = 1_000
const LAYER_BYTES_MAX = 25_165_824
const JOURNAL_BYTES_MAX = 67_108_864
/** A frame takes no further write when it has this size in memory, or when its writes have run for this time. */
const FRAME_BYTES_MAX = 1_048_576
const FRAME_MS_MAX = 5

type FilledOptions = Required<Omit<EnvironmentOptions, 'log'>> & { readonly log: StoreLog | undefined }

interface WaitingWrite {
  readonly verb: (writes: WriteSet) => unknown
  readonly resolve: (result: never) => void
  readonly reject: (error: unknown) => void
}

/**
 * LMDB with a journal in front of it: writes go to the journal, checkpoints move them to LMDB. Rows that several
 * processes write (API keys) go directly to LMDB.
 *
 * Writes run one after another: each reads the results of earlier writes and records its own changes in a `WriteSet`,
 * which is dropped if the write throws. Writes that wait at the same time share a frame of the journal. When the frame
 * is synced to disk, its changes are added to a layer in memory and become visible to readers, and the writes resolve.
 * About twice a minute, or when the layer or the journal file is full, the layer is frozen and a new one is begun. A
 * while later, a checkpoint writes the frozen layer to LMDB. A new row that is removed before that is removed from the
 * layers, and LMDB never has it. Such rows are the blocks of the inboxes, which are most of all that is written.
 *
 * Invariant: everything that readers see is in LMDB, or in both the journal and a layer. If writing or syncing the
 * journal fails, the state of its file is unknown. Before the next write, all layers are then written to LMDB, and a
 * new journal file is begun. Writes are refused as long as that fails.
 */
export class Environment {
  /** The tables as readers see them: with all durable changes. */
  readonly tables: Tables
  readonly #folder: string
  readonly #lmdb: Lmdb
  readonly #options: FilledOptions
  readonly #checkpointFailures: FailureLog
  /** The tables as a write reads them: with the changes of earlier writes of the same frame. */
  readonly #writeTables: Tables
  readonly #queue: WaitingWrite[] = []
  #queueRun: Promise<void> | undefined
  #isClosing = false

  #journal: Journal
  /** The journal whose last write failed. Nothing is appended to its file any more. */
  #failedJournal: Journal | undefined
  /** The file after the current one: created, or being created. Undefined until it is needed soon. */
  #nextJournal: Promise<Journal> | undefined
  /** The changes of the frame whose writes are running. */
  #frameLayer = new Layer()
  /** The durable changes since the previous active layer was frozen. */
  #activeLayer = new Layer()
  /** The layer that waits for a checkpoint, or that the running one writes to LMDB. */
  #frozenLayer: Layer | undefined
  /** The arrays that `#layers` and `#layersOfWrites` have returned last. */
  #layerList: readonly Layer[] = []
  #writeLayerList: readonly Layer[] = []
  #runningCheckpoint: Promise<void> | undefined
  #checkpointError: unknown
  /** Resolves when the last checkpoint has removed the journal files that it made superfluous. */
  #journalFileRemoval: Promise<void> = Promise.resolve()
  #isCheckpointDue = false
  /** Set while the frozen layer waits for its checkpoint. */
  #delayTimer: NodeJS.Timeout | undefined
  #checkpointTimer: NodeJS.Timeout | undefined

  private constructor(folder: string, lmdb: Lmdb, journal: Journal, options: FilledOptions) {
    this.#folder = folder
    this.#lmdb = lmdb
    this.#journal = journal
    this.#options = options
    this.#checkpointFailures = new FailureLog((err) =>
      options.log?.warn({ err }, 'a checkpoint failed; it is retried, and writes are refused when the journal is full'),
    )
    this.tables = tablesOver(lmdb.tables, () => this.#layers())
    this.#writeTables = tablesOver(lmdb.tables, () => this.#layersOfWrites())
  }

  /**
   * Opens the environment and replays the journal into LMDB. Throws an Error that names the folder or file if a journal
   * file is missing or damaged. Closing the environment closes `lmdb`.
   */
  static async open(folder: string, lmdb: Lmdb, options: EnvironmentOptions = {}): Promise<Environment> {
    const { openFile = openJournalFile } = options
    const { layer, nextFileNumber } = readJournalChanges(
      folder,
      tablesOver(lmdb.tables, () => []),
    )
    const journal = await Journal.create(folder, nextFileNumber, openFile)
    try {
      await writeCheckpoint(lmdb, layer, { first: nextFileNumber, isClosed: false }, options.log)
    } catch (error) {
      await journal.close()
      throw error
    }
    await removeJournalFilesBefore(folder, nextFileNumber)
    return new Environment(folder, lmdb, journal, {
      checkpointIntervalMs: options.checkpointIntervalMs ?? CHECKPOINT_INTERVAL_MS,
      checkpointDelayMs: options.checkpointDelayMs ?? CHECKPOINT_DELAY_MS,
      layerBytesMax: options.layerBytesMax ?? LAYER_BYTES_MAX,
      journalBytesMax: options.journalBytesMax ?? JOURNAL_BYTES_MAX,
      openFile,
      log: options.log,
    })
  }

  /**
   * See `Store.hasRoomForLargeWrites`. False if a checkpoint is running (or has failed and is tried again), and the
   * layer for later changes is already half full.
   */
  get hasRoomForLargeWrites(): boolean {
    return this.#frozenLayer === undefined || this.#activeLayer.memoryBytes < this.#options.layerBytesMax / 2
  }

  /** Runs a read on one snapshot of the durable data: `verb` is synchronous, so no write becomes visible meanwhile. */
  async read<T>(verb: (tables: Tables) => T): Promise<T> {
    if (this.#isClosing) throw unavailableError()
    return convertLmdbErrors(() => verb(this.tables))
  }

  /** Runs a long read. Each step sees one snapshot of the durable data; writes may become visible between two steps. */
  async readInSteps<T>(verb: (tables: Tables) => Steps<T>, pace: Pace): Promise<T> {
    const steps = verb(this.tables)
    for (;;) {
      const { done, value } = await this.read(() => steps.next())
      if (done === true) return value
      await pace.pause()
    }
  }

  /** Runs a write after all earlier ones. Resolves when its changes and all those that it has read are durable. */
  write<T>(verb: (writes: WriteSet) => T): Promise<T> {
    if (this.#isClosing) return Promise.reject(unavailableError())
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ verb, resolve, reject })
      this.#queueRun ??= this.#runQueue()
    })
  }

  /** Writes rows to LMDB without the journal, because other processes write rows of the same table too. */
  writeShared(putRows: (lmdb: Lmdb) => void): Promise<void> {
    if (this.#isClosing) return Promise.reject(unavailableError())
    return this.#lmdb.write(() => putRows(this.#lmdb))
  }

  /** Runs all waiting writes, then writes all layers to LMDB. If that fails, the next start replays the journal. */
  async close(): Promise<void> {
    if (this.#isClosing) return
    this.#isClosing = true
    await this.#queueRun
    clearTimeout(this.#checkpointTimer)
    const nextJournal = await this.#nextJournal?.catch(() => undefined)
    await nextJournal?.close()
    try {
      await this.#finishCheckpoint()
      await this.#journalFileRemoval
      const first = (nextJournal ?? this.#journal).fileNumber + 1
      await writeCheckpoint(this.#lmdb, this.#activeLayer, { first, isClosed: true }, this.#options.log)
      await removeJournalFilesBefore(this.#folder, first)
    } catch (err) {
      this.#options.log?.warn({ err }, 'the last checkpoint failed; the next start replays the journal')
    }
    await this.#journal.close()
    await this.#lmdb.close()
  }

  /** Returns the layers with durable changes, newest first. The array is reused: each read of a row needs it. */
  #layers(): readonly Layer[] {
    if (this.#layerList[0] !== this.#activeLayer || this.#layerList[1] !== this.#frozenLayer)
      this.#layerList = this.#frozenLayer === undefined ? [this.#activeLayer] : [this.#activeLayer, this.#frozenLayer]
    return this.#layerList
  }

  /** Same as `#layers`, with the layer of the running writes in addition. */
  #layersOfWrites(): readonly Layer[] {
    const list = this.#writeLayerList
    if (list[0] === this.#frameLayer && list[1] === this.#activeLayer && list[2] === this.#frozenLayer) return list
    return (this.#writeLayerList = [this.#frameLayer, ...this.#layers()])
  }

  async #runQueue(): Promise<void> {
    // Goes on in a microtask, so that writes that the running code adds to the queue can share a frame.
    await undefined
    while (this.#queue.length > 0) {
      try {
        await this.#prepareForFrame()
      } catch (error) {
        for (const { reject } of this.#queue.splice(0)) reject(asUnavailable(error))
        continue
      }
      await this.#commitNextFrame()
    }
    this.#queueRun = undefined
  }

  async #commitNextFrame(): Promise<void> {
    const executedWrites: { readonly waiting: WaitingWrite; readonly writes: WriteSet; readonly result: unknown }[] = []
    const untilMs = performance.now() + FRAME_MS_MAX
    do {
      const waiting = this.#queue.shift()!
      const writes = new WriteSet(this.#writeTables)
      try {
        const result = convertLmdbErrors(() => waiting.verb(writes))
        // Before the layer becomes the frame layer, to which later writes are added.
        noteChanges(this.#writeTables, writes.layer)
        if (this.#frameLayer.isEmpty) this.#frameLayer = writes.layer
        else this.#frameLayer.addWriteSet(writes.layer)
        executedWrites.push({ waiting, writes, result })
      } catch (error) {
        waiting.reject(error)
      }
    } while (this.#queue.length > 0 && this.#frameLayer.memoryBytes < FRAME_BYTES_MAX && performance.now() < untilMs)
    const frame = this.#frameLayer
    this.#frameLayer = new Layer()
    if (!frame.isEmpty) {
      try {
        await this.#journal.append(frame)
      } catch (cause) {
        this.#failedJournal = this.#journal
        // The frame may have removed rows that are visible again.
        forgetEmptyRanges(this.#writeTables)
        for (const { waiting } of executedWrites) waiting.reject(asUnavailable(cause))
        return
      }
      this.#checkpointTimer ??= this.#scheduleCheckpoint(this.#options.checkpointIntervalMs)
      this.#activeLayer.addFrame(frame, (name, key) => this.#mustRecordRemoval(name, key))
      noteChanges(this.tables, frame)
      // Not when the next frame is prepared: large writes may wait for the end of this checkpoint.
      if (this.#delayTimer !== undefined && this.#fill >= CHECKPOINT_DELAY_FILL_MAX) this.#startCheckpoint()
    }
    for (const { waiting, writes, result } of executedWrites) {
      writes.runActions()
      waiting.resolve(result as never)
    }
  }

  /**
   * Returns whether the active layer must record the removal of a row, because LMDB or the frozen layer may have the
   * row. If the row is new in the frozen layer, and that still waits for its checkpoint, removes the row there instead.
   */
  #mustRecordRemoval(name: TableName, key: string): boolean {
    const frozenWrite = this.#frozenLayer?.get(name, key)
    if (frozenWrite?.isNew === true && this.#delayTimer !== undefined) {
      this.#frozenLayer!.delete(name, key)
      return false
    }
    if (frozenWrite !== undefined) return true
    try {
      return this.#lmdb.tables[name].doesExist(Buffer.from(key, 'latin1'))
    } catch {
      // The read failed. True is safe: removing a missing row has no effect.
      return true
    }
  }

  /** How full the active layer or its journal file is: 1 if one of them has reached its maximum. */
  get #fill(): number {
    const { layerBytesMax, journalBytesMax } = this.#options
    return Math.max(this.#activeLayer.memoryBytes / layerBytesMax, this.#journal.fileBytes / journalBytesMax)
  }

  /**
   * Prepares the journal for the next frame. If the last write to the journal failed, begins a new file and writes all
   * layers to LMDB; rejects if this fails. Then, if the layer or the file is full, waits for an earlier checkpoint and
   * freezes the layer; rejects if the earlier one fails or no file can be begun. If neither is full but a checkpoint is
   * due, freezes the layer, unless an earlier checkpoint has not succeeded yet.
   */
  async #prepareForFrame(): Promise<void> {
    if (this.#failedJournal === this.#journal) {
      await this.#finishCheckpoint()
      await this.#freezeLayer()
    }
    if (this.#failedJournal !== undefined) {
      await this.#finishCheckpoint()
      this.#failedJournal = undefined
    }
    const isFull = this.#fill >= 1
    if (!isFull && !this.#isCheckpointDue) return
    if (isFull) await this.#finishCheckpoint()
    if (this.#frozenLayer !== undefined) return
    this.#isCheckpointDue = false
    try {
      await this.#freezeLayer()
    } catch (error) {
      // The checkpoint is tried again later. Until the current journal file or layer is full, writes can go on.
      if (isFull) throw error
      this.#checkpointFailures.recordFailure(error)
      this.#checkpointTimer ??= this.#scheduleCheckpoint(CHECKPOINT_RETRY_PAUSE_MS)
      return
    }
    this.#delayTimer = setTimeout(() => this.#startCheckpoint(), this.#options.checkpointDelayMs).unref()
  }

  /**
   * Begins a new journal file and an empty layer. The previous layer becomes `#frozenLayer`. It gets no more changes,
   * except that new rows are removed from it while it waits.
   */
  async #freezeLayer(): Promise<void> {
    let next: Journal
    try {
      next = await this.#createNextJournal()
    } finally {
      this.#nextJournal = undefined
    }
    const previous = this.#journal
    this.#journal = next
    this.#frozenLayer = this.#activeLayer
    this.#activeLayer = new Layer()
    // The next frame schedules the next checkpoint.
    clearTimeout(this.#checkpointTimer)
    this.#checkpointTimer = undefined
    await previous.close()
  }

  #createNextJournal(): Promise<Journal> {
    this.#nextJournal ??= Journal.create(this.#folder, this.#journal.fileNumber + 1, this.#options.openFile)
    return this.#nextJournal
  }

  /**
   * Waits until the frozen layer, if there is one, is in LMDB. Starts its checkpoint if none is running. Rejects if the
   * checkpoint fails.
   */
  async #finishCheckpoint(): Promise<void> {
    if (this.#frozenLayer === undefined) return
    if (this.#runningCheckpoint === undefined) this.#startCheckpoint()
    await this.#runningCheckpoint
    if (this.#frozenLayer !== undefined) throw this.#checkpointError
  }

  #startCheckpoint(): void {
    clearTimeout(this.#delayTimer)
    this.#delayTimer = undefined
    const first = this.#journal.fileNumber
    this.#runningCheckpoint = this.#writeFrozenLayer({ first, isClosed: false })
      .catch((error: unknown) => {
        this.#checkpointError = error
        this.#checkpointFailures.recordFailure(error)
        if (this.#isClosing) return
        clearTimeout(this.#checkpointTimer)
        this.#checkpointTimer = this.#scheduleCheckpoint(CHECKPOINT_RETRY_PAUSE_MS)
      })
      .finally(() => {
        this.#runningCheckpoint = undefined
      })
  }

  async #writeFrozenLayer(journalState: JournalState): Promise<void> {
    await writeCheckpoint(this.#lmdb, this.#frozenLayer!, journalState, this.#options.log)
    this.#frozenLayer = undefined
    // LMDB does not have the removed rows any more. Without these ranges, `noteChanges` has less to do.
    forgetEmptyRanges(this.tables)
    forgetEmptyRanges(this.#writeTables)
    this.#journalFileRemoval = removeJournalFilesBefore(this.#folder, journalState.first).then(
      () => this.#checkpointFailures.recordSuccess(),
      (error: unknown) => this.#checkpointFailures.recordFailure(error),
    )
  }

  #scheduleCheckpoint(delayMs: number): NodeJS.Timeout {
    return setTimeout(() => void this.#makeCheckpointDue(), delayMs).unref()
  }

  /**
   * Adds an empty write to the queue, so that the queue freezes the layer. If there is a frozen layer already, starts
   * its checkpoint unless it is running. The first write after that checkpoint freezes the next layer.
   */
  async #makeCheckpointDue(): Promise<void> {
    const journal = this.#journal
    // Creating a file takes several syncs; writes go on meanwhile. If it fails, `#freezeLayer` fails with its error.
    await this.#createNextJournal().catch(() => undefined)
    // The layer was full and was frozen meanwhile.
    if (this.#journal !== journal) return
    this.#checkpointTimer = undefined
    this.#isCheckpointDue = true
    if (this.#frozenLayer !== undefined && this.#runningCheckpoint === undefined) this.#startCheckpoint()
    this.write(() => undefined).catch(() => undefined)
  }
}

/** Tells the tables that the changes of the layer are visible in them. */
function noteChanges(tables: Tables, layer: Layer): void {
  for (const [name, changes] of layer.tables()) tables[name].noteChanges(changes)
}

function forgetEmptyRanges(tables: Tables): void {
  for (const table of Object.values(tables)) table.forgetEmptyRanges()
}
