import type { Socket } from 'node:net'
import { GatewayError } from '../../model/errors.ts'

/**
 * Bounds the bytes of all request bodies that are being received or worked on: each body may be within its own limit while their
 * sum is more memory than there is. Bytes count from their arrival. One client address gets a share, so that no client can take
 * the room of all others.
 */
export class BodyBudget {
  readonly #bytesMax: number
  readonly #addressBytesMax: number
  readonly #byAddress = new Map<string, number>()
  readonly #bySocket = new WeakMap<Socket, Set<BodyCharge>>()
  #heldBytes = 0

  constructor(bytesMax: number, addressBytesMax: number) {
    this.#bytesMax = bytesMax
    this.#addressBytesMax = addressBytesMax
  }

  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Opens an account for one request. It is closed with the socket, if not before. */
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

  /** A response that waits for its turn on a pipelined connection emits no `close` when the connection is lost; the socket does. */
  #chargesOf(socket: Socket): Set<BodyCharge> {
    const known = this.#bySocket.get(socket)
    if (known !== undefined) return known
    const charges = new Set<BodyCharge>()
    this.#bySocket.set(socket, charges)
    socket.once('close', () => {
      for (const charge of charges) charge.close()
    })
    return charges
  }

  /** Throws `overloaded` where there is no room for more; giving bytes back never throws. */
  #change(address: string, bytes: number): void {
    const ofAddress = (this.#byAddress.get(address) ?? 0) + bytes
    if (bytes > 0 && this.#heldBytes + bytes > this.#bytesMax) {
      throw new GatewayError('overloaded', 'too many large requests are being received; try again shortly')
    }
    if (bytes > 0 && ofAddress > this.#addressBytesMax) {
      throw new GatewayError('overloaded', 'too many large requests are being received from this client address')
    }
    this.#heldBytes += bytes
    if (ofAddress > 0) this.#byAddress.set(address, ofAddress)
    else this.#byAddress.delete(address)
  }
}

/** What one request holds of the budget. */
export class BodyCharge {
  readonly #change: (bytes: number) => void
  readonly #onClose: () => void
  #bytes = 0
  #isClosed = false

  constructor(change: (bytes: number) => void, onClose: () => void) {
    this.#change = change
    this.#onClose = onClose
  }

  /** Throws `overloaded`, also once it is closed: bytes taken then would never be given back. */
  take(bytes: number): void {
    if (this.#isClosed) throw new GatewayError('overloaded', 'the request has ended')
    this.#change(bytes)
    this.#bytes += bytes
  }

  give(bytes: number): void {
    if (this.#isClosed) return
    this.#change(-bytes)
    this.#bytes -= bytes
  }

  /** Gives everything back. Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.give(this.#bytes)
    this.#isClosed = true
    this.#onClose()
  }
}
