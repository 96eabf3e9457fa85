import type { Receipt } from '../../store/receipts.ts'
import type { Store } from '../../store/store.ts'

/**
 * Receipts that the store has taken and may still forget. They lie elsewhere than the points they are about, so that the node that
 * goes back may have nothing of ours but them: the store is asked for the newest of each project, and one that
 * is missing tells that those before it may be missing too.
 *
 * Bounded in time and in characters: the oldest go first.
 */
export class RetainedReceipts {
  readonly #store: Store
  readonly #settings: RetainedReceiptSettings
  readonly #now: () => number
  /** By project and key, oldest first. */
  readonly #receipts = new Map<string, RetainedReceipt>()
  #chars = 0
  #looks: NodeJS.Timeout | undefined
  #looking = false

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
    this.#letGo()
    if (this.#receipts.size > 0) this.#looks ??= setInterval(() => void this.#look(), retainedLookMs).unref()
  }

  find(project: string, key: string): Receipt | undefined {
    this.#letGo()
    return this.#receipts.get(idOf(project, key))?.receipt
  }

  /** Gives all of them, or those of a project, to a store that may have forgotten them. */
  async writeAgain(project?: string): Promise<void> {
    this.#letGo()
    for (const retained of [...this.#receipts.values()]) {
      if (project !== undefined && retained.project !== project) continue
      await this.#store.writeReceipt(retained.project, retained.key, retained.receipt, retained.writtenMs)
    }
  }

  close(): void {
    clearInterval(this.#looks)
    this.#looks = undefined
  }

  /** Whether the store still has them. What it does not answer now the next look asks again. */
  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    this.#letGo()
    const newest = new Map<string, RetainedReceipt>()
    for (const retained of this.#receipts.values()) newest.set(retained.project, retained)
    const looks = [...newest.values()].map(async ({ project, key }) => {
      const standing = await this.#store.readReceipt(project, key, this.#now())
      if (standing === undefined) await this.writeAgain(project)
    })
    await Promise.allSettled(looks)
    this.#looking = false
    if (this.#receipts.size === 0) this.close()
  }

  /** Of what is too old or too much. */
  #letGo(): void {
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
  /** For how long receipts are kept that a store may forget; 0: none are. */
  readonly retainedMsMax: number
  /** How often the store is asked whether it still has them. */
  readonly retainedLookMs: number
}

interface RetainedReceipt {
  readonly project: string
  readonly key: string
  readonly receipt: Receipt
  readonly writtenMs: number
}

/** In characters, and as many more as one of them takes besides its body. */
const CHARS_MAX = 1 << 23
const RECEIPT_CHARS = 512

function charsOf({ body }: Receipt): number {
  return RECEIPT_CHARS + body.length
}

function idOf(project: string, key: string): string {
  return JSON.stringify([project, key])
}
