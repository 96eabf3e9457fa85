import type { Socket } from 'node:net'
import { GatewayError } from '../../model/errors.ts'

/**
 * Bounds the total bytes of all request bodies that are being received or processed. Without it, many bodies could
 * exceed the memory of the process although each is within the limit of one body. Bytes count when they arrive. The
 * bytes of each client address are bounded too, so that one client cannot use the whole budget.
 */
export class BodyBudget {
  readonly #bytesMax: number
  readonly #addressBytesMax: number
  readonly #bytesByAddress = new Map<string, number>()
  readonly #chargesBySocket = new WeakMap<Socket, Set<BodyCharge>>()
  #heldBytes = 0

  constructor(bytesMax: number, addressBytesMax: number) {
    this.#bytesMax = bytesMax
    this.#addressBytesMax = addressBytesMax
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /**
   * Takes bytes, or gives them back when they are negative, without the share of an address. For small bodies whose
   * release is certain. Throws `overloaded`.
   */
  hold(bytes: number): void {
    if (bytes > 0 && this.#heldBytes + bytes > this.#bytesMax) throw budgetUsedUp()
    this.#heldBytes += bytes
  }

  /** Opens the charge of one request. The end of the connection closes it at the latest. */
  open(address: string, socket: Socket): BodyCharge {
    const charge: BodyCharge = new BodyCharge(
      (bytes) => this.#change(address, bytes),
      () => charges.delete(charge),
    )
    const charges = this.#chargesOf(socket)
    if (socket.destroyed) charge.close()
    else charges.add(charge)
    return charge
  }

  /**
   * Returns the open charges of a socket. The end of the socket closes them, because a response that is queued on a
   * lost connection emits no `close`.
   */
  #chargesOf(socket: Socket): Set<BodyCharge> {
    const known = this.#chargesBySocket.get(socket)
    if (known !== undefined) return known
    const charges = new Set<BodyCharge>()
    this.#chargesBySocket.set(socket, charges)
    socket.once('close', () => {
      for (const charge of charges) charge.close()
    })
    return charges
  }

  /** Throws `overloaded` when an increase exceeds a bound. A decrease never throws. */
  #change(address: string, bytes: number): void {
    const addressBytes = (this.#bytesByAddress.get(address) ?? 0) + bytes
    if (bytes > 0 && this.#heldBytes + bytes > this.#bytesMax) throw budgetUsedUp()
    if (bytes > 0 && addressBytes > this.#addressBytesMax) {
      throw new GatewayError('overloaded', 'too many large requests from this client address are in progress')
    }
    this.#heldBytes += bytes
    if (addressBytes > 0) this.#bytesByAddress.set(address, addressBytes)
    else this.#bytesByAddress.delete(address)
  }
}

function budgetUsedUp(): GatewayError {
  return new GatewayError('overloaded', 'too many large requests are in progress; try again shortly')
}

/** The bytes that one request holds of the budget. */
export class BodyCharge {
  readonly #change: (bytes: number) => void
  readonly #onClose: () => void
  #bytes = 0
  #isClosed = false

  constructor(change: (bytes: number) => void, onClose: () => void) {
    this.#change = change
    this.#onClose = onClose
  }

  /** Throws `overloaded` if the budget is exceeded, or after `close`: later bytes would never be released. */
  take(bytes: number): void {
    if (this.#isClosed) throw new GatewayError('overloaded', 'the request has ended')
    this.#change(bytes)
    this.#bytes += bytes
  }

  release(bytes: number): void {
    if (this.#isClosed) return
    this.#change(-bytes)
    this.#bytes -= bytes
  }

  /** Releases all bytes. Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.release(this.#bytes)
    this.#isClosed = true
    this.#onClose()
  }
}
