import type { Receipt } from '../../store/idempotency-keys.ts'
import type { Store } from '../../store/store.ts'

/**
 * Stored receipts (the responses of requests with an idempotency key) that the store may still lose. A receipt
 * may be on another server than its points, so commit numbers do not reveal its loss. Instead, every check reads the
 * newest retained receipt of each project. If it is missing, all retained receipts of the project are written again.
 *
 * Age and total length of the receipts are bounded: the oldest receipts are evicted first.
 */
export class RetainedReceipts {
  readonly #store: Store
  readonly #settings: RetainedReceiptSettings
  readonly #now: () => number
  /** Receipts by project and idempotency key, oldest first. */
  readonly #receipts = new Map<string, RetainedReceipt>()
  #totalChars = 0
  #checkTimer: NodeJS.Timeout | undefined
  #isChecking = false
  #isClosed = false

  constructor(store: Store, settings: RetainedReceiptSettings, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#now = now
  }

  /** Number of retained receipts. */
  get size(): number {
    return this.#receipts.size
  }

  /** Keeps a stored receipt for a replay, if the store may lose writes. */
  add(project: string, key: string, receipt: Receipt): void {
    const { retainedMsMax, lossCheckIntervalMs } = this.#settings
    if (!this.#store.mayLoseWrites || retainedMsMax === 0) return
    const id = idOf(project, key)
    this.#drop(id)
    this.#receipts.set(id, { project, key, receipt, writtenMs: this.#now() })
    this.#totalChars += charsOf(receipt)
    this.#evict()
    if (this.#receipts.size > 0 && !this.#isClosed)
      this.#checkTimer ??= setInterval(() => void this.#checkForLosses(), lossCheckIntervalMs).unref()
  }

  /** Returns the retained receipt of a key; undefined if none is retained. */
  find(project: string, key: string): Receipt | undefined {
    this.#evict()
    return this.#receipts.get(idOf(project, key))?.receipt
  }

  /** Writes all retained receipts again, or those of one project. A receipt that the store has stays as it is. */
  async replay(project?: string): Promise<void> {
    this.#evict()
    for (const retained of [...this.#receipts.values()]) {
      if (project !== undefined && retained.project !== project) continue
      await this.#store.writeReceipt(retained.project, retained.key, retained.receipt, retained.writtenMs)
    }
  }

  /** Ends the checks for good. Receipts of requests that are still in progress are kept, but not checked. */
  close(): void {
    this.#isClosed = true
    this.#stopChecks()
  }

  #stopChecks(): void {
    clearInterval(this.#checkTimer)
    this.#checkTimer = undefined
  }

  /**
   * Checks whether the store has lost receipts, and writes lost ones again. After a failure, the next check repeats it.
   */
  async #checkForLosses(): Promise<void> {
    if (this.#isChecking) return
    this.#isChecking = true
    this.#evict()
    const newest = new Map<string, RetainedReceipt>()
    for (const retained of this.#receipts.values()) newest.set(retained.project, retained)
    const reads = [...newest.values()].map(async ({ project, key }) => {
      const stored = await this.#store.readReceipt(project, key, this.#now())
      if (stored === undefined) await this.replay(project)
    })
    await Promise.allSettled(reads)
    this.#isChecking = false
    if (this.#receipts.size === 0) this.#stopChecks()
  }

  /**
   * Removes receipts that are too old, then the oldest receipts until the others have at most `RETAINED_CHARS_MAX`
   * characters.
   */
  #evict(): void {
    const fromMs = this.#now() - this.#settings.retainedMsMax
    for (const [id, { writtenMs }] of this.#receipts) {
      if (writtenMs >= fromMs && this.#totalChars <= RETAINED_CHARS_MAX) return
      this.#drop(id)
    }
  }

  #drop(id: string): void {
    const retained = this.#receipts.get(id)
    if (retained === undefined) return
    this.#receipts.delete(id)
    this.#totalChars -= charsOf(retained.receipt)
  }
}

export interface RetainedReceiptSettings {
  /** How long receipts are kept for a replay. 0: none is kept. */
  readonly retainedMsMax: number
  /** Interval between two checks for lost receipts. */
  readonly lossCheckIntervalMs: number
}

interface RetainedReceipt {
  readonly project: string
  readonly key: string
  readonly receipt: Receipt
  readonly writtenMs: number
}

/** Maximum number of characters of all retained receipts. */
const RETAINED_CHARS_MAX = 1 << 23
/** Characters that a receipt counts in addition to its body. */
const RECEIPT_OVERHEAD_CHARS = 512

function charsOf({ body }: Receipt): number {
  return RECEIPT_OVERHEAD_CHARS + body.length
}

function idOf(project: string, key: string): string {
  return JSON.stringify([project, key])
}
