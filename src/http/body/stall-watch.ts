/**
 * Detects request bodies that stop arriving or arrive too slowly: they would occupy the body budget or a connection
 * until the whole request times out (`REQUEST_TIMEOUT_MS`). A body stalls when it grows by less than `PERIOD_BYTES_MIN`
 * in a whole period. The first check after the end of the period finds this.
 */

/** Minimum bytes per period. With the default period of 10 s this is a rate of 0.8 KiB/s. */
const PERIOD_BYTES_MIN = 8 * 1024

/**
 * Number of checks per period. A period is counted in checks and not in time: when this process is too busy to read
 * bodies, its checks are late too, so no body is refused because of that.
 */
const CHECKS_PER_PERIOD = 4

interface WatchedBody {
  readonly receivedBytes: () => number
  readonly onStalled: () => void
  /**
   * Number of bytes that had been received at the start of the current period. A period starts when the watch starts,
   * and again at each check that finds `PERIOD_BYTES_MIN` new bytes.
   */
  bytesAtPeriodStart: number
  /** Number of checks since the start of the current period. */
  checksInPeriod: number
}

/** Watches all bodies with one timer, which runs only while a body is watched. */
export class StallWatch {
  readonly #checkMs: number
  readonly #bodies = new Set<WatchedBody>()
  #timer: NodeJS.Timeout | undefined

  constructor(periodMs: number) {
    this.#checkMs = Math.max(1, periodMs / CHECKS_PER_PERIOD)
  }

  /** Calls `onStalled` once, when the body stalls. Returns a function that ends the watch. */
  watch(receivedBytes: () => number, onStalled: () => void): () => void {
    const body: WatchedBody = { receivedBytes, onStalled, bytesAtPeriodStart: receivedBytes(), checksInPeriod: 0 }
    this.#bodies.add(body)
    this.#timer ??= setInterval(() => this.#check(), this.#checkMs).unref()
    return () => this.#unwatch(body)
  }

  #check(): void {
    for (const body of this.#bodies) {
      const bytes = body.receivedBytes()
      if (bytes - body.bytesAtPeriodStart >= PERIOD_BYTES_MIN) {
        body.bytesAtPeriodStart = bytes
        body.checksInPeriod = 0
      } else if (++body.checksInPeriod > CHECKS_PER_PERIOD) {
        this.#unwatch(body)
        body.onStalled()
      }
    }
  }

  #unwatch(body: WatchedBody): void {
    this.#bodies.delete(body)
    if (this.#bodies.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
