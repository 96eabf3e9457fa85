import { GatewayError } from '../model/errors.ts'
import type { Receipt, Store } from '../store/store.ts'
import { within } from './reach.ts'

/**
 * Requests with an idempotency key: served once in 24 h, and answered every time with the first answer. Two things of the store
 * make it so. The markers of the key, made with the points in each partition, let a retry add only what is missing; the receipt,
 * written when all of it is in, holds the answer. A crash between the two costs nothing but the work of the retry.
 *
 * Only an answer of success is kept: a request that was refused may be sent again, corrected or not, under the same key.
 */
export interface IdempotentRequest {
  /** 1 to 255 visible ASCII characters; of a project, whichever way a request came. */
  readonly key: string
  /** SHA-256, in hexadecimal, of what makes two requests the same: the route and the body. */
  readonly requestHash: string
}

export interface Answer {
  readonly status: number
  readonly body: string
}

export interface ReceiptSettings {
  /** How long a request waits for a store that does not answer. */
  readonly storeWaitMsMax: number
  /** For how long receipts are kept that a store may forget; 0: none are. */
  readonly retainedMsMax: number
}

interface Written {
  readonly project: string
  readonly key: string
  readonly receipt: Receipt
  readonly writtenMs: number
}

const KEY = /^[\x21-\x7e]{1,255}$/
const RETRY_PAUSE_MS = 100
/** Receipts kept in case the store forgets them, in characters and as many more as one of them takes besides its body. */
const WRITTEN_CHARS_MAX = 1 << 23
const RECEIPT_CHARS = 512

export class Receipts {
  readonly #store: Store
  readonly #settings: ReceiptSettings
  readonly #now: () => number
  /** Requests under way, by project and key. */
  readonly #underWay = new Map<string, Promise<unknown>>()
  /** The latest receipts, oldest first, of a store that may forget. */
  readonly #written: Written[] = []
  #writtenChars = 0

  constructor(store: Store, settings: ReceiptSettings, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#now = now
  }

  /**
   * Answers the receipt of the key, or has the request served and keeps its answer. `serve` has to be safe to run again: what it
   * stores carries the key. Rejects with `idempotency_conflict` when the key was used for another request, and
   * with what `serve` rejects with.
   */
  async once(project: string, request: IdempotentRequest, serve: () => Promise<Answer>): Promise<Answer> {
    const { key } = request
    if (!KEY.test(key)) {
      throw new GatewayError('invalid_body', 'an idempotency key must have 1 to 255 visible ASCII characters')
    }
    const id = JSON.stringify([project, key])
    for (;;) {
      const earlier = this.#underWay.get(id)
      if (earlier === undefined) break
      await earlier.catch(() => {})
    }
    const serving = this.#serve(project, request, serve)
    this.#underWay.set(id, serving)
    try {
      return await serving
    } finally {
      this.#underWay.delete(id)
    }
  }

  /** Gives the latest receipts to a store that may have forgotten them. */
  async writeAgain(): Promise<void> {
    this.#letGo()
    for (const { project, key, receipt, writtenMs } of [...this.#written]) {
      await this.#store.writeReceipt(project, key, receipt, writtenMs)
    }
  }

  async #serve(
    project: string,
    { key, requestHash }: IdempotentRequest,
    serve: () => Promise<Answer>,
  ): Promise<Answer> {
    const standing = await within(this.#settings.storeWaitMsMax, () =>
      this.#store.readReceipt(project, key, this.#now()),
    )
    if (standing !== undefined) return answerOf(standing, requestHash)
    const answer = await serve()
    if (answer.status < 200 || answer.status > 299) return answer
    const receipt: Receipt = { requestHash, ...answer }
    const first = await this.#insist(() => this.#store.writeReceipt(project, key, receipt, this.#now()))
    if (this.#store.mayForget && this.#settings.retainedMsMax > 0) {
      this.#written.push({ project, key, receipt: first, writtenMs: this.#now() })
      this.#writtenChars += charsOf(first)
      this.#letGo()
    }
    return answerOf(first, requestHash)
  }

  /** Of what is too old or too much. */
  #letGo(): void {
    const fromMs = this.#now() - this.#settings.retainedMsMax
    for (;;) {
      const [oldest] = this.#written
      if (oldest === undefined || (oldest.writtenMs >= fromMs && this.#writtenChars <= WRITTEN_CHARS_MAX)) return
      this.#written.shift()
      this.#writtenChars -= charsOf(oldest.receipt)
    }
  }

  /** The points are in and only the receipt is missing: worth trying for as long as a request may wait. */
  async #insist<T>(ask: () => Promise<T>): Promise<T> {
    let isOver = false
    const timer = setTimeout(() => {
      isOver = true
    }, this.#settings.storeWaitMsMax)
    try {
      for (;;) {
        try {
          return await within(this.#settings.storeWaitMsMax, ask)
        } catch (cause) {
          if (!(cause instanceof GatewayError && cause.code === 'store_unavailable')) throw cause
          if (isOver) {
            throw new GatewayError('store_unavailable', 'the store did not confirm the request in time', {
              details: { outcome: 'unknown' },
              cause,
            })
          }
          await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS))
        }
      }
    } finally {
      clearTimeout(timer)
    }
  }
}

function charsOf({ body }: Receipt): number {
  return RECEIPT_CHARS + body.length
}

function answerOf({ requestHash, status, body }: Receipt, expected: string): Answer {
  if (requestHash === expected) return { status, body }
  throw new GatewayError('idempotency_conflict', 'the idempotency key was used for another request')
}
