import { createHash } from 'node:crypto'

/**
 * Ids of events: 128 bits in 26 characters of Crockford's base 32, as ULID spells them (https://github.com/ulid/spec). Those of one
 * gateway grow: milliseconds, 48 random bits, and a counter that begins anew at random each millisecond, so that events of one
 * time are listed in the order they came.
 */
export class EventIds {
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
    // Also when the clock was set back: the ids grow all the same.
    if (nowMs > this.#lastMs) {
      this.#lastMs = nowMs
      this.#bytes.set(this.#randomBytes(10), 6)
      view.setUint16(0, Math.floor(nowMs / U32))
      view.setUint32(2, nowMs % U32)
      // There is room for two billion events in this millisecond.
      view.setUint32(12, view.getUint32(12) >>> 1)
    } else view.setUint32(12, view.getUint32(12) + 1)
    return encodeBase32(view)
  }
}

/**
 * The id of an event of a request with an idempotency key: the same for every retry, whichever gateway it meets, and another
 * when the key is used again after its day. `acceptedMs`: the time of the marker that the store made for the key.
 */
export function keyedEventId(project: string, key: string, acceptedMs: number, index: number): string {
  const view = new DataView(new ArrayBuffer(16))
  const digest = createHash('sha256').update(`${project.length}:${project}${acceptedMs}:${key}`).digest()
  for (let i = 0; i < 12; i++) view.setUint8(i, digest[i]!)
  view.setUint32(12, index)
  return encodeBase32(view)
}

const U32 = 2 ** 32
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** From the end: 26 digits of 5 bits hold 128 bits and two zeros before them. */
function encodeBase32(view: DataView): string {
  let text = ''
  let bits = 0
  let held = 0
  for (let i = 15; i >= 0; i--) {
    held |= view.getUint8(i) << bits
    for (bits += 8; bits >= 5; bits -= 5) {
      text = DIGITS[held & 31]! + text
      held >>>= 5
    }
  }
  return DIGITS[held]! + text
}
