import type { FastifyReply } from 'fastify'
import type { ErrorCode } from '../../model/errors.ts'
import { GatewayError } from '../../model/errors.ts'
import { sendJson } from './answer.ts'

const STATUS: Readonly<Record<ErrorCode, number>> = {
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

/** Every code, in the order of their status. */
export const ERROR_CODES: readonly string[] = Object.keys(STATUS)

/** How long a client is asked to wait. Overload passes with the next commit, a store takes a moment to come back. */
const RETRY_AFTER_SECONDS: Readonly<Partial<Record<ErrorCode, number>>> = { overloaded: 1, store_unavailable: 5 }

export function statusOf(code: ErrorCode): number {
  return STATUS[code]
}

export function retryAfterSecondsOf(code: ErrorCode): number | undefined {
  return RETRY_AFTER_SECONDS[code]
}

export function sendError(reply: FastifyReply, error: GatewayError): FastifyReply {
  const { code, message, details } = error
  const retryAfterSeconds = RETRY_AFTER_SECONDS[code]
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds)
  if (STATUS[code] === 401) reply.header('www-authenticate', 'Bearer')
  return sendJson(reply, STATUS[code], JSON.stringify({ error: { code, message, details } }))
}

/** What a client may know of an error: its own, or that of the web framework in our terms. Else `internal` and no more. */
export function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  switch (typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new GatewayError('unsupported_media_type', 'the content type is malformed')
    case 'FST_ERR_BAD_URL':
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new GatewayError('not_found', 'the path is malformed')
    default:
      return new GatewayError('internal', 'something went wrong inside the gateway', { cause: error })
  }
}
