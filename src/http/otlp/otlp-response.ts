import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ErrorCode, GatewayError } from '../../model/errors.ts'
import { ProtobufWriter } from '../../wire/protobuf/protobuf-writer.ts'
import { retryAfterSecondsOf, statusOf } from '../response/error-status.ts'

/** Responses of OTLP/HTTP: a protobuf message in the encoding of the request, for errors too. */

export type OtlpEncoding = 'protobuf' | 'json'

const PROTOBUF = /^ *application\/(?:x-protobuf|protobuf) *(?:;|$)/i
const JSON_TYPE = /^ *application\/json *(?:;|$)/i

/** Undefined: OTLP has no such content type. */
export function encodingOf({ headers }: FastifyRequest): OtlpEncoding | undefined {
  const type = headers['content-type'] ?? ''
  if (PROTOBUF.test(type)) return 'protobuf'
  return JSON_TYPE.test(type) ? 'json' : undefined
}

export interface PartialSuccess {
  readonly rejected: number
  readonly message: string
}

/** An `ExportMetricsServiceResponse`; empty when nothing was rejected. */
export function sendOtlpResponse(reply: FastifyReply, { rejected, message }: PartialSuccess): FastifyReply {
  if (encodingOf(reply.request) === 'protobuf') {
    const response = new ProtobufWriter()
    if (rejected > 0) response.bytes(1, new ProtobufWriter().uint(1, rejected).text(2, message).finish())
    return send(reply, 200, 'application/x-protobuf', response.finish())
  }
  // 64-bit integers are text in JSON.
  const partialSuccess = { rejectedDataPoints: String(rejected), errorMessage: message }
  return send(reply, 200, 'application/json', JSON.stringify(rejected > 0 ? { partialSuccess } : {}))
}

/** Sends a `google.rpc.Status`. Clients retry 429, 502, 503 and 504, and nothing else. */
export function sendOtlpError(reply: FastifyReply, { code, message }: GatewayError): FastifyReply {
  const status = otlpStatusOf(code)
  const retryAfterSeconds = code === 'request_timeout' ? 1 : retryAfterSecondsOf(code)
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds)
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  const text = `${code}: ${message}`
  const rpcCode = RPC_CODES[status] ?? 13
  if (encodingOf(reply.request) === 'protobuf') {
    return send(reply, status, 'application/x-protobuf', new ProtobufWriter().uint(1, rpcCode).text(2, text).finish())
  }
  return send(reply, status, 'application/json', JSON.stringify({ code: rpcCode, message: text }))
}

/** A request that arrived too slowly may be sent again, for which OTLP has another status. */
export function otlpStatusOf(code: ErrorCode): number {
  return code === 'request_timeout' ? 503 : statusOf(code)
}

/** `google.rpc.Code` by HTTP status; INTERNAL for others. */
const RPC_CODES: Readonly<Record<number, number>> = {
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

/** A text would get a charset, which OTLP does not have. */
function send(reply: FastifyReply, status: number, contentType: string, body: string | Uint8Array): FastifyReply {
  return reply
    .code(status)
    .headers({ 'content-type': contentType, 'cache-control': 'no-store' })
    .send(typeof body === 'string' ? Buffer.from(body) : body)
}
