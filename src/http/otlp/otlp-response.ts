import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ErrorCode, GatewayError } from '../../model/errors.ts'
import { ProtobufWriter } from '../../wire/protobuf/protobuf-writer.ts'
import { retryAfterSecondsOf, statusOf } from '../response/error-status.ts'

/**
 * Responses of OTLP/HTTP. Each response, also an error, is a message in the encoding of its request: JSON, unless the
 * content type of the request is protobuf.
 */

export type OtlpEncoding = 'protobuf' | 'json'

const PROTOBUF_CONTENT_TYPE = /^ *application\/(?:x-protobuf|protobuf) *(?:;|$)/i
const JSON_CONTENT_TYPE = /^ *application\/json *(?:;|$)/i

/** Returns the encoding of a request's body. Undefined: the content type is not one of OTLP. */
export function otlpEncodingOf({ headers }: FastifyRequest): OtlpEncoding | undefined {
  const type = headers['content-type'] ?? ''
  if (PROTOBUF_CONTENT_TYPE.test(type)) return 'protobuf'
  return JSON_CONTENT_TYPE.test(type) ? 'json' : undefined
}

export interface PartialSuccess {
  /** Number of rejected data points. */
  readonly rejected: number
  readonly message: string
}

/** Sends an `ExportMetricsServiceResponse`. It is empty if no point was rejected. */
export function sendOtlpResponse(reply: FastifyReply, { rejected, message }: PartialSuccess): FastifyReply {
  if (otlpEncodingOf(reply.request) === 'protobuf') {
    const response = new ProtobufWriter()
    if (rejected > 0) response.bytes(1, new ProtobufWriter().uint(1, rejected).text(2, message).finish())
    return send(reply, 200, 'application/x-protobuf', response.finish())
  }
  // The JSON mapping of protobuf writes 64-bit integers as text.
  const partialSuccess = { rejectedDataPoints: String(rejected), errorMessage: message }
  return send(reply, 200, 'application/json', JSON.stringify(rejected > 0 ? { partialSuccess } : {}))
}

/** Sends the error as a `google.rpc.Status`. Clients retry only the statuses 429, 502, 503 and 504. */
export function sendOtlpError(reply: FastifyReply, { code, message }: GatewayError): FastifyReply {
  const status = otlpStatusOf(code)
  const retryAfterSeconds = code === 'request_timeout' ? 1 : retryAfterSecondsOf(code)
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds)
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  const text = `${code}: ${message}`
  const rpcCode = RPC_CODE_BY_STATUS[status] ?? 13
  if (otlpEncodingOf(reply.request) === 'protobuf') {
    return send(reply, status, 'application/x-protobuf', new ProtobufWriter().uint(1, rpcCode).text(2, text).finish())
  }
  return send(reply, status, 'application/json', JSON.stringify({ code: rpcCode, message: text }))
}

/**
 * Returns the HTTP status of an error. A request that arrived too slowly gets 503, because OTLP clients do not retry
 * 408.
 */
export function otlpStatusOf(code: ErrorCode): number {
  return code === 'request_timeout' ? 503 : statusOf(code)
}

/** `google.rpc.Code` by HTTP status. Any other status is 13 (INTERNAL). */
const RPC_CODE_BY_STATUS: Readonly<Record<number, number>> = {
  400: 3,
  401: 16,
  403: 7,
  404: 5,
  409: 9,
  413: 8,
  415: 3,
  429: 8,
  503: 14,
}

/** Sends the body as bytes: Fastify would add a charset to the content type of a string, and OTLP's types have none. */
function send(reply: FastifyReply, status: number, contentType: string, body: string | Uint8Array): FastifyReply {
  return reply
    .code(status)
    .headers({ 'content-type': contentType, 'cache-control': 'no-store' })
    .send(typeof body === 'string' ? Buffer.from(body) : body)
}
