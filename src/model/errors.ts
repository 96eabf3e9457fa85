import { firstChars } from './text.ts'

/** All error codes. `src/http/response/error-status.ts` maps them to a status; GraphQL has them in upper case. */
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

/** A request that cannot be served. The client reads the message, so it never holds a secret or an internal name. */
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

/** A rejected item of a batch; the others are stored. */
export interface ItemError {
  readonly index: number
  readonly code: ErrorCode
  readonly message: string
}

/** Error messages quote at most this many characters (code points) of a client's text. */
export const QUOTED_CHARS_MAX = 64

/** A client's text for an error message: shortened, in quotes, control characters escaped. */
export function quote(text: string): string {
  return JSON.stringify(shorten(text))
}

/** The first `QUOTED_CHARS_MAX` characters, with an ellipsis if there are more. */
export function shorten(text: string): string {
  const start = firstChars(text, QUOTED_CHARS_MAX)
  return start === text ? text : `${start}…`
}

/** JSON bytes of all messages in a response to a batch. Responses to requests with a key are kept for a day. */
export const MESSAGES_BYTES_MAX = 65_536

/** Bounds the messages of one response by `MESSAGES_BYTES_MAX`. Errors beyond it have only their code. */
export class MessageBudget {
  #bytesLeft = MESSAGES_BYTES_MAX

  restart(): void {
    this.#bytesLeft = MESSAGES_BYTES_MAX
  }

  /** The message, or a short replacement when the budget is used up. */
  take(message: string): string {
    if (this.#bytesLeft > 0) this.#bytesLeft -= Buffer.byteLength(JSON.stringify(message))
    return this.#bytesLeft > 0 ? message : 'see the code; the response has no room for more messages'
  }
}

/** For our own mistakes: logged with the cause; the client gets `internal`. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}
