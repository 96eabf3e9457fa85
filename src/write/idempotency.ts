import { GatewayError } from '../model/errors.ts'
import { withTimeout } from '../model/with-timeout.ts'
import type { Receipt } from '../store/idempotency-keys.ts'
import type { Store } from '../store/store.ts'
import { type RetainedReceiptSettings, RetainedReceipts } from './recover/retained-receipts.ts'
import { eventsMarker } from './round/encode-round.ts'

/**
 * Requests with an idempotency key: each is served once in 24 h, and a retry gets the first response. For each key, the
 * store keeps markers and a receipt. A marker is written together with the points of a partition, so a retry adds only
 * the points that are missing. The receipt has the response. It is written after all points are stored: if the gateway
 * crashes before, a retry repeats the work but counts nothing twice.
 *
 * Only successful responses are kept: a refused request may be sent again with the same key, corrected or not.
 */
export interface IdempotentRequest {
  /** 1 to 255 visible ASCII characters. Keys are unique per project, across all APIs. */
  readonly key: string
  /** SHA-256 of route and body, in hexadecimal. Two requests are the same if their hashes are equal. */
  readonly requestHash: string
}

export interface SavedResponse {
  readonly status: number
  readonly body: string
}

interface IdempotencySettings extends RetainedReceiptSettings {
  /** Maximum time that a request waits for a store that does not respond. */
  readonly storeWaitMsMax: number
}

const VALID_KEY = /^[\x21-\x7e]{1,255}$/
const RETRY_PAUSE_MS = 100

export class Idempotency {
  readonly #store: Store
  readonly #settings: IdempotencySettings
  readonly #now: () => number
  /** Requests in progress, by project and key. */
  readonly #inProgress = new Map<string, Promise<unknown>>()
  readonly #retainedReceipts: RetainedReceipts

  constructor(store: Store, settings: IdempotencySettings, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#now = now
    this.#retainedReceipts = new RetainedReceipts(store, settings, now)
  }

  /** Number of receipts that are kept for a replay. */
  get retainedReceiptCount(): number {
    return this.#retainedReceipts.size
  }

  /**
   * Returns the saved response of the key. If there is none, runs `serve` and saves its response. `serve` must pass the
   * key to the writer together with its points and events, so that it is safe to repeat. Throws `idempotency_conflict`
   * if the key was used for another request, and rethrows the errors of `serve`.
   */
  async serveOnce(
    project: string,
    request: IdempotentRequest,
    serve: () => Promise<SavedResponse>,
  ): Promise<SavedResponse> {
    const { key } = request
    if (!VALID_KEY.test(key)) {
      throw new GatewayError('invalid_body', 'an idempotency key must have 1 to 255 visible ASCII characters')
    }
    const id = JSON.stringify([project, key])
    for (;;) {
      const earlier = this.#inProgress.get(id)
      if (earlier === undefined) break
      await earlier.catch(() => {})
    }
    const serving = this.#serve(project, request, serve)
    this.#inProgress.set(id, serving)
    try {
      return await serving
    } finally {
      this.#inProgress.delete(id)
    }
  }

  /**
   * Returns the time in UNIX milliseconds at which the store first accepted the events of the request with this key.
   * Retries for `storeWaitMsMax`, also if the marker is missing: the store may have lost it, and a replay restores it.
   */
  readAcceptedMs(project: string, key: string, partition: number): Promise<number> {
    return this.#retry(async () => {
      const acceptedMs = await this.#store.readMarker(partition, eventsMarker({ project, key }))
      if (acceptedMs === undefined) {
        throw new GatewayError('store_unavailable', 'the store has no marker of the request')
      }
      return acceptedMs
    })
  }

  /** Writes the retained receipts again, after the store lost writes. */
  replayReceipts(): Promise<void> {
    return this.#retainedReceipts.replay()
  }

  close(): void {
    this.#retainedReceipts.close()
  }

  async #serve(
    project: string,
    { key, requestHash }: IdempotentRequest,
    serve: () => Promise<SavedResponse>,
  ): Promise<SavedResponse> {
    const { storeWaitMsMax } = this.#settings
    const stored = await withTimeout(storeWaitMsMax, () => this.#store.readReceipt(project, key, this.#now()))
    if (stored !== undefined) return responseOf(stored, requestHash)
    // The store may have lost the receipt since the last check for lost receipts.
    const retained = this.#retainedReceipts.find(project, key)
    if (retained !== undefined) return responseOf(await this.#writeReceipt(project, key, retained), requestHash)
    const response = await serve()
    if (response.status < 200 || response.status > 299) return response
    return responseOf(await this.#writeReceipt(project, key, { requestHash, ...response }), requestHash)
  }

  /** Stores the receipt unless the key has one. Returns the stored receipt. */
  async #writeReceipt(project: string, key: string, receipt: Receipt): Promise<Receipt> {
    const first = await this.#retry(() => this.#store.writeReceipt(project, key, receipt, this.#now()))
    this.#retainedReceipts.add(project, key, first)
    return first
  }

  /**
   * Retries a call for `storeWaitMsMax` while the store is unavailable, because the points of the request are stored
   * already.
   */
  async #retry<T>(call: () => Promise<T>): Promise<T> {
    let isOver = false
    const timer = setTimeout(() => {
      isOver = true
    }, this.#settings.storeWaitMsMax)
    try {
      for (;;) {
        try {
          return await withTimeout(this.#settings.storeWaitMsMax, call)
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

function responseOf({ requestHash, status, body }: Receipt, expected: string): SavedResponse {
  if (requestHash === expected) return { status, body }
  throw new GatewayError('idempotency_conflict', 'the idempotency key was used for another request')
}
