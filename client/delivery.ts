import { type Batch, FRAME_BYTES, type List, newBatch, post, type Rejection } from './batch.ts'
import type { Item, Tags } from './items.ts'

export interface TrackerOptions {
  /** The GraphQL endpoint, such as `https://metrics.example/graphql`. */
  readonly url: string
  /** An API key with the scope `ingest` only, because everybody can read the key of a page. */
  readonly key: string
  /** Tags of every point and event. */
  readonly tags?: Tags
  /** How long a point waits for others before it is sent. Default: 5,000. */
  readonly flushMs?: number
  /** Points and events in a batch. Default: 500, which is also the most that a gateway accepts by default. */
  readonly batchMax?: number
  /** Bytes of points and events that are not delivered yet; what is tracked beyond is dropped. Default: 1,000,000. */
  readonly queueBytesMax?: number
  /** Receives why an argument is invalid; nothing was tracked. The default of each callback warns on the console. */
  readonly onError?: (reason: unknown) => void
  /**
   * Receives how many points and events were dropped, and why: `queue_full`, `expired`, `page_closed`, `closed`, an
   * error code of the gateway such as `FORBIDDEN`, or a status such as `HTTP_404`.
   */
  readonly onDrop?: (count: number, code: string, message?: string | undefined) => void
  /** Receives the items of a batch that the gateway rejected. The other items were stored. */
  readonly onReject?: (rejections: readonly Rejection[]) => void
}

/** Browsers allow 64 KiB for the bodies of all unfinished keepalive requests of a page; some is left to others. */
const KEEPALIVE_BYTES_MAX = 62_000
/** Two batches fit into the keepalive limit: one in flight when the page closes, and one more. */
const BATCH_BYTES_MAX = 31_000
const ITEM_BYTES_MAX = BATCH_BYTES_MAX - FRAME_BYTES
/** An item with fewer commas has no list that is too long for the gateway, which would refuse the whole batch. */
const ITEM_PARTS_MAX = 1_000
const FLUSH_CHECK_MS = 20
const BACKOFF_MS = 1_000
const BACKOFF_MS_MAX = 60_000
/** 23 hours. The gateway remembers an idempotency key for 24 hours, so a later retry could count twice. */
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
 * Batches and their way to the gateway: one request at a time, until the page is hidden. Requests use `keepalive`, so
 * they go on when the page is closed. Invariant: an item is in one batch, and a batch is removed when the gateway has
 * stored it or when it was reported as dropped. A closure and not a class, because a minifier shortens variables.
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
  let failures = 0
  let timer: Timer | undefined
  /** After a failure: the time before which the gateway asked for no request. */
  let pausedUntilMs = 0
  let isClosed: boolean | undefined
  let isPageGone: boolean | undefined

  const add = (list: List, build: () => Item): void => {
    try {
      const json = JSON.stringify(build())
      const bytes = encoder.encode(json).length + 1
      if (bytes > ITEM_BYTES_MAX || json.split(',').length > ITEM_PARTS_MAX) throw `too large: ${bytes}`
      if (isClosed) call(onDrop, 1, 'closed')
      else if (bytesOf(batches) + bytes > queueBytesMax) call(onDrop, 1, 'queue_full')
      else {
        let last = batches.at(-1)
        if (!last || last.sentMs || last.bytes + bytes > BATCH_BYTES_MAX || last.count >= batchMax)
          batches.push((last = newBatch()))
        last[list].push(json)
        last.count++
        last.bytes += bytes
        if (isPageGone) leave()
        else proceed()
      }
    } catch (error) {
      call(onError, error)
    }
  }

  /** Sends a full batch at once, and another one after a while. */
  const proceed = (): void => {
    const [oldest] = batches
    if (!oldest) return
    if (batches[1] || oldest.count >= batchMax) pump()
    else if (!timer) setTimer(flushMs)
  }

  /** Sends the oldest batch unless one is in flight, or all that fit into the keepalive limit when `isLeaving`. */
  const pump = (isLeaving?: boolean): void => {
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
      failures = pausedUntilMs = 0
      remove([batch], code, message)
      if (rejections?.[0]) call(onReject, rejections)
      proceed()
    } else {
      pausedUntilMs = Date.now() + retryAfterMs
      setTimer(retryAfterMs + Math.random() * Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** failures++))
    }
  }

  /** With a `code`, the items are reported as dropped. */
  const remove = (removed: readonly Batch[], code?: string, message?: string): void => {
    const count = removed.reduce((sum, batch) => sum + batch.count, 0)
    batches = batches.filter((batch) => !removed.includes(batch))
    if (code && count > 0) call(onDrop, count, code, message)
  }

  const setTimer = (ms: number): void => {
    clearTimeout(timer as unknown as number)
    timer = setTimeout(() => {
      timer = undefined
      pausedUntilMs = 0
      pump()
    }, ms) as unknown as Timer
    timer.unref?.()
  }

  /** Sends batches until none is left, for at most `waitMs`. Only its timers keep a Node process alive. */
  const flush = async (waitMs = Infinity): Promise<void> => {
    const endMs = Date.now() + waitMs
    while (batches[0] && Date.now() < endMs) {
      pump()
      await new Promise((resolve) => setTimeout(resolve, FLUSH_CHECK_MS))
    }
  }

  /** Called when the page is closed, which will receive no more responses: sends what fits and drops the rest. */
  const leave = (): void => {
    isPageGone = true
    pump(true)
    remove(
      batches.filter(({ isSending }) => !isSending),
      'page_closed',
    )
  }

  const onPageEvent = ({ type, persisted }: PageEvent): void => {
    // A persisted page may come back.
    if (type === 'pagehide' && !persisted) leave()
    else if (Date.now() >= pausedUntilMs) pump(true)
  }

  const listen = (method: 'addEventListener' | 'removeEventListener'): void => {
    for (const type of ['pagehide', 'visibilitychange', 'online']) page[method]?.(type, onPageEvent, true)
  }

  const close = async (waitMs = 5_000): Promise<void> => {
    isClosed = true
    pump(true)
    await flush(waitMs)
    remove(batches, 'closed')
    clearTimeout(timer as unknown as number)
    listen('removeEventListener')
  }

  try {
    new Request(url!, init)
  } catch (error) {
    isClosed = true
    call(onError, error)
  }
  listen('addEventListener')
  return { add, flush, close }
}

function bytesOf(batches: readonly Batch[]): number {
  return batches.reduce((sum, batch) => sum + batch.bytes, 0)
}

function call<T extends readonly unknown[]>(callback: ((...args: T) => void) | undefined, ...args: T): void {
  try {
    ;(callback ?? console.warn)(...args)
  } catch {}
}
