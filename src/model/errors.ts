import { firstChars } from './text.ts'

/**
 * All error codes. `src/http/response/error-status.ts` maps each code to an HTTP status. GraphQL shows codes in upper
 * case.
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
 * Thrown when a request cannot be served. The client sees the message, so a message never holds a secret or an internal
 * name.
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

/** A rejected item of a batch. The other items of the batch are stored. */
export interface ItemError {
  readonly index: number
  readonly code: ErrorCode
  readonly message: string
}

/** Error messages quote at most this many characters (code points) of a client's text. */
export const QUOTED_CHARS_MAX = 64

/** Prepares a client's text for an error message: shortens it, puts it in quotes and escapes control characters. */
export function quote(text: string): string {
  return JSON.stringify(shorten(text))
}

/** The first `QUOTED_CHARS_MAX` characters of a text, followed by an ellipsis if the text is longer. */
export function shorten(text: string): string {
  const start = firstChars(text, QUOTED_CHARS_MAX)
  return start === text ? text : `${start}…`
}

/**
 * Maximum JSON bytes of all error messages in one response to a batch. Bounded because a response to a request with an
 * idempotency key is stored for a day.
 */
export const MESSAGES_BYTES_MAX = 65_536

/**
 * Limits the error messages of one response to `MESSAGES_BYTES_MAX` bytes together. Errors beyond the limit carry only
 * their code.
 */
export class MessageBudget {
  #bytesLeft = MESSAGES_BYTES_MAX

  restart(): void {
    this.#bytesLeft = MESSAGES_BYTES_MAX
  }

  /** Returns the message and charges its bytes. Returns a short replacement when the budget is used up. */
  take(message: string): string {
    if (this.#bytesLeft > 0) this.#bytesLeft -= Buffer.byteLength(JSON.stringify(message))
    return this.#bytesLeft > 0 ? message : 'see the code; the response has no room for more messages'
  }
}

/**
 * Checks an invariant of this program. A violation is logged with its cause, and the client gets only the code
 * `internal`.
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}
