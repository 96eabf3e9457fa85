import type { FastifyReply } from 'fastify'
import type { ErrorCode } from '../../model/errors.ts'
import { GatewayError } from '../../model/errors.ts'
import { sendJson } from './json-response.ts'

/**
 * The HTTP status of each error code. Three APIs have exceptions: see `otlpStatusOf`, `remoteWriteStatusOf` and
 * `betterStackStatusOf`.
 */
const STATUS_BY_CODE: Readonly<Record<ErrorCode, number>> = {
  missing_name: 400,
  invalid_type: 400,
  invalid_value: 400,
  invalid_timestamp: 400,
  invalid_tags: 400,
  invalid_body: 400,
  invalid_aggregation: 400,
  invalid_interval: 400,
  invalid_range: 400,
  invalid_group_by: 400,
  batch_too_large: 400,
  query_too_large: 400,
  missing_api_key: 401,
  invalid_api_key: 401,
  forbidden: 403,
  metric_not_found: 404,
  not_found: 404,
  request_timeout: 408,
  type_conflict: 409,
  idempotency_conflict: 409,
  payload_too_large: 413,
  unsupported_media_type: 415,
  series_limit_exceeded: 422,
  metric_limit_exceeded: 422,
  rate_limited: 429,
  internal: 500,
  overloaded: 503,
  store_unavailable: 503,
}

/** Every error code, ordered by HTTP status. */
export const ERROR_CODES: readonly string[] = Object.keys(STATUS_BY_CODE)

/**
 * Values of `Retry-After` by error code; for `rate_limited`, the rate limit decides instead. Overload usually ends
 * within a second; an unavailable store needs longer to recover.
 */
const RETRY_AFTER_SECONDS: Readonly<Partial<Record<ErrorCode, number>>> = { overloaded: 1, store_unavailable: 5 }

export function statusOf(code: ErrorCode): number {
  return STATUS_BY_CODE[code]
}

export function retryAfterSecondsOf(code: ErrorCode): number | undefined {
  return RETRY_AFTER_SECONDS[code]
}

export function sendError(reply: FastifyReply, error: GatewayError): FastifyReply {
  const headers = errorHeaders(error.code)
  for (let i = 0; i < headers.length; i += 2) reply.header(headers[i]!, headers[i + 1])
  return sendJson(reply, STATUS_BY_CODE[error.code], errorJson(error))
}

/** Returns names and values, in turn, of the headers that an error response has because of its code. */
export function errorHeaders(code: ErrorCode): readonly string[] {
  const retryAfterSeconds = RETRY_AFTER_SECONDS[code]
  if (retryAfterSeconds !== undefined) return ['retry-after', String(retryAfterSeconds)]
  return STATUS_BY_CODE[code] === 401 ? ['www-authenticate', 'Bearer'] : []
}

export function errorJson({ code, message, details }: GatewayError): string {
  return JSON.stringify({ error: { code, message, details } })
}

/**
 * Converts any error to one that a client may see. A gateway error stays as it is. Fastify's errors for a malformed
 * content type, a malformed path or too long a path parameter get a code of the gateway. Any other error becomes
 * `internal`, whose message has no details.
 */
export function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  switch (typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new GatewayError('unsupported_media_type', 'the content type is malformed')
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new GatewayError('not_found', 'the path is malformed')
    default:
      return new GatewayError('internal', 'internal error', { cause: error })
  }
}
