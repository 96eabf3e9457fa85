import type { Receipt } from '../../store/idempotency-keys.ts'
import type { Store } from '../../store/store.ts'

/**
 * Acknowledged receipts that the store may still lose. A receipt may be on another server than its points, so commit
 * numbers do not reveal its loss. Instead, every check reads the newest receipt of each project. If it is missing, all
 * receipts of the project are written again.
 *
 * Bounded in time and in characters: the oldest receipts are evicted first.
 */
export class RetainedReceipts {
  readonly #store: Store
  readonly #settings: RetainedReceiptSettings
  readonly #now: () => number
  /** By project and key, oldest first. */
  readonly #receipts = new Map<string, RetainedReceipt>()
  #chars = 0
  #checks: NodeJS.Timeout | undefined
  #isChecking = false

  constructor(store: Store, settings: RetainedReceiptSettings, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#now = now
  }

  get size(): number {
    return this.#receipts.size
  }

  keep(project: string, key: string, receipt: Receipt): void {
    const { retainedMsMax, retainedLookMs } = this.#settings
    if (!this.#store.mayLoseWrites || retainedMsMax === 0) return
    const id = idOf(project, key)
    this.#drop(id)
    this.#receipts.set(id, { project, key, receipt, writtenMs: this.#now() })
    this.#chars += charsOf(receipt)
    this.#evict()
    if (this.#receipts.size > 0) this.#checks ??= setInterval(() => void this.#check(), retainedLookMs).unref()
  }

  find(project: string, key: string): Receipt | undefined {
    this.#evict()
    return this.#receipts.get(idOf(project, key))?.receipt
  }

  /** Writes all receipts again, or those of one project. Idempotent: a receipt that the store has stays as it is. */
  async replay(project?: string): Promise<void> {
    this.#evict()
    for (const retained of [...this.#receipts.values()]) {
      if (project !== undefined && retained.project !== project) continue
      await this.#store.writeReceipt(retained.project, retained.key, retained.receipt, retained.writtenMs)
    }
  }

  close(): void {
    clearInterval(this.#checks)
    this.#checks = undefined
  }

  /** Looks for lost receipts. A failed read is repeated on the next check. */
  async #check(): Promise<void> {
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
    if (this.#receipts.size === 0) this.close()
  }

  /** Removes receipts that are too old, then the oldest ones while the characters exceed the bound. */
  #evict(): void {
    const fromMs = this.#now() - this.#settings.retainedMsMax
    for (const [id, { writtenMs }] of this.#receipts) {
      if (writtenMs >= fromMs && this.#chars <= CHARS_MAX) return
      this.#drop(id)
    }
  }

  #drop(id: string): void {
    const retained = this.#receipts.get(id)
    if (retained === undefined) return
    this.#receipts.delete(id)
    this.#chars -= charsOf(retained.receipt)
  }
}

export interface RetainedReceiptSettings {
  /** How long receipts are kept for a replay. 0: none is kept. */
  readonly retainedMsMax: number
  /** Pause between two checks for lost receipts. */
  readonly retainedLookMs: number
}

interface RetainedReceipt {
  readonly project: string
  readonly key: string
  readonly receipt: Receipt
  readonly writtenMs: number
}

/** Maximum characters of all retained receipts. `RECEIPT_CHARS`: counted per receipt, in addition to its body. */
const CHARS_MAX = 1 << 23
const RECEIPT_CHARS = 512

function charsOf({ body }: Receipt): number {
  return RECEIPT_CHARS + body.length
}

function idOf(project: string, key: string): string {
  return JSON.stringify([project, key])
}
