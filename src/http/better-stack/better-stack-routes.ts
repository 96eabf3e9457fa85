import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import type { Gateway, SavedResponse, TrackOptions } from '../../gateway.ts'
import { type ErrorCode, GatewayError, type ItemError } from '../../model/errors.ts'
import { describeValue, type PointLimits, type PointSink } from '../../model/point.ts'
import type { Steps } from '../../model/steps.ts'
import {
  type BetterStackFormat,
  type DecodedBetterStackBody,
  decodeBetterStackBody,
} from '../../wire/better-stack-body.ts'
import { projectOf, requireScope } from '../access/authenticate.ts'
import { bodyBytesOf } from '../body/request-body.ts'
import { IDEMPOTENCY_KEY_HEADER, INGEST_ERROR_CODES, type Operation } from '../openapi/operation.ts'
import { retryAfterSecondsOf, statusOf } from '../response/error-status.ts'
import { serveIdempotently } from '../server/idempotency.ts'

interface BetterStackRoutesOptions {
  readonly gateway: Gateway
  readonly log: Logger
  readonly now: () => number
  readonly limits: BetterStackLimits
}

export interface BetterStackLimits {
  readonly points: PointLimits
  /** Maximum number of points in one request. */
  readonly requestPointsMax: number
}

/**
 * Maximum number of points in one request of the Better Stack, OTLP or remote-write API, and maximum number of Better
 * Stack items. With the default limit of the body size, only a body of tiny items reaches it.
 */
export const REQUEST_POINTS_MAX = 1_000_000

/** Error texts of the Better Stack API. They must not change, because clients may compare them. */
const UNDECODABLE_TEXT = "Couldn't parse JSON content."
const TOO_LARGE_TEXT = 'payload reached size limit'
const UNAUTHORIZED_TEXT = 'Unauthorized'

/** The two paths of the route. A retry with the same idempotency key may use the other path. */
const PATHS = ['/metrics', '/'] as const

/**
 * The Better Stack API: `POST /metrics`, and the same at `POST /`. Errors are text; a success has no body. Three of its
 * headers count items: those that were stored, those that were rejected, and those that were stored with the time of
 * reception because their own time is unreadable.
 */
export function registerBetterStackRoutes(app: FastifyInstance, options: BetterStackRoutesOptions): void {
  const { gateway } = options
  const onRequest = [requireScope(gateway, 'ingest', 'betterstack'), acceptAnyContentType]

  const handle = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const { status, body } = await serveIdempotently(
      gateway,
      request,
      (trackOptions) => storeItems(request, trackOptions, options),
      PATHS[0],
    )
    if (status !== 202) return sendText(reply, status, body)
    const [accepted, rejected, unreadableTimes = '0'] = body.split(' ')
    return reply
      .code(status)
      .headers({
        'cache-control': 'no-store',
        'x-metrics-accepted': accepted,
        'x-metrics-rejected': rejected,
        'x-metrics-unreadable-time': unreadableTimes,
      })
      .send()
  }

  for (const path of PATHS) {
    app.post(path, { onRequest, config: { openapi: sendMetricsAt(path) } }, handle)
    app.head(path, { config: { openapi: checkMetricsAt(path) } }, (_request, reply) => reply.code(200).send())
  }
}

/**
 * Stores the items of a request. With status 202, the body of the result has the three counts of the response headers,
 * because only status and body are saved for a retry. A body that cannot be decoded gives status 406 and a text.
 */
async function storeItems(
  request: FastifyRequest,
  trackOptions: TrackOptions,
  { gateway, log, now, limits }: BetterStackRoutesOptions,
): Promise<SavedResponse> {
  const body = bodyBytesOf(request)
  let decoded: DecodedBetterStackBody = { itemCount: 0, unreadableTimeSamples: [], unreadableTimeIndexes: [] }
  function* decode(sink: PointSink): Steps<void> {
    decoded = yield* decodeBetterStackBody(body, sink, {
      format: formatOf(request),
      nowMs: now(),
      limits: limits.points,
      pointsMax: limits.requestPointsMax,
    })
  }
  let rejected: readonly ItemError[]
  try {
    rejected = await gateway.track(projectOf(request), decode, trackOptions)
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'invalid_body') return { status: 406, body: UNDECODABLE_TEXT }
    throw error
  }
  const { itemCount, unreadableTimeSamples, unreadableTimeIndexes } = decoded
  if (unreadableTimeSamples.length > 0) {
    log.debug(
      { id: request.id, times: unreadableTimeSamples.map(describeValue) },
      'unreadable times replaced by the time of reception',
    )
  }
  let rejectedPosition = 0
  const isStored = (index: number): boolean => {
    // Called with ascending indexes: `rejected` and `unreadableTimeIndexes` are both sorted by index.
    while (rejectedPosition < rejected.length && rejected[rejectedPosition]!.index < index) rejectedPosition++
    return rejected[rejectedPosition]?.index !== index
  }
  const unreadableTimeCount = unreadableTimeIndexes.filter(isStored).length
  return { status: 202, body: `${itemCount - rejected.length} ${rejected.length} ${unreadableTimeCount}` }
}

/** Sends an error in the format of this API: a status and a line of text. */
export function sendBetterStackError(reply: FastifyReply, { code, message }: GatewayError): FastifyReply {
  const retryAfterSeconds = retryAfterSecondsOf(code)
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds)
  switch (code) {
    case 'missing_api_key':
    case 'invalid_api_key':
    case 'forbidden':
      return sendText(reply, betterStackStatusOf(code), UNAUTHORIZED_TEXT)
    case 'payload_too_large':
      return sendText(reply, betterStackStatusOf(code), TOO_LARGE_TEXT)
    case 'unsupported_media_type':
      return sendText(reply, betterStackStatusOf(code), UNDECODABLE_TEXT)
    case 'invalid_body':
      // If the body is undefined, it could not be read or decompressed. Otherwise something else is invalid, such as
      // the idempotency key.
      return reply.request.body === undefined
        ? sendText(reply, 406, UNDECODABLE_TEXT)
        : sendText(reply, betterStackStatusOf(code), message)
    default:
      return sendText(reply, betterStackStatusOf(code), message)
  }
}

/**
 * The status of an error in this API: 403 for a missing or invalid key, 406 for an unsupported content encoding, and
 * the common status for any other code. A body that cannot be decoded gets 406 elsewhere in this file.
 */
function betterStackStatusOf(code: ErrorCode): number {
  if (code === 'missing_api_key' || code === 'invalid_api_key') return 403
  return code === 'unsupported_media_type' ? 406 : statusOf(code)
}

function sendText(reply: FastifyReply, status: number, text: string): FastifyReply {
  return reply
    .code(status)
    .headers({ 'cache-control': 'no-store', 'content-type': 'text/plain; charset=utf-8' })
    .send(text)
}

/**
 * Each format except JSON, the content type that {@link acceptAnyContentType} sets for it, and a pattern of the content
 * types that clients send for it.
 */
const FORMATS: readonly (readonly [BetterStackFormat, contentType: string, RegExp])[] = [
  ['ndjson', 'application/x-ndjson', /^ *(?:application|text)\/(?:x-)?(?:ndjson|jsonl|jsonlines)\b/i],
  ['message-pack', 'application/msgpack', /^ *application\/(?:x-|vnd\.)?(?:msgpack|messagepack)\b/i],
]

/** Returns the format in which a request's body is decoded: JSON, unless the content type is in `FORMATS`. */
function formatOf({ headers }: FastifyRequest): BetterStackFormat {
  const type = headers['content-type'] ?? ''
  return FORMATS.find(([, , contentTypePattern]) => contentTypePattern.test(type))?.[0] ?? 'json'
}

/**
 * An `onRequest` hook that sets a well-formed content type: Fastify would refuse a malformed one, and this API accepts
 * any.
 */
function acceptAnyContentType(request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
  const format = formatOf(request)
  request.headers['content-type'] = FORMATS.find(([name]) => name === format)?.[1] ?? 'application/json'
  done()
}

function sendMetricsAt(path: string): Operation {
  return {
    id: path === '/' ? 'sendMetricsAtRoot' : 'sendMetrics',
    tag: 'Better Stack',
    summary: 'Stores metrics sent in the Better Stack format',
    description: 'Invalid items are not stored; response headers count them.',
    scope: 'ingest',
    parameters: [IDEMPOTENCY_KEY_HEADER],
    body: {
      'application/json': {
        description: 'An item or an array of items of the Better Stack metrics API or of the Vector agent.',
      },
      'application/x-ndjson': { type: 'string', description: 'One item per line.' },
      'application/msgpack': { type: 'string', format: 'binary', description: 'An item or an array of items.' },
    },
    response: {
      status: 202,
      description: 'The items are stored durably.',
      headers: {
        'X-Metrics-Accepted': 'Items that were stored.',
        'X-Metrics-Rejected': 'Items that were not stored.',
        'X-Metrics-Unreadable-Time': 'Items stored at the time of reception because their own time is unreadable.',
      },
    },
    errors: INGEST_ERROR_CODES,
    errorFormat: {
      content: { 'text/plain': { type: 'string' } },
      statusOf: betterStackStatusOf,
      descriptionsWithoutCode: { 406: 'The body cannot be decoded; nothing is stored.' },
    },
  }
}

function checkMetricsAt(path: string): Operation {
  return {
    id: path === '/' ? 'checkMetricsAtRoot' : 'checkMetrics',
    tag: 'Better Stack',
    summary: 'Checks that the endpoint exists',
    response: { status: 200, description: 'The endpoint exists.' },
    errors: [],
  }
}
