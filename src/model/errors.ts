/**
 * The codes a client can meet, one closed union. `src/http/error-table.ts` gives each of them a status; GraphQL shows
 * them upper-cased in `extensions.code`.
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

export type ErrorDetails = Readonly<Record<string, string | number | boolean | readonly string[]>>

/** A request that cannot be served. Messages are for the caller: they never hold a secret or an internal name. */
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

/** One item of a batch that was left out; the others are stored. */
export interface ItemError {
  readonly index: number
  readonly code: ErrorCode
  readonly message: string
}

/** Characters (code points) of a caller's text that a message repeats. */
export const QUOTED_CHARS_MAX = 64

/** A caller's text as error messages show it: cut, in quotes, control characters escaped. */
export function quote(text: string): string {
  return JSON.stringify(shorten(text))
}

/** At most `QUOTED_CHARS_MAX` characters, and an ellipsis where there were more. */
export function shorten(text: string): string {
  if (text.length <= QUOTED_CHARS_MAX) return text
  // A character takes two code units at most.
  const characters = [...text.slice(0, 2 * QUOTED_CHARS_MAX + 2)]
  return characters.length <= QUOTED_CHARS_MAX ? text : `${characters.slice(0, QUOTED_CHARS_MAX).join('')}…`
}

/** JSON bytes of all messages of one answer to a batch: its receipt is kept for a day, and a client reads a few. */
export const MESSAGES_BYTES_MAX = 65_536

/** Keeps the messages of one answer within `MESSAGES_BYTES_MAX`: the errors beyond it have their code alone. */
export class MessageBudget {
  #bytesLeft = MESSAGES_BYTES_MAX

  restart(): void {
    this.#bytesLeft = MESSAGES_BYTES_MAX
  }

  /** The message, or what stands in its place. */
  take(message: string): string {
    if (this.#bytesLeft > 0) this.#bytesLeft -= Buffer.byteLength(JSON.stringify(message))
    return this.#bytesLeft > 0 ? message : 'see the code; no more messages fit into this answer'
  }
}

/** We are wrong, not the caller: logged with its cause, answered as `internal`. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}
