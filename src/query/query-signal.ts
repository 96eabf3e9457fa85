import type { GatewayError } from '../model/errors.ts'

/**
 * Stops queries when nobody waits for their results any more. An `AbortSignal` would warn of a leak when more than ten
 * tasks listen, and the queries of one request may be a hundred.
 */
export class QuerySignal {
  #reason: GatewayError | undefined
  readonly #listeners = new Set<(reason: GatewayError) => void>()

  /** The first reason with which `abort` was called. Undefined before. */
  get reason(): GatewayError | undefined {
    return this.#reason
  }

  abort(reason: GatewayError): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    for (const listener of this.#listeners) listener(reason)
    this.#listeners.clear()
  }

  throwIfAborted(): void {
    if (this.#reason !== undefined) throw this.#reason
  }

  /** Calls the listener once when the queries are aborted. Returns a function that removes the listener. */
  onAbort(listener: (reason: GatewayError) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}
