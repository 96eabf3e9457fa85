import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { fastify } from 'fastify'
import type { Logger } from 'pino'
import type { Gateway } from '../gateway.ts'
import { GatewayError } from '../model/errors.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { BetterStackLimits } from './better-stack/better-stack-routes.ts'
import { REQUEST_POINTS_MAX, registerBetterStackRoutes, sendPlainError } from './better-stack/better-stack-routes.ts'
import { registerFluxEventRoutes } from './flux/flux-event-routes.ts'
import type { FluxLimits } from './flux/flux-routes.ts'
import { registerFluxRoutes } from './flux/flux-routes.ts'
import { registerOpenApi } from './openapi/openapi-route.ts'
import { decoratePrincipal } from './server/auth.ts'
import { BODY_STALL_MS, type BodyLimits, readBodies } from './server/body.ts'
import { addCommonHeaders, setCommonHeaders } from './server/common-headers.ts'
import { allowOrigins, type CorsOrigins } from './server/cors.ts'
import { asGatewayError, sendError, statusOf } from './server/error-table.ts'
import { registerHealthRoutes } from './server/health.ts'
import { createRequestIds } from './server/request-id.ts'

export interface ServerOptions {
  readonly gateway: Gateway
  readonly log: Logger
  readonly now: () => number
  readonly telemetry: Telemetry
  readonly limits: ServerLimits
  /** Whose `X-Forwarded-For` tells the client address: so many hops, or these addresses and CIDRs. Undefined: nobody's. */
  readonly trustProxy?: number | readonly string[] | undefined
  /** Whose pages may call. Undefined: only our own. */
  readonly corsOrigins?: CorsOrigins | undefined
  /** The process is about to end. */
  readonly isDraining?: () => boolean
}

export interface ServerLimits extends FluxLimits, BetterStackLimits, BodyLimits {
  /** Open connections. */
  readonly connectionsMax: number
  /** How long `/ready` waits for the store. */
  readonly readyWaitMs: number
}

/** How long `/ready` waits for the store. */
const READY_WAIT_MS = 2_000

/** The bounds that are constants. */
export const SERVER_BOUNDS = {
  bodyStallMs: BODY_STALL_MS,
  requestPointsMax: REQUEST_POINTS_MAX,
  readyWaitMs: READY_WAIT_MS,
}

/** A request must have arrived whole within this time; 20 MiB then need 1.4 Mbit/s. */
const REQUEST_TIMEOUT_MS = 120_000

/** The headers of a request, which nobody has been authenticated by yet, must have arrived within this time. */
const HEADERS_TIMEOUT_MS = 20_000
/** How often Node looks for requests that are too slow. */
const SLOW_REQUESTS_CHECK_MS = 5_000

/** Node accepts 16 KiB of request line and headers; a name of 255 characters takes up to 3,060 when percent-encoded. */
const PARAM_CHARS_MAX = 4_096

/** Not listening yet. Closing it finishes the requests under way; the gateway is the caller's to close. */
export function createServer(options: ServerOptions): FastifyInstance {
  const { gateway, log, now, telemetry, limits, trustProxy, corsOrigins, isDraining = () => false } = options
  const redacted = withoutSecrets(log)
  // Fastify gets no logger: it would listen to every response for a line that is not written. What matters is logged below.
  const app = fastify({
    genReqId: createRequestIds(),
    requestTimeout: REQUEST_TIMEOUT_MS,
    http: { headersTimeout: HEADERS_TIMEOUT_MS, connectionsCheckingInterval: SLOW_REQUESTS_CHECK_MS },
    // Routes read the query string themselves.
    routerOptions: { maxParamLength: PARAM_CHARS_MAX, querystringParser: () => NO_PARAMETERS },
    return503OnClosing: false,
    trustProxy: trustOf(trustProxy),
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, _request, reply) => {
      setCommonHeaders(reply)
      sendError(reply, asGatewayError(error))
    },
  })
  app.server.maxConnections = limits.connectionsMax
  countAnswers(app, telemetry)
  addCommonHeaders(app)
  if (corsOrigins !== undefined) allowOrigins(app, corsOrigins)
  decoratePrincipal(app)
  readBodies(app, limits)
  const answeringErrors =
    (send: (reply: FastifyReply, error: GatewayError) => FastifyReply) =>
    (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
      const answer = asGatewayError(error)
      if (statusOf(answer.code) >= 500) logFailure(redacted, request, answer)
      return send(reply, answer)
    }
  app.setErrorHandler(answeringErrors(sendError))
  const countUnknown = telemetry.countRoute('none')
  app.setNotFoundHandler((request, reply) => {
    countUnknown(request.method, 404)
    return sendError(reply, new GatewayError('not_found', `nothing answers ${request.method} at this path`))
  })
  if (log.isLevelEnabled('debug')) {
    app.addHook('onResponse', (request, reply, done) => {
      redacted.debug({ req: request, status: reply.statusCode, durationMs: reply.elapsedTime }, 'request')
      done()
    })
  }

  registerOpenApi(app, limits)
  registerHealthRoutes(app, { gateway, telemetry, readyWaitMs: limits.readyWaitMs, isDraining })
  app.register(async (scope) => registerFluxRoutes(scope, { gateway, now, limits }), { prefix: '/api/v1' })
  app.register(async (scope) => registerFluxEventRoutes(scope, { gateway, now, limits }), { prefix: '/api/v1' })
  app.register(async (scope) => {
    scope.setErrorHandler(answeringErrors(sendPlainError))
    registerBetterStackRoutes(scope, { gateway, log: redacted, now, limits })
  })
  return app
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Every route, once the server is ready. */
    readonly routes: readonly Route[]
  }
}

export interface Route {
  readonly method: string
  /** With `:name` for a part that varies. */
  readonly path: string
}

/** Each route has a counter of its own, made when it is registered. */
function countAnswers(app: FastifyInstance, telemetry: Telemetry): void {
  const routes: Route[] = []
  app.decorate('routes', routes)
  app.addHook('onRoute', (route) => {
    for (const method of [route.method].flat()) routes.push({ method, path: route.url })
    const count = telemetry.countRoute(route.url)
    const onResponse = [route.onResponse ?? []].flat()
    onResponse.push((request, reply, done) => {
      count(request.method, reply.statusCode)
      done()
    })
    route.onResponse = onResponse
  })
}

/** Fastify takes a bare number for nobody, since somebody nearer could forge the hops; whoever says hops knows who is near. */
function trustOf(
  trusted: ServerOptions['trustProxy'],
): boolean | string[] | ((address: string, hop: number) => boolean) {
  if (trusted === undefined) return false
  return typeof trusted === 'number' ? (_address, hop) => hop < trusted : [...trusted]
}

const NO_PARAMETERS = Object.freeze({})

/** Headers are never logged; should a line carry some all the same, it does not carry the key. */
function withoutSecrets(log: Logger): Logger {
  const headers = ['headers', 'req.headers', 'err.headers', 'err.cause.headers']
  return log.child(
    {},
    {
      redact: headers.flatMap((path) => [`${path}.authorization`, `${path}["x-api-key"]`]),
      serializers: { req: summarize },
    },
  )
}

/** What logs may know of a request: its path without the query string, no header. */
function summarize(request: FastifyRequest): { readonly id: string; readonly method: string; readonly path: string } {
  const { id, method, url } = request
  const end = url.indexOf('?')
  return { id, method, path: end < 0 ? url : url.slice(0, end) }
}

function logFailure(log: Logger, request: FastifyRequest, error: GatewayError): void {
  const { code, message, cause } = error
  if (code === 'internal') log.error({ req: request, code, err: cause ?? error }, 'request failed')
  // Many requests are refused for one reason, which is logged where it lies.
  else log.warn({ req: request, code, reason: cause instanceof Error ? cause.message : message }, 'request refused')
}

/** What reaches the socket is no HTTP, or too slow, or has headers without end: there is no request to answer properly. */
function answerClientError(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  if (socket.writable) {
    const status =
      error.code === 'HPE_HEADER_OVERFLOW'
        ? '431 Request Header Fields Too Large'
        : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? '408 Request Timeout'
          : '400 Bad Request'
    const body = status.startsWith('408')
      ? '{"error":{"code":"request_timeout","message":"the request does not arrive fast enough"}}'
      : '{"error":{"code":"invalid_body","message":"the request is no valid HTTP"}}'
    socket.write(
      `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
  }
  socket.destroySoon()
}
