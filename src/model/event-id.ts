import { createHash } from 'node:crypto'

/**
 * Generates ids of events: 128 bits in 26 characters of Crockford's base 32, written like a ULID
 * (https://github.com/ulid/spec). The bits are 48 bits of the current time in milliseconds, 48 random bits, and a
 * counter of 32 bits. When the time increases, the random bits are replaced and the counter starts at a random number.
 * So the ids of one generator increase: its events with the same event time are listed in reverse order of arrival.
 */
export class EventIdGenerator {
  readonly #now: () => number
  readonly #randomBytes: (length: number) => Uint8Array
  readonly #bytes = new Uint8Array(16)
  readonly #view = new DataView(this.#bytes.buffer)
  #lastMs = -1

  constructor(now: () => number, randomBytes: (length: number) => Uint8Array) {
    this.#now = now
    this.#randomBytes = randomBytes
  }

  next(): string {
    const view = this.#view
    const nowMs = this.#now()
    // The time in the id never decreases. After the clock was set back, only the counter increases.
    if (nowMs > this.#lastMs) {
      this.#lastMs = nowMs
      this.#bytes.set(this.#randomBytes(10), 6)
      view.setUint16(0, Math.floor(nowMs / TWO_32))
      view.setUint32(2, nowMs % TWO_32)
      // The highest bit of the random counter is cleared, so that at least two billion ids can have the same time.
      view.setUint32(12, view.getUint32(12) >>> 1)
    } else view.setUint32(12, view.getUint32(12) + 1)
    return encodeBase32(view)
  }
}

/**
 * Returns the id of the event with this index in a request with an idempotency key. `acceptedMs` is the time of the
 * commit that stored the request's events in the partition of this event. The store keeps this time in a marker, so
 * every retry gets the same id, on any gateway. If the key is used again after the marker has expired, its events get
 * other ids.
 */
export function keyedEventId(project: string, key: string, acceptedMs: number, index: number): string {
  const view = new DataView(new ArrayBuffer(16))
  const digest = createHash('sha256').update(`${project.length}:${project}${acceptedMs}:${key}`).digest()
  for (let i = 0; i < 12; i++) view.setUint8(i, digest[i]!)
  view.setUint32(12, index)
  return encodeBase32(view)
}

const TWO_32 = 2 ** 32
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** Encodes 128 bits as 26 digits of 5 bits, of which the first has only 3 bits. The last digit is computed first. */
function encodeBase32(view: DataView): string {
  let text = ''
  let pendingBitCount = 0
  let pendingBits = 0
  for (let i = 15; i >= 0; i--) {
    pendingBits |= view.getUint8(i) << pendingBitCount
    for (pendingBitCount += 8; pendingBitCount >= 5; pendingBitCount -= 5) {
      text = DIGITS[pendingBits & 31]! + text
      pendingBits >>>= 5
    }
  }
  return DIGITS[pendingBits]! + text
}
