import { type Batch, EMPTY_BODY_BYTES, type ListName, newBatch, post, type Rejection } from './batch.ts'
import type { Item, Tags } from './items.ts'

export interface TrackerOptions {
  /** The GraphQL endpoint, such as `https://metrics.example/graphql`. */
  readonly url: string
  /** An API key with the scope `ingest` only, because everybody can read the key of a page. */
  readonly key: string
  /** Tags of every point and event. */
  readonly tags?: Tags
  /** How long a point waits for others before it is sent, in milliseconds. Default: 5,000. */
  readonly flushMs?: number
  /** Points and events in a batch. Default: 500, which is also the most that a gateway accepts by default. */
  readonly batchMax?: number
  /** Maximum bytes of requests that are not delivered yet; what is tracked beyond is dropped. Default: 1,000,000. */
  readonly queueBytesMax?: number
  /** Receives why an argument is invalid; nothing was tracked. Without a callback, each kind of report is a warning. */
  readonly onError?: (reason: unknown) => void
  /**
   * Receives how many points and events were dropped, and why: `queue_full`, `expired`, `page_closed`, `closed`, an
   * error code of the gateway such as `FORBIDDEN`, or a status such as `HTTP_404`.
   */
  readonly onDrop?: (count: number, code: string, message?: string | undefined) => void
  /** Receives the items of a batch that the gateway rejected. The other items were stored. */
  readonly onReject?: (rejections: readonly Rejection[]) => void
}

/** Maximum bytes in flight. Browsers allow 64 KiB for all keepalive requests of a page; other scripts may need some. */
const KEEPALIVE_BYTES_MAX = 62_000
/** Two batches fit into the keepalive limit: one in flight when the page closes, and one more. */
const BATCH_BYTES_MAX = 31_000
const ITEM_BYTES_MAX = BATCH_BYTES_MAX - EMPTY_BODY_BYTES
/**
 * Maximum number of parts into which commas divide the JSON text of an item. The gateway refuses a whole batch if a
 * list in it has more than 1,000 items, and a list has no more items than its JSON has such parts.
 */
const ITEM_PARTS_MAX = 1_000
const FLUSH_CHECK_MS = 20
const BACKOFF_MS_MIN = 1_000
const BACKOFF_MS_MAX = 60_000
/** 23 hours. The gateway remembers an idempotency key for 24 hours; a retry after that could count twice. */
const RETRY_MS_MAX = 82_800_000

const encoder = new TextEncoder()
const page = globalThis as unknown as PageTarget

interface PageEvent {
  readonly type: string
  readonly persisted?: boolean
}

/** The window of a page; in Node it has no events. */
interface PageTarget {
  addEventListener?(type: string, listener: (event: PageEvent) => void, capture: boolean): void
  removeEventListener?(type: string, listener: (event: PageEvent) => void, capture: boolean): void
}

/** A number in browsers, an object in Node. */
interface Timer {
  unref?(): void
}

/**
 * Creates the queue that sends batches to the gateway: one request at a time, but several when the page is hidden,
 * shown, closed or online again, and in `close`. Requests use `keepalive`, so they continue after the page is closed.
 * Invariant: an item is in exactly one batch. A batch is removed when its items are stored or reported through a
 * callback. A closure and not a class, because minifiers shorten the names of variables but not of properties.
 */
export function createDelivery({
  url,
  key,
  flushMs = 5_000,
  batchMax = 500,
  queueBytesMax = 1_000_000,
  onError,
  onDrop,
  onReject,
}: Partial<TrackerOptions>) {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
  const init: RequestInit = { method: 'POST', headers, keepalive: true }
  /** Oldest first. */
  let batches: Batch[] = []
  /** Number of consecutive failed requests. */
  let failureCount = 0
  let timer: Timer | undefined
  /**
   * Set by a failure until the next retry: the time until which the gateway asked to wait. Only `close` and the end of
   * the page send before it. 0: no pause.
   */
  let pausedUntilMs = 0
  let isClosed: boolean | undefined
  let isPageClosed: boolean | undefined

  const add = (list: ListName, build: () => Item): void => {
    try {
      const json = JSON.stringify(build())
      const bytes = encoder.encode(json).length + 1
      if (bytes > ITEM_BYTES_MAX || json.split(',').length > ITEM_PARTS_MAX) throw `too large: ${bytes}`
      if (isClosed) callSafely(onDrop, 1, 'closed')
      else if (bytesOf(batches) + bytes > queueBytesMax) callSafely(onDrop, 1, 'queue_full')
      else {
        let newest = batches.at(-1)
        if (!newest || newest.sentMs || newest.bytes + bytes > BATCH_BYTES_MAX || newest.count >= batchMax)
          batches.push((newest = newBatch()))
        newest[list].push(json)
        newest.count++
        newest.bytes += bytes
        if (isPageClosed) sendOrDropAll()
        else sendFullOrSchedule()
      }
    } catch (error) {
      callSafely(onError, error)
    }
  }

  /** Sends a full batch immediately, and any other batch after `flushMs`. */
  const sendFullOrSchedule = (): void => {
    const [oldest] = batches
    if (!oldest) return
    if (batches[1] || oldest.count >= batchMax) sendBatches()
    else if (!timer) setTimer(flushMs)
  }

  /**
   * Sends the oldest batch, unless a request is in flight or a retry is pending. With `isLeaving`, sends all batches
   * that fit into the keepalive limit. Drops batches that are too old.
   */
  const sendBatches = (isLeaving?: boolean): void => {
    for (const batch of batches) {
      const sendingBytes = bytesOf(batches.filter(({ isSending }) => isSending))
      if (!isLeaving && (pausedUntilMs || sendingBytes > 0)) return
      if (batch.isSending || sendingBytes + batch.bytes > KEEPALIVE_BYTES_MAX) continue
      if (Date.now() - batch.sentMs! > RETRY_MS_MAX) remove([batch], 'expired')
      else send(batch)
    }
  }

  const send = async (batch: Batch): Promise<void> => {
    batch.isSending = true
    batch.sentMs ??= Date.now()
    const [retryAfterMs, rejections, code, message] = await post(url!, init, batch)
    batch.isSending = false
    if (!batches.includes(batch)) return
    if (rejections || code) {
      failureCount = pausedUntilMs = 0
      remove([batch], code, message)
      if (rejections?.[0]) callSafely(onReject, rejections)
      sendFullOrSchedule()
    } else {
      pausedUntilMs = Date.now() + retryAfterMs
      setTimer(retryAfterMs + Math.random() * Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** failureCount++))
    }
  }

  /** Removes batches from the queue. With a `code`, their items are reported as dropped. */
  const remove = (removed: readonly Batch[], code?: string, message?: string): void => {
    const count = removed.reduce((sum, batch) => sum + batch.count, 0)
    batches = batches.filter((batch) => !removed.includes(batch))
    if (code && count > 0) callSafely(onDrop, count, code, message)
  }

  const setTimer = (ms: number): void => {
    clearTimeout(timer as unknown as number)
    timer = setTimeout(() => {
      timer = undefined
      pausedUntilMs = 0
      sendBatches()
    }, ms) as unknown as Timer
    timer.unref?.()
  }

  /** Sends batches until none is left, for at most `waitMs`. Unlike retry timers, it keeps a Node process alive. */
  const flush = async (waitMs = Infinity): Promise<void> => {
    const endMs = Date.now() + waitMs
    while (batches[0] && Date.now() < endMs) {
      sendBatches()
      await new Promise((resolve) => setTimeout(resolve, FLUSH_CHECK_MS))
    }
  }

  /** Called when the page is closed and can no longer receive responses: sends what fits, drops the other batches. */
  const sendOrDropAll = (): void => {
    isPageClosed = true
    sendBatches(true)
    remove(
      batches.filter(({ isSending }) => !isSending),
      'page_closed',
    )
  }

  const onPageEvent = ({ type, persisted }: PageEvent): void => {
    // A persisted page is kept in the back/forward cache and may be shown again.
    if (type === 'pagehide' && !persisted) sendOrDropAll()
    else if (Date.now() >= pausedUntilMs) sendBatches(true)
  }

  const listen = (method: 'addEventListener' | 'removeEventListener'): void => {
    for (const type of ['pagehide', 'visibilitychange', 'online']) page[method]?.(type, onPageEvent, true)
  }

  const close = async (waitMs = 5_000): Promise<void> => {
    isClosed = true
    sendBatches(true)
    await flush(waitMs)
    remove(batches, 'closed')
    clearTimeout(timer as unknown as number)
    listen('removeEventListener')
  }

  try {
    new Request(url!, init)
  } catch (error) {
    isClosed = true
    callSafely(onError, error)
  }
  listen('addEventListener')
  return { add, flush, close }
}

function bytesOf(batches: readonly Batch[]): number {
  return batches.reduce((sum, batch) => sum + batch.bytes, 0)
}

function callSafely<T extends readonly unknown[]>(callback: ((...args: T) => void) | undefined, ...args: T): void {
  try {
    ;(callback ?? console.warn)(...args)
  } catch {}
}
