import { GatewayError } from '../model/errors.ts'
import { within } from '../model/within.ts'
import type { Receipt } from '../store/receipts.ts'
import type { Store } from '../store/store.ts'
import { type RetainedReceiptSettings, RetainedReceipts } from './recover/retained-receipts.ts'
import { eventsMarker } from './round/round.ts'

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

export interface ReceiptSettings extends RetainedReceiptSettings {
  /** How long a request waits for a store that does not answer. */
  readonly storeWaitMsMax: number
}

const KEY = /^[\x21-\x7e]{1,255}$/
const RETRY_PAUSE_MS = 100

export class Receipts {
  readonly #store: Store
  readonly #settings: ReceiptSettings
  readonly #now: () => number
  /** Requests under way, by project and key. */
  readonly #underWay = new Map<string, Promise<unknown>>()
  readonly #retained: RetainedReceipts

  constructor(store: Store, settings: ReceiptSettings, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#now = now
    this.#retained = new RetainedReceipts(store, settings, now)
  }

  /** How many receipts are kept in case the store forgets them. */
  get retainedReceipts(): number {
    return this.#retained.size
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

  /**
   * When the store accepted the events of a request, or of the first attempt that it is a retry of. Retries for as long as a
   * request may wait, also where the marker is missing: the store may have lost it, and is given it again.
   */
  acceptedMs(project: string, key: string, partition: number): Promise<number> {
    return this.#insist(async () => {
      const madeMs = await this.#store.readMarker(partition, eventsMarker({ project, key }))
      if (madeMs === undefined) throw new GatewayError('store_unavailable', 'the store has no marker of the request')
      return madeMs
    })
  }

  /** Gives the latest receipts to a store that may have forgotten them. */
  writeAgain(): Promise<void> {
    return this.#retained.writeAgain()
  }

  close(): void {
    this.#retained.close()
  }

  async #serve(
    project: string,
    { key, requestHash }: IdempotentRequest,
    serve: () => Promise<Answer>,
  ): Promise<Answer> {
    const { storeWaitMsMax } = this.#settings
    const standing = await within(storeWaitMsMax, () => this.#store.readReceipt(project, key, this.#now()))
    if (standing !== undefined) return answerOf(standing, requestHash)
    // The store may have gone back without anybody having noticed.
    const retained = this.#retained.find(project, key)
    if (retained !== undefined) return answerOf(await this.#write(project, key, retained), requestHash)
    const answer = await serve()
    if (answer.status < 200 || answer.status > 299) return answer
    return answerOf(await this.#write(project, key, { requestHash, ...answer }), requestHash)
  }

  /** Answers the receipt that stands. */
  async #write(project: string, key: string, receipt: Receipt): Promise<Receipt> {
    const first = await this.#insist(() => this.#store.writeReceipt(project, key, receipt, this.#now()))
    this.#retained.keep(project, key, first)
    return first
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

function answerOf({ requestHash, status, body }: Receipt, expected: string): Answer {
  if (requestHash === expected) return { status, body }
  throw new GatewayError('idempotency_conflict', 'the idempotency key was used for another request')
}
