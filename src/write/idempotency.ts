import { GatewayError } from '../model/errors.ts'
import { withTimeout } from '../model/with-timeout.ts'
import type { Receipt } from '../store/idempotency-keys.ts'
import type { Store } from '../store/store.ts'
import { type RetainedReceiptSettings, RetainedReceipts } from './recover/retained-receipts.ts'
import { eventsMarker } from './round/encode-round.ts'

/**
 * Requests with an idempotency key: within 24 h, the points and events of such a request count once, and a retry gets
 * the first successful response while its receipt is kept. For each key, the store keeps markers and a receipt. The
 * points and events of a request are stored in parts. Each part that could count twice has a marker, so a retry adds
 * only the parts that are missing. The receipt has the response. It is written after all parts are stored: if the
 * gateway crashes before, a retry repeats the work but counts nothing twice.
 *
 * Only responses with a 2xx status are saved: a refused request may be sent again with the same key, corrected or not.
 */
export interface IdempotentRequest {
  /** 1 to 255 visible ASCII characters. All APIs of a project share one namespace of keys. */
  readonly key: string
  /** SHA-256 of method, route and body, or of GraphQL field and input, in hexadecimal. Equal hashes: same request. */
  readonly requestHash: string
}

export interface SavedResponse {
  readonly status: number
  readonly body: string
}

interface IdempotencySettings extends RetainedReceiptSettings {
  /** Maximum time to wait for one call to the store, and the time for which failed calls are retried. */
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
   * Returns the saved response of the key. If there is none, runs `serve` and saves its response if the status is 2xx.
   * This process serves requests with the same key one after another. `serve` must pass the key to the writer
   * together with its points and events, so that it is safe to repeat. Throws `invalid_body` if the key is malformed,
   * and `idempotency_conflict` if the key has the receipt of another request. Rethrows the errors of `serve` and of the
   * store.
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
   * Returns the commit time, in UNIX milliseconds, of the part with the events that a request with this key has in this
   * partition. Retries for `storeWaitMsMax`, also if the marker is missing: the store may have lost it, and a replay
   * restores it.
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

  /** Writes all retained receipts again. Called on `ReplayEvents.writesLost`. */
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

  /** Stores the receipt unless the key has one. Retains the stored receipt for a replay, and returns it. */
  async #writeReceipt(project: string, key: string, receipt: Receipt): Promise<Receipt> {
    const storedReceipt = await this.#retry(() => this.#store.writeReceipt(project, key, receipt, this.#now()))
    this.#retainedReceipts.add(project, key, storedReceipt)
    return storedReceipt
  }

  /**
   * Retries a call for `storeWaitMsMax` while the store is unavailable, because the points and events of the request
   * are already stored: an error would make the client send them again. Then throws `store_unavailable` with the
   * outcome `unknown`.
   */
  async #retry<T>(call: () => Promise<T>): Promise<T> {
    let isTimeOver = false
    const timer = setTimeout(() => {
      isTimeOver = true
    }, this.#settings.storeWaitMsMax)
    try {
      for (;;) {
        try {
          return await withTimeout(this.#settings.storeWaitMsMax, call)
        } catch (cause) {
          if (!(cause instanceof GatewayError && cause.code === 'store_unavailable')) throw cause
          if (isTimeOver) {
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

/** Returns the response of a receipt. Throws `idempotency_conflict` if another request has left the receipt. */
function responseOf({ requestHash, status, body }: Receipt, expectedHash: string): SavedResponse {
  if (requestHash === expectedHash) return { status, body }
  throw new GatewayError('idempotency_conflict', 'the idempotency key was used for another request')
}
