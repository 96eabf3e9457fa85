import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import type { Answer, Gateway, TrackOptions } from '../../gateway.ts'
import { GatewayError, type ItemError } from '../../model/errors.ts'
import { describe, type PointLimits, type PointSink } from '../../model/point.ts'
import type { Steps } from '../../model/steps.ts'
import { type BetterStackBody, type BetterStackFormat, decodeBetterStackBody } from '../../wire/better-stack-body.ts'
import { projectOf, requireScope } from '../server/auth.ts'
import { bytesOf } from '../server/body.ts'
import { retryAfterSecondsOf, statusOf } from '../server/error-table.ts'
import { idempotencyOf } from '../server/idempotency.ts'

export interface BetterStackRoutesOptions {
  readonly gateway: Gateway
  readonly log: Logger
  readonly now: () => number
  readonly limits: BetterStackLimits
}

export interface BetterStackLimits {
  readonly points: PointLimits
  /** Points of one request. */
  readonly requestPointsMax: number
}

/** Points, and items, in one request: the body limit is the first bound, this one holds for bodies of tiny items. */
export const REQUEST_POINTS_MAX = 1_000_000

/** The vendor's own words, which clients may look for. */
const UNDECODABLE = "Couldn't parse JSON content."
const TOO_LARGE = 'payload reached size limit'
const UNAUTHORIZED = 'Unauthorized'

/**
 * The Better Stack dialect: `POST /metrics` and, the same, `POST /`. Answers are text, and tell in headers how many items were
 * stored, how many were left out, and how many were stored at the time of reception because their own cannot be read.
 */
export function registerBetterStackRoutes(
  app: FastifyInstance,
  { gateway, log, now, limits }: BetterStackRoutesOptions,
): void {
  const ingest = { onRequest: [requireScope(gateway, 'ingest', 'betterstack'), readAnyContent] }

  const store = async (request: FastifyRequest, options: TrackOptions): Promise<Answer> => {
    const body = bytesOf(request)
    let decoded: BetterStackBody = { items: 0, oddTimes: [], oddTimeItems: [] }
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
      rejected = await gateway.track(projectOf(request), decode, options)
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'invalid_body') return { status: 406, body: UNDECODABLE }
      throw error
    }
    const { items, oddTimes, oddTimeItems } = decoded
    if (oddTimes.length > 0) {
      log.debug(
        { id: request.id, times: oddTimes.map(describe) },
        'times that cannot be read: the time of reception is taken',
      )
    }
    const isRejected = new Set(rejected.map(({ index }) => index))
    const oddTimesStored = oddTimeItems.filter((index) => !isRejected.has(index)).length
    return { status: 202, body: `${items - rejected.length} ${rejected.length} ${oddTimesStored}` }
  }

  const serve = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const idempotent = idempotencyOf(request, '/metrics')
    const { status, body } =
      idempotent === undefined
        ? await store(request, {})
        : await gateway.once(projectOf(request), idempotent, () => store(request, { idempotencyKey: idempotent.key }))
    if (status !== 202) return sendText(reply, status, body)
    const [accepted, rejected, oddTimes = '0'] = body.split(' ')
    return reply
      .code(status)
      .headers({ ...COMMON_HEADERS, 'x-request-id': request.id })
      .headers({
        'x-metrics-accepted': accepted,
        'x-metrics-rejected': rejected,
        'x-metrics-unreadable-time': oddTimes,
      })
      .send()
  }

  for (const path of ['/metrics', '/']) {
    app.post(path, ingest, serve)
    app.head(path, (_request, reply) => reply.code(200).send())
  }
}

/** Errors as this dialect tells them: by status and a line of text. */
export function sendPlainError(reply: FastifyReply, { code, message }: GatewayError): FastifyReply {
  const retryAfterSeconds = retryAfterSecondsOf(code)
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds)
  switch (code) {
    case 'missing_api_key':
    case 'invalid_api_key':
    case 'forbidden':
      return sendText(reply, 403, UNAUTHORIZED)
    case 'payload_too_large':
      return sendText(reply, 413, TOO_LARGE)
    case 'unsupported_media_type':
      return sendText(reply, 406, UNDECODABLE)
    case 'invalid_body':
      // A body that was not read: it does not decompress.
      return reply.request.body === undefined
        ? sendText(reply, 406, UNDECODABLE)
        : sendText(reply, statusOf(code), message)
    default:
      return sendText(reply, statusOf(code), message)
  }
}

function sendText(reply: FastifyReply, status: number, text: string): FastifyReply {
  return reply
    .code(status)
    .headers({ ...COMMON_HEADERS, 'content-type': 'text/plain; charset=utf-8', 'x-request-id': reply.request.id })
    .send(text)
}

const COMMON_HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' }

/** By the names that senders give them; the first is the plain one. */
const FORMATS: readonly (readonly [BetterStackFormat, plain: string, RegExp])[] = [
  ['ndjson', 'application/x-ndjson', /^ *(?:application|text)\/(?:x-)?(?:ndjson|jsonl|jsonlines)\b/i],
  ['message-pack', 'application/msgpack', /^ *application\/(?:x-|vnd\.)?(?:msgpack|messagepack)\b/i],
]

/** Whatever is not one of the other formats by its name is tried as JSON. */
function formatOf({ headers }: FastifyRequest): BetterStackFormat {
  const type = headers['content-type'] ?? ''
  return FORMATS.find(([, , names]) => names.test(type))?.[0] ?? 'json'
}

/** An `onRequest` hook: gives the content type its plain name. None is refused here, and the web framework would refuse a malformed one. */
function readAnyContent(request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
  const format = formatOf(request)
  request.headers['content-type'] = FORMATS.find(([known]) => known === format)?.[1] ?? 'application/json'
  done()
}
