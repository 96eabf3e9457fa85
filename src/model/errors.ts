import { firstChars } from './text.ts'

/**
 * All codes of gateway errors and rejected items. `src/http/response/error-status.ts` maps each code to an HTTP status.
 * GraphQL responses have these codes in upper case, and other codes for errors of GraphQL itself.
 */
export type ErrorCode =
  | 'missing_name'
  | 'invalid_type'
  | 'invalid_value'
  | 'invalid_timestamp'
  | 'invalid_tags'
  | 'invalid_body'
  | 'invalid_aggregation'
  | 'invalid_interval'
  | 'invalid_range'
  | 'invalid_group_by'
  | 'batch_too_large'
  | 'query_too_large'
  | 'missing_api_key'
  | 'invalid_api_key'
  | 'forbidden'
  | 'metric_not_found'
  | 'not_found'
  | 'request_timeout'
  | 'type_conflict'
  | 'idempotency_conflict'
  | 'payload_too_large'
  | 'unsupported_media_type'
  | 'series_limit_exceeded'
  | 'metric_limit_exceeded'
  | 'rate_limited'
  | 'internal'
  | 'overloaded'
  | 'store_unavailable'

type ErrorDetails = Readonly<Record<string, string | number | boolean | readonly string[]>>

/**
 * Thrown when a request cannot be served. The message is sent to the client, so it must not contain secrets or internal
 * names.
 */
export class GatewayError extends Error {
  readonly code: ErrorCode
  readonly details: ErrorDetails | undefined

  constructor(code: ErrorCode, message: string, options: { details?: ErrorDetails; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'GatewayError'
    this.code = code
    this.details = options.details
  }
}

/** A rejected item of a batch. Its rejection does not affect the other items. */
export interface ItemError {
  readonly index: number
  readonly code: ErrorCode
  readonly message: string
}

/** `quote` and `shorten` keep at most this many characters (code points) of a client's text in an error message. */
export const QUOTED_CHARS_MAX = 64

/** Returns a client's text for an error message: shortened, in quotes and with escaped control characters. */
export function quote(text: string): string {
  return JSON.stringify(shorten(text))
}

/** Returns the first `QUOTED_CHARS_MAX` characters of a text, and an ellipsis if the text is longer. */
export function shorten(text: string): string {
  const prefix = firstChars(text, QUOTED_CHARS_MAX)
  return prefix === text ? text : `${prefix}…`
}

/**
 * Maximum JSON bytes of all error messages about the points, or about the events, of one batch, without the short
 * replacements of further messages. There is a maximum because the response to a request with an idempotency key may be
 * stored for a day.
 */
export const ERROR_MESSAGES_BYTES_MAX = 65_536

/**
 * Limits the total bytes of the error messages about the points, or about the events, of one batch to
 * `ERROR_MESSAGES_BYTES_MAX`. From the first message that does not fit, each error has its code, and a short
 * replacement instead of its message.
 */
export class ErrorMessageBudget {
  #bytesLeft = ERROR_MESSAGES_BYTES_MAX

  /**
   * Makes all bytes available again. Called before a sink receives the items of another request, or those of the same
   * request again from the first.
   */
  restart(): void {
    this.#bytesLeft = ERROR_MESSAGES_BYTES_MAX
  }

  /** Subtracts the bytes of the message from the budget. Returns the message, or a short text if it does not fit. */
  take(message: string): string {
    if (this.#bytesLeft > 0) this.#bytesLeft -= Buffer.byteLength(JSON.stringify(message))
    return this.#bytesLeft > 0 ? message : 'see the code; the response has no room for more messages'
  }
}

/**
 * Throws if an invariant of this program is violated. If that happens in a request, the server logs the message, and
 * the client gets the code `internal` without it.
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}

export function metricNotFoundError(name: string): GatewayError {
  return new GatewayError('metric_not_found', `there is no metric ${quote(name)}`)
}
