import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { fastify } from 'fastify'
import type { Logger } from 'pino'
import type { Gateway } from '../gateway.ts'
import { assert, type ErrorCode, GatewayError } from '../model/errors.ts'
import type { Telemetry } from '../telemetry/telemetry-interface.ts'
import { declarePrincipal } from './access/authenticate.ts'
import type { BetterStackLimits } from './better-stack/better-stack-routes.ts'
import {
  REQUEST_POINTS_MAX,
  registerBetterStackRoutes,
  sendBetterStackError,
} from './better-stack/better-stack-routes.ts'
import { BODY_STALL_MS, type BodyLimits, registerBodyParser } from './body/request-body.ts'
import { createFastPath, FAST_PATH_URL, type RequestHandler, type ServedRequest } from './flux/fast-path.ts'
import { registerFluxEventRoutes } from './flux/flux-event-routes.ts'
import type { FluxLimits } from './flux/flux-routes.ts'
import { registerFluxRoutes } from './flux/flux-routes.ts'
import { registerOpenApi } from './openapi/openapi-route.ts'
import type { Route } from './openapi/operation.ts'
import { sendOtlpError } from './otlp/otlp-response.ts'
import { type OtlpLimits, registerOtlpRoutes } from './otlp/otlp-routes.ts'
import { registerClientModules } from './pages/client-modules.ts'
import { createPageAssets, type PageAssets } from './pages/page-assets.ts'
import { registerPages } from './pages/page-routes.ts'
import { registerRemoteWriteRoute, sendRemoteWriteError } from './prometheus/remote-write-routes.ts'
import { addCommonHeaders, setCommonHeaders } from './response/common-headers.ts'
import { allowOrigins, type CorsOrigins, corsHeadersWithoutOrigin } from './response/cors.ts'
import { asGatewayError, errorJson, sendError, statusOf } from './response/error-status.ts'
import { READY_WAIT_MS, registerHealthRoutes } from './server/health.ts'
import { createRequestIdGenerator } from './server/request-id.ts'

export interface ServerOptions {
  readonly gateway: Gateway
  readonly log: Logger
  readonly now: () => number
  readonly telemetry: Telemetry
  readonly limits: ServerLimits
  /**
   * Reads the files of the pages for browsers. Passed in if the GraphQL playground uses the same files. Undefined: the
   * server creates its own reader.
   */
  readonly readAssets?: (() => Promise<PageAssets>) | undefined
  /** Proxies whose `X-Forwarded-For` is trusted: a number of hops, or addresses and CIDRs. Undefined: none. */
  readonly trustProxy?: number | readonly string[] | undefined
  /** Origins whose pages may call the gateway. Undefined: only its own. */
  readonly corsOrigins?: CorsOrigins | undefined
  /** Whether shutdown has begun. */
  readonly isDraining?: () => boolean
  /** Folder of the modules for browsers. Undefined: the folder into which the build writes them. */
  readonly clientFolder?: URL | undefined
}

export interface ServerLimits extends FluxLimits, BetterStackLimits, OtlpLimits, BodyLimits {
  /** Maximum number of open connections. Further connections are closed at once. */
  readonly connectionsMax: number
  /** How long `/ready` waits for the store. */
  readonly readyWaitMs: number
}

/** Server limits that no setting changes. */
export const FIXED_SERVER_LIMITS = {
  bodyStallMs: BODY_STALL_MS,
  requestPointsMax: REQUEST_POINTS_MAX,
  readyWaitMs: READY_WAIT_MS,
}

/** Maximum time for a whole request to arrive. A body of 20 MiB then needs 1.4 Mbit/s. */
const REQUEST_TIMEOUT_MS = 120_000

/** Maximum time for the headers to arrive. It is short, because the client is not authenticated yet. */
const HEADERS_TIMEOUT_MS = 20_000
/** How often Node checks both timeouts. */
const SLOW_REQUESTS_CHECK_INTERVAL_MS = 5_000

/** Maximum length of a path parameter in UTF-16 code units, after percent-decoding. Metric names are far shorter. */
const PATH_PARAMETER_CHARS_MAX = 4_096

/**
 * Creates the HTTP server with the hooks of all routes and the routes of each API except GraphQL. The server does not
 * listen yet. Closing it finishes the accepted requests, but does not close the gateway.
 */
export function createServer(options: ServerOptions): FastifyInstance {
  const { gateway, log, now, telemetry, limits, trustProxy, corsOrigins } = options
  const requestLog = withRedactedKeys(log)
  const newRequestId = createRequestIdGenerator()
  let isClosing = false
  // Fastify gets no logger, because its logging costs time on each request. The error handlers and the fast path log
  // errors with a 5xx status.
  const app = fastify({
    genReqId: newRequestId,
    requestTimeout: REQUEST_TIMEOUT_MS,
    http: { headersTimeout: HEADERS_TIMEOUT_MS, connectionsCheckingInterval: SLOW_REQUESTS_CHECK_INTERVAL_MS },
    // Routes parse the query string themselves.
    routerOptions: { maxParamLength: PATH_PARAMETER_CHARS_MAX, querystringParser: () => EMPTY_QUERY },
    return503OnClosing: false,
    trustProxy: fastifyTrustProxy(trustProxy),
    clientErrorHandler: respondToClientError,
    frameworkErrors: (error, _request, reply) => {
      setCommonHeaders(reply)
      sendError(reply, asGatewayError(error))
    },
  })
  app.server.maxConnections = limits.connectionsMax
  const countResponses = collectRoutes(app, telemetry)
  addCommonHeaders(app)
  if (corsOrigins !== undefined) allowOrigins(app, corsOrigins)
  declarePrincipal(app)
  registerBodyParser(app, limits)
  const createErrorHandler =
    (send: (reply: FastifyReply, error: GatewayError) => FastifyReply) =>
    (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
      const gatewayError = asGatewayError(error)
      if (statusOf(gatewayError.code) >= 500) logFailure(requestLog, request, gatewayError)
      return send(reply, gatewayError)
    }
  app.setErrorHandler(createErrorHandler(sendError))
  const countUnknownRoute = telemetry.createResponseCounter('none')
  app.setNotFoundHandler((request, reply) => {
    countUnknownRoute(request.method, 404)
    return sendError(reply, new GatewayError('not_found', `there is no route for ${request.method} at this path`))
  })
  if (log.isLevelEnabled('debug')) {
    app.addHook('onResponse', (request, reply, done) => {
      requestLog.debug({ req: request, status: reply.statusCode, durationMs: reply.elapsedTime }, 'request')
      done()
    })
  }

  registerRoutes(app, options, requestLog, createErrorHandler)
  app.addHook('preClose', (done) => {
    isClosing = true
    done()
  })
  // At debug level, the `onResponse` hook above logs each request. The fast path runs no hooks, so it is not used then.
  if (!log.isLevelEnabled('debug')) {
    wrapRequestHandler(app, (framework) =>
      createFastPath(
        {
          gateway,
          now,
          limits,
          bodyBudget: app.bodyBudget,
          newRequestId,
          corsHeaders: corsHeadersWithoutOrigin(corsOrigins),
          isClosing: () => isClosing,
          countResponse: (method, status) => countResponses(FAST_PATH_URL, method, status),
          logFailure: (request, error) => logFailure(requestLog, request, error),
        },
        framework,
      ),
    )
  }
  return app
}

type ErrorHandler = (error: unknown, request: FastifyRequest, reply: FastifyReply) => FastifyReply

/**
 * Registers the routes of each API except GraphQL. `createErrorHandler` makes an error handler from the function that
 * sends an API's errors.
 */
function registerRoutes(
  app: FastifyInstance,
  options: ServerOptions,
  log: Logger,
  createErrorHandler: (send: (reply: FastifyReply, error: GatewayError) => FastifyReply) => ErrorHandler,
): void {
  const { gateway, now, telemetry, limits, isDraining = () => false } = options
  registerOpenApi(app, limits)
  registerClientModules(app, options.clientFolder)
  registerPages(app, options.readAssets ?? createPageAssets())
  registerHealthRoutes(app, { gateway, telemetry, readyWaitMs: limits.readyWaitMs, isDraining })
  app.register(async (scope) => registerFluxRoutes(scope, { gateway, now, limits }), { prefix: '/api/v1' })
  app.register(async (scope) => registerFluxEventRoutes(scope, { gateway, now, limits }), { prefix: '/api/v1' })
  app.register(async (scope) => {
    scope.setErrorHandler(createErrorHandler(sendBetterStackError))
    registerBetterStackRoutes(scope, { gateway, log, now, limits })
  })
  app.register(async (scope) => {
    scope.setErrorHandler(createErrorHandler(sendOtlpError))
    registerOtlpRoutes(scope, { gateway, now, limits })
  })
  app.register(
    async (scope) => {
      scope.setErrorHandler(createErrorHandler(sendRemoteWriteError))
      registerRemoteWriteRoute(scope, { gateway, now, limits })
    },
    { prefix: '/api/v1' },
  )
}

/**
 * Replaces Fastify's request handler. `wrap` receives Fastify's handler, so that the new handler can pass requests to
 * it.
 */
function wrapRequestHandler(app: FastifyInstance, wrap: (framework: RequestHandler) => RequestHandler): void {
  const [framework, ...others] = app.server.listeners('request') as RequestHandler[]
  assert(framework !== undefined && others.length === 0, 'the framework has one handler of requests')
  app.server.off('request', framework).on('request', wrap(framework))
}

type CountResponses = (path: string, method: string, status: number) => void

/**
 * Registers an `onRoute` hook that adds every route to `app.routes` and counts its responses. Returns a function that
 * counts a response which Fastify does not send.
 */
function collectRoutes(app: FastifyInstance, telemetry: Telemetry): CountResponses {
  const routes: Route[] = []
  const counters = new Map<string, (method: string, status: number) => void>()
  app.decorate('routes', routes)
  app.addHook('onRoute', (route) => {
    const { url: path, config } = route
    for (const method of [route.method].flat()) routes.push({ method, path, operation: config?.openapi })
    const count = counters.get(path) ?? telemetry.createResponseCounter(path)
    counters.set(path, count)
    const onResponse = [route.onResponse ?? []].flat()
    onResponse.push((request, reply, done) => {
      count(request.method, reply.statusCode)
      done()
    })
    route.onResponse = onResponse
  })
  return (path, method, status) => counters.get(path)?.(method, status)
}

/**
 * Converts `trustProxy` to an option of Fastify. A number of hops becomes a function: for a number, Fastify trusts no
 * proxy, because a client that connects directly could forge `X-Forwarded-For`. So an operator who sets a number of
 * hops must make sure that no client connects directly.
 */
function fastifyTrustProxy(
  trusted: ServerOptions['trustProxy'],
): boolean | string[] | ((address: string, hop: number) => boolean) {
  if (trusted === undefined) return false
  return typeof trusted === 'number' ? (_address, hop) => hop < trusted : [...trusted]
}

const EMPTY_QUERY = Object.freeze({})

/** Returns a logger that redacts API keys. Headers are not logged, but a logged error may contain them. */
function withRedactedKeys(log: Logger): Logger {
  const headers = ['headers', 'req.headers', 'err.headers', 'err.cause.headers']
  return log.child(
    {},
    {
      redact: headers.flatMap((path) => [`${path}.authorization`, `${path}["x-api-key"]`]),
      serializers: { req: loggedFieldsOf },
    },
  )
}

/** Returns the fields of a request that are logged: no headers, and the path without the query string. */
function loggedFieldsOf(request: ServedRequest): {
  readonly id: string
  readonly method: string
  readonly path: string
} {
  const { id, method, url } = request
  const end = url.indexOf('?')
  return { id, method, path: end < 0 ? url : url.slice(0, end) }
}

function logFailure(log: Logger, request: ServedRequest, error: GatewayError): void {
  const { code, message, cause } = error
  if (code === 'internal') log.error({ req: request, code, err: cause ?? error }, 'request failed')
  // Many requests may fail for one reason, such as a store that is down. The store's own error is logged in full where
  // it occurs.
  else log.warn({ req: request, code, reason: cause instanceof Error ? cause.message : message }, 'request refused')
}

/**
 * Responds to malformed HTTP, to headers that are too large and to requests that arrive too slowly, and closes the
 * connection. Node passes the error and the socket, but no request.
 */
function respondToClientError(error: Error & { readonly code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  if (socket.writable) {
    const { status, body } = CLIENT_ERROR_RESPONSES.get(error.code) ?? MALFORMED_REQUEST
    socket.write(
      `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
  }
  socket.destroySoon()
}

interface ClientErrorResponse {
  readonly status: string
  readonly body: string
}

function clientErrorResponse(status: string, code: ErrorCode, message: string): ClientErrorResponse {
  return { status, body: errorJson(new GatewayError(code, message)) }
}

const MALFORMED_REQUEST = clientErrorResponse('400 Bad Request', 'invalid_body', 'the request is not valid HTTP')

/** Responses to requests that Node could not read, by Node's error code. Any other code gets `MALFORMED_REQUEST`. */
const CLIENT_ERROR_RESPONSES = new Map<string | undefined, ClientErrorResponse>([
  [
    'HPE_HEADER_OVERFLOW',
    clientErrorResponse(
      '431 Request Header Fields Too Large',
      'invalid_body',
      'the headers of the request are too large',
    ),
  ],
  [
    'ERR_HTTP_REQUEST_TIMEOUT',
    clientErrorResponse('408 Request Timeout', 'request_timeout', 'the request arrived too slowly'),
  ],
])
