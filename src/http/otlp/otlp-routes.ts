import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Gateway, SavedResponse, TrackOptions } from '../../gateway.ts'
import { GatewayError, type ItemError } from '../../model/errors.ts'
import { Pacer } from '../../model/pacer.ts'
import type { PointLimits, PointSink } from '../../model/point.ts'
import { runPaced, type Steps } from '../../model/steps.ts'
import { CumulativeHistograms, type HistogramChanges } from '../../wire/histogram/cumulative-histograms.ts'
import { readJsonBody } from '../../wire/json-body.ts'
import type { OtlpOptions } from '../../wire/otlp/deliver-points.ts'
import { decodeOtlpJson, jsonNeedsIdempotencyKey } from '../../wire/otlp/otlp-json.ts'
import { decodeOtlpProtobuf, protobufNeedsIdempotencyKey } from '../../wire/otlp/otlp-protobuf.ts'
import { projectOf, requireScope } from '../access/authenticate.ts'
import { bodyBytesOf } from '../body/request-body.ts'
import { IDEMPOTENCY_KEY_HEADER, INGEST_ERROR_CODES, type Operation } from '../openapi/operation.ts'
import { serveIdempotently } from '../server/idempotency.ts'
import { otlpEncodingOf, otlpStatusOf, type PartialSuccess, sendOtlpResponse } from './otlp-response.ts'

/**
 * OTLP/HTTP for metrics (https://opentelemetry.io/docs/specs/otlp/#otlphttp): `POST /v1/metrics`, in protobuf or JSON.
 * Valid points are stored; rejected points are reported as a partial success.
 *
 * A client that receives no response sends the same bytes again. Gauges and running totals may then be stored twice,
 * which changes neither last values nor increases. Deltas and exponential histograms must not be stored twice. So if a
 * request with them has no idempotency key, it gets one: the hash of its body. If its points have times, only a retry
 * has the same hash. If they have none, an equal body within 24 h counts as a retry.
 */
export interface OtlpRoutesOptions {
  readonly gateway: Gateway
  readonly now: () => number
  readonly limits: OtlpLimits
}

export interface OtlpLimits {
  readonly points: PointLimits
  /** Maximum number of points in a request. */
  readonly requestPointsMax: number
  /** Keys of the resource and scope attributes that become tags, besides `service.name` and `service.instance.id`. */
  readonly otlpTags: readonly string[]
}

export function registerOtlpRoutes(app: FastifyInstance, options: OtlpRoutesOptions): void {
  const { gateway, now } = options
  const histograms = new CumulativeHistograms(now())
  const onRequest = [requireScope(gateway, 'ingest', 'otlp'), requireOtlpBody]
  app.post('/v1/metrics', { onRequest, config: { openapi: EXPORT_METRICS_OPERATION } }, async (request, reply) => {
    const { body } = await serveIdempotently(gateway, request, (trackOptions) =>
      storePoints(request, trackOptions, histograms, options),
    )
    const success: PartialSuccess = JSON.parse(body)
    return sendOtlpResponse(reply, success)
  })
}

/** Rejects a content type that is not one of OTLP, before the body is read. */
function requireOtlpBody(request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void): void {
  if (otlpEncodingOf(request) !== undefined) done()
  else {
    const message = 'the content type must be application/x-protobuf or application/json'
    done(new GatewayError('unsupported_media_type', message))
  }
}

/** Stores the points of a request. Returns a response whose body is a `PartialSuccess` as JSON, for both encodings. */
async function storePoints(
  request: FastifyRequest,
  trackOptions: TrackOptions,
  histograms: CumulativeHistograms,
  options: OtlpRoutesOptions,
): Promise<SavedResponse> {
  const { gateway } = options
  const project = projectOf(request)
  const body = bodyBytesOf(request)
  const changes = histograms.beginChanges(project)
  const nowMs = options.now()
  try {
    const { decode, needsIdempotencyKey } = await readBody(request, body, otlpOptions(options, nowMs, changes))
    const { idempotencyKey = needsIdempotencyKey ? idempotencyKeyOf(body) : undefined } = trackOptions
    const rejected = await gateway.track(project, decode, idempotencyKey === undefined ? {} : { idempotencyKey })
    return { status: 200, body: JSON.stringify(partialSuccessOf(rejected)) }
  } catch (error) {
    changes.undo(nowMs)
    throw error
  }
}

function otlpOptions({ limits }: OtlpRoutesOptions, nowMs: number, histogramChanges: HistogramChanges): OtlpOptions {
  const { points, requestPointsMax, otlpTags } = limits
  return { nowMs, limits: points, pointsMax: requestPointsMax, configuredTagKeys: new Set(otlpTags), histogramChanges }
}

interface DecodableBody {
  readonly decode: (sink: PointSink) => Steps<void>
  /** Whether the request has points that must not be stored twice. */
  readonly needsIdempotencyKey: boolean
}

async function readBody(request: FastifyRequest, body: Uint8Array, options: OtlpOptions): Promise<DecodableBody> {
  if (otlpEncodingOf(request) === 'protobuf') {
    const needsIdempotencyKey = await runPaced(protobufNeedsIdempotencyKey(body), new Pacer())
    return { decode: (sink) => decodeOtlpProtobuf(body, sink, options), needsIdempotencyKey }
  }
  const json = await readJsonBody(body)
  const needsIdempotencyKey = await runPaced(jsonNeedsIdempotencyKey(json), new Pacer())
  return { decode: (sink) => decodeOtlpJson(json, sink, options), needsIdempotencyKey }
}

function idempotencyKeyOf(body: Uint8Array): string {
  return `otlp-${createHash('sha256').update(body).digest('hex')}`
}

/** Maximum number of reasons in the message of a partial success. */
const MESSAGE_REASONS_MAX = 3

function partialSuccessOf(rejected: readonly ItemError[]): PartialSuccess {
  const reasons = new Set<string>()
  for (const { code, message } of rejected) {
    if (reasons.size === MESSAGE_REASONS_MAX) break
    reasons.add(`${code}: ${message}`)
  }
  return { rejected: rejected.length, message: [...reasons].join('; ') }
}

const EXPORT_METRICS_OPERATION: Operation = {
  id: 'exportMetrics',
  tag: 'OpenTelemetry',
  summary: 'Stores metrics sent by OTLP/HTTP',
  description: 'Rejected points are counted in `partialSuccess`; the others are stored.',
  scope: 'ingest',
  parameters: [IDEMPOTENCY_KEY_HEADER],
  body: {
    'application/x-protobuf': { type: 'string', format: 'binary', description: 'An ExportMetricsServiceRequest.' },
    'application/json': { type: 'object', description: 'An ExportMetricsServiceRequest in the JSON encoding of OTLP.' },
  },
  response: {
    status: 200,
    description: 'The points are stored durably. The response is in the encoding of the request.',
    content: {
      'application/x-protobuf': { type: 'string', format: 'binary', description: 'An ExportMetricsServiceResponse.' },
      'application/json': {
        type: 'object',
        properties: {
          partialSuccess: {
            type: 'object',
            properties: { rejectedDataPoints: { type: 'string' }, errorMessage: { type: 'string' } },
          },
        },
      },
    },
  },
  errors: INGEST_ERROR_CODES,
  errorFormat: {
    content: {
      'application/x-protobuf': { type: 'string', format: 'binary', description: 'A google.rpc.Status.' },
      'application/json': {
        type: 'object',
        properties: { code: { type: 'integer' }, message: { type: 'string' } },
      },
    },
    statusOf: otlpStatusOf,
  },
}
