import type { Socket } from 'node:net'
import { GatewayError } from '../../model/errors.ts'

/**
 * Limits the total bytes of all request bodies that are being received or processed. Without this limit, many bodies
 * together could exceed the memory of the process, although each body is within the limit of one body. Bytes count from
 * their arrival or decompression. So that one client cannot use the whole budget, the bytes of each client network (an
 * IPv4 address or an IPv6 /64) are limited too, except those of the fast path.
 */
export class BodyBudget {
  readonly #bytesMax: number
  readonly #bytesPerNetworkMax: number
  readonly #bytesByNetwork = new Map<string, number>()
  readonly #chargesBySocket = new WeakMap<Socket, Set<BodyCharge>>()
  #usedBytes = 0

  constructor(bytesMax: number, bytesPerNetworkMax: number) {
    this.#bytesMax = bytesMax
    this.#bytesPerNetworkMax = bytesPerNetworkMax
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  /**
   * Adds to the used bytes of the budget; a negative number releases bytes. Only for small bodies, because the bytes do
   * not count for a client network. The caller must release the added bytes, also if the request fails. Throws
   * `overloaded`, and adds nothing, when an increase would exceed the limit.
   */
  changeUsedBytes(bytes: number): void {
    if (bytes > 0 && this.#usedBytes + bytes > this.#bytesMax) throw budgetExceededError()
    this.#usedBytes += bytes
  }

  /** Opens a `BodyCharge` for one request. It is closed by its owner, or as soon as the connection is closed. */
  openCharge(clientNetwork: string, socket: Socket): BodyCharge {
    const charge: BodyCharge = new BodyCharge(
      (bytes) => this.#changeBytesOfNetwork(clientNetwork, bytes),
      () => charges.delete(charge),
    )
    const charges = this.#chargesOf(socket)
    if (socket.destroyed) charge.close()
    else charges.add(charge)
    return charge
  }

  /**
   * Returns the open charges of a socket, as a live set. The socket's `close` event closes them, because a response
   * that is queued behind another one on a lost connection emits no `close` event.
   */
  #chargesOf(socket: Socket): Set<BodyCharge> {
    const existing = this.#chargesBySocket.get(socket)
    if (existing !== undefined) return existing
    const charges = new Set<BodyCharge>()
    this.#chargesBySocket.set(socket, charges)
    socket.once('close', () => {
      for (const charge of charges) charge.close()
    })
    return charges
  }

  /**
   * Adds to the used bytes of the budget and of a client network. Throws `overloaded` if a sum exceeds its limit; a
   * decrease never throws.
   */
  #changeBytesOfNetwork(clientNetwork: string, bytes: number): void {
    const bytesOfNetwork = (this.#bytesByNetwork.get(clientNetwork) ?? 0) + bytes
    if (bytes > 0 && this.#usedBytes + bytes > this.#bytesMax) throw budgetExceededError()
    if (bytes > 0 && bytesOfNetwork > this.#bytesPerNetworkMax) {
      throw new GatewayError('overloaded', 'too many large requests from this client address are in progress')
    }
    this.#usedBytes += bytes
    if (bytesOfNetwork > 0) this.#bytesByNetwork.set(clientNetwork, bytesOfNetwork)
    else this.#bytesByNetwork.delete(clientNetwork)
  }
}

function budgetExceededError(): GatewayError {
  return new GatewayError('overloaded', 'too many large requests are in progress; try again shortly')
}

/** The bytes of the body budget that one request uses. */
export class BodyCharge {
  readonly #onChange: (bytes: number) => void
  readonly #onClose: () => void
  #bytes = 0
  #isClosed = false

  constructor(onChange: (bytes: number) => void, onClose: () => void) {
    this.#onChange = onChange
    this.#onClose = onClose
  }

  /**
   * Takes bytes from the budget. Throws `overloaded` if the limit of the budget or of the client network would be
   * exceeded. Also throws it after `close`, because bytes taken after that would never be released.
   */
  take(bytes: number): void {
    if (this.#isClosed) throw new GatewayError('overloaded', 'the request has ended')
    this.#onChange(bytes)
    this.#bytes += bytes
  }

  /** Returns bytes to the budget. Does nothing after `close`, which has returned all of them. */
  release(bytes: number): void {
    if (this.#isClosed) return
    this.#onChange(-bytes)
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
