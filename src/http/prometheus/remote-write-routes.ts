import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Gateway, SavedResponse, TrackOptions } from '../../gateway.ts'
import { type ErrorCode, GatewayError, type ItemError } from '../../model/errors.ts'
import { Pacer } from '../../model/pacer.ts'
import type { PointLimits, PointSink } from '../../model/point.ts'
import { runPaced, type Steps } from '../../model/steps.ts'
import { CumulativeHistograms, type HistogramChanges } from '../../wire/histogram/cumulative-histograms.ts'
import type { RemoteWriteOptions } from '../../wire/prometheus/deliver-samples.ts'
import { type FamilyMetadata, MetadataCache } from '../../wire/prometheus/metadata-cache.ts'
import { metricOfSeries } from '../../wire/prometheus/series-metric.ts'
import { type DeliveredItems, decodeWriteRequestV1, readMetadataV1 } from '../../wire/prometheus/write-request-v1.ts'
import { decodeWriteRequestV2, hasHistogramsV2 } from '../../wire/prometheus/write-request-v2.ts'
import { decompressedSnappyLength, decompressSnappy } from '../../wire/snappy.ts'
import { projectOf, requireScope } from '../access/authenticate.ts'
import { bodyBytesOf } from '../body/request-body.ts'
import { IDEMPOTENCY_KEY_HEADER, INGEST_ERROR_CODES, type Operation } from '../openapi/operation.ts'
import { retryAfterSecondsOf, statusOf } from '../response/error-status.ts'
import { serveIdempotently } from '../server/idempotency.ts'

/**
 * Prometheus remote write 1.0 and 2.0 (https://prometheus.io/docs/specs/prw/): `POST /api/v1/write`. Valid samples are
 * stored. If some are invalid, the status is 400, and the sender must not retry. A sender retries 5xx, and 429 if it is
 * configured to do so. After a retry, samples may be stored twice, which changes neither last values nor increases.
 * Native histograms must not be stored twice. So if a request with them has no idempotency key, it gets one: the hash
 * of its decompressed body.
 */
export interface RemoteWriteRouteOptions {
  readonly gateway: Gateway
  readonly now: () => number
  readonly limits: RemoteWriteLimits
}

export interface RemoteWriteLimits {
  readonly points: PointLimits
  readonly requestPointsMax: number
  readonly bodyBytesMax: number
}

/** The state that stays in memory from one request to the next. */
interface DecodingState {
  readonly histograms: CumulativeHistograms
  readonly metadata: MetadataCache
}

export function registerRemoteWriteRoute(app: FastifyInstance, options: RemoteWriteRouteOptions): void {
  const { gateway, now } = options
  const decodingState: DecodingState = { histograms: new CumulativeHistograms(now()), metadata: new MetadataCache() }
  const onRequest = [requireScope(gateway, 'ingest', 'write'), requireWriteBody]
  app.post('/write', { onRequest, config: { openapi: REMOTE_WRITE_OPERATION } }, async (request, reply) => {
    const saved = await serveIdempotently(gateway, request, (trackOptions) =>
      storeSamples(request, trackOptions, decodingState, options),
    )
    const { samples, histograms, message }: WriteOutcome = JSON.parse(saved.body)
    reply.headers({
      'cache-control': 'no-store',
      'x-prometheus-remote-write-samples-written': samples,
      'x-prometheus-remote-write-histograms-written': histograms,
      // Exemplars are not stored.
      'x-prometheus-remote-write-exemplars-written': 0,
    })
    return message === '' ? reply.code(204).send() : sendText(reply, 400, message)
  })
}

/** The outcome of a request. It is the body of the saved response, as JSON. */
interface WriteOutcome {
  /** Number of samples that were not rejected, without native histograms. It includes skipped ones, such as NaN. */
  readonly samples: number
  /** Number of native histograms that were not rejected. It includes skipped ones, such as stale markers. */
  readonly histograms: number
  /** Why samples or native histograms were rejected. Empty if none were. */
  readonly message: string
}

/** The only content encoding of the protocol, and the default. */
const SNAPPY = 'snappy'
const PROTOBUF_CONTENT_TYPE = /^ *application\/x-protobuf *(?:; *proto="?([\w.]+)"? *)?$/i
const PROTO_V1 = 'prometheus.WriteRequest'
const PROTO_V2 = 'io.prometheus.write.v2.Request'

/**
 * Rejects a request before its body is read, unless the content is protobuf and its encoding is Snappy, which is the
 * default. Removes the header `content-encoding`, because this route decompresses Snappy itself and the general body
 * reader does not support it.
 */
function requireWriteBody(request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void): void {
  const { 'content-encoding': encoding = SNAPPY } = request.headers
  if (messageTypeOf(request) === undefined) {
    const message = `the content type must be application/x-protobuf, with proto=${PROTO_V1} or proto=${PROTO_V2}`
    done(new GatewayError('unsupported_media_type', message))
  } else if (encoding.trim().toLowerCase() !== SNAPPY) {
    done(new GatewayError('unsupported_media_type', `the content encoding must be ${SNAPPY}`))
  } else {
    delete request.headers['content-encoding']
    done()
  }
}

/**
 * Returns the message type of the protocol version that the content type names: 1.0 without the parameter `proto`.
 * Undefined for any other content type.
 */
function messageTypeOf({ headers }: FastifyRequest): typeof PROTO_V1 | typeof PROTO_V2 | undefined {
  const match = PROTOBUF_CONTENT_TYPE.exec(headers['content-type'] ?? '')
  const proto = match === null ? undefined : (match[1] ?? PROTO_V1)
  return proto === PROTO_V1 || proto === PROTO_V2 ? proto : undefined
}

async function storeSamples(
  request: FastifyRequest,
  trackOptions: TrackOptions,
  { histograms, metadata }: DecodingState,
  { gateway, now, limits }: RemoteWriteRouteOptions,
): Promise<SavedResponse> {
  const project = projectOf(request)
  const compressed = bodyBytesOf(request)
  // The body budget counts the decompressed size before memory is allocated for it.
  request.bodyCharge?.take(decompressedSnappyLength(compressed, limits.bodyBytesMax))
  const body = await runPaced(decompressSnappy(compressed), new Pacer())
  const isV1 = messageTypeOf(request) === PROTO_V1
  const { families, hasHistograms } = isV1
    ? await runPaced(readMetadataV1(body), new Pacer())
    : { families: [], hasHistograms: await runPaced(hasHistogramsV2(body), new Pacer()) }
  await cacheMetadata(gateway, project, metadata, families)
  const nowMs = now()
  const changes: HistogramChanges = histograms.beginChanges(project)
  const options: RemoteWriteOptions = {
    nowMs,
    limits: limits.points,
    pointsMax: limits.requestPointsMax,
    histogramChanges: changes,
    metadataOf: (family) => metadata.get(project, family),
  }
  let delivered: DeliveredItems = { itemCount: 0, histogramIndexes: new Set() }
  function* decode(sink: PointSink): Steps<void> {
    delivered = yield* isV1 ? decodeWriteRequestV1(body, sink, options) : decodeWriteRequestV2(body, sink, options)
  }
  try {
    const { idempotencyKey = hasHistograms ? idempotencyKeyOf(body) : undefined } = trackOptions
    const rejected = await gateway.track(project, decode, idempotencyKey === undefined ? {} : { idempotencyKey })
    const outcome = outcomeOf(delivered, rejected)
    return { status: outcome.message === '' ? 204 : 400, body: JSON.stringify(outcome) }
  } catch (error) {
    changes.undo(nowMs)
    throw error
  }
}

/**
 * Adds the metadata of metric families to the cache. A family keeps its cached type. If a new family is sent as a
 * counter or gauge and its name suggests another type, the store is asked: a metric that is already stored as a counter
 * or gauge keeps its type. Another process may have stored it, or this process before the metadata arrived.
 */
async function cacheMetadata(
  gateway: Gateway,
  project: string,
  metadata: MetadataCache,
  families: readonly (readonly [string, FamilyMetadata])[],
): Promise<void> {
  for (const [family, sentMetadata] of families) {
    const cached = metadata.get(project, family)
    let { type } = sentMetadata
    const seriesMetric = metricOfSeries(family, [], () => undefined)
    if (cached !== undefined) type = cached.type
    else if (!('code' in seriesMetric) && (type === 'counter' || type === 'gauge') && seriesMetric.type !== type) {
      const storedMetric = await gateway.metric(project, family)
      if (storedMetric?.type === 'counter' || storedMetric?.type === 'gauge') type = storedMetric.type
    }
    metadata.set(project, family, { ...sentMetadata, type })
  }
}

function idempotencyKeyOf(body: Uint8Array): string {
  return `write-${createHash('sha256').update(body).digest('hex')}`
}

/** Maximum number of rejected items whose reasons are compared. */
const EXAMINED_REJECTIONS_MAX = 100
/** Maximum number of different reasons in the text of a response. */
const MESSAGE_REASONS_MAX = 3

function outcomeOf({ itemCount, histogramIndexes }: DeliveredItems, rejected: readonly ItemError[]): WriteOutcome {
  const rejectedHistogramCount = rejected.filter(({ index }) => histogramIndexes.has(index)).length
  const reasons = [
    ...new Set(rejected.slice(0, EXAMINED_REJECTIONS_MAX).map(({ code, message }) => `${code}: ${message}`)),
  ]
  return {
    samples: itemCount - histogramIndexes.size - (rejected.length - rejectedHistogramCount),
    histograms: histogramIndexes.size - rejectedHistogramCount,
    message:
      rejected.length === 0
        ? ''
        : `${rejected.length} of ${itemCount} samples were not stored: ${reasons.slice(0, MESSAGE_REASONS_MAX).join('; ')}`,
  }
}

/** Sends an error as text. Senders write this text to their logs. */
export function sendRemoteWriteError(reply: FastifyReply, { code, message }: GatewayError): FastifyReply {
  const retryAfterSeconds = code === 'request_timeout' ? 1 : retryAfterSecondsOf(code)
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds)
  const status = remoteWriteStatusOf(code)
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  return sendText(reply, status, `${code}: ${message}`)
}

/**
 * Returns the HTTP status of an error. A request that arrived too slowly gets 503, because senders do not retry 408.
 */
export function remoteWriteStatusOf(code: ErrorCode): number {
  return code === 'request_timeout' ? 503 : statusOf(code)
}

function sendText(reply: FastifyReply, status: number, text: string): FastifyReply {
  return reply
    .code(status)
    .headers({ 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' })
    .send(text)
}

const REMOTE_WRITE_OPERATION: Operation = {
  id: 'remoteWrite',
  tag: 'Prometheus',
  summary: 'Stores samples sent by Prometheus remote write 1.0 or 2.0',
  description: 'The body is compressed with Snappy (block format).',
  scope: 'ingest',
  parameters: [IDEMPOTENCY_KEY_HEADER],
  body: {
    'application/x-protobuf': {
      type: 'string',
      format: 'binary',
      description: `A ${PROTO_V1}, or with the parameter proto=${PROTO_V2} a message of 2.0.`,
    },
  },
  contentEncodings: [SNAPPY],
  response: {
    status: 204,
    description: 'All samples are stored durably.',
    headers: {
      'X-Prometheus-Remote-Write-Samples-Written': 'Samples that were not rejected.',
      'X-Prometheus-Remote-Write-Histograms-Written': 'Native histograms that were not rejected.',
      'X-Prometheus-Remote-Write-Exemplars-Written': 'Always 0: exemplars are not stored.',
    },
  },
  errors: INGEST_ERROR_CODES,
  errorFormat: {
    content: { 'text/plain': { type: 'string' } },
    statusOf: remoteWriteStatusOf,
    descriptionsWithoutCode: { 400: 'Some samples cannot be stored; the others are.' },
  },
}
