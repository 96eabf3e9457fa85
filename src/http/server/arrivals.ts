/** Bytes that a body must grow by in each period. With the default period of 10 s it is a rate of 0.8 KiB/s. */
const PERIOD_BYTES_MIN = 8 * 1024

/** A body is looked at so often in a period. Counting looks instead of time blames no client for a stretch in which this process was busy. */
const LOOKS_PER_PERIOD = 4

interface Arrival {
  readonly arrivedBytes: () => number
  readonly onStalled: () => void
  /** When it last had grown enough. */
  bytes: number
  /** Looks since then. */
  looks: number
}

/** Watches bodies that are being received. One that stops, or only trickles in, would hold its place for as long as it likes. */
export class Arrivals {
  readonly #lookMs: number
  readonly #arrivals = new Set<Arrival>()
  #timer: NodeJS.Timeout | undefined

  constructor(periodMs: number) {
    this.#lookMs = Math.max(1, periodMs / LOOKS_PER_PERIOD)
  }

  /** `onStalled` is called once, when a period has passed without enough bytes. Returns the function that ends the watch. */
  watch(arrivedBytes: () => number, onStalled: () => void): () => void {
    const arrival: Arrival = { arrivedBytes, onStalled, bytes: arrivedBytes(), looks: 0 }
    this.#arrivals.add(arrival)
    this.#timer ??= setInterval(() => this.#look(), this.#lookMs).unref()
    return () => this.#end(arrival)
  }

  #look(): void {
    for (const arrival of this.#arrivals) {
      const bytes = arrival.arrivedBytes()
      if (bytes - arrival.bytes >= PERIOD_BYTES_MIN) {
        arrival.bytes = bytes
        arrival.looks = 0
      } else if (++arrival.looks > LOOKS_PER_PERIOD) {
        this.#end(arrival)
        arrival.onStalled()
      }
    }
  }

  #end(arrival: Arrival): void {
    this.#arrivals.delete(arrival)
    if (this.#arrivals.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
