import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { Principal, RateLimitDecision } from '../../gateway.ts'
import type { GatewayError } from '../../model/errors.ts'
import { apiKeyInHeaders } from '../access/authenticate.ts'
import { rateLimitedError, rateLimitHeaders } from '../access/rate-limit.ts'
import type { BodyBudget } from '../body/body-budget.ts'
import type { BodyLimits } from '../body/request-body.ts'
import { SECURITY_HEADERS } from '../response/common-headers.ts'
import { asGatewayError, errorHeaders, errorJson, statusOf } from '../response/error-status.ts'
import { JSON_HEADERS } from '../response/json-response.ts'
import type { FluxLimits } from './flux-routes.ts'
import { type StorePointOptions, storePoint } from './store-point.ts'

/**
 * A fast path for `POST /api/v1/metrics`, the most frequent request: the life cycle of Fastify (the framework) costs
 * more than all other work for such a request. The fast path serves plain requests with a small body that arrived
 * together with the headers, and with a key that is authenticated at once and has the scope `ingest`. It passes any
 * other request to Fastify, unread. Invariant: the response is the same as that of the route in Fastify.
 */
export interface FastPathOptions extends StorePointOptions {
  readonly limits: FluxLimits & Pick<BodyLimits, 'bodyBytesMax' | 'bodiesBytesPerNetworkMax'>
  readonly bodyBudget: BodyBudget
  readonly newRequestId: (request: IncomingMessage) => string
  /** Names and values, in turn, of the CORS headers of a response to a request without `Origin`. */
  readonly corsHeaders: readonly string[]
  /** Whether the server is closing. The framework then serves every request, because it also closes the connections. */
  readonly isClosing: () => boolean
  readonly countResponse: (method: string, status: number) => void
  readonly logFailure: (request: ServedRequest, error: GatewayError) => void
}

export interface ServedRequest {
  readonly id: string
  readonly method: string
  readonly url: string
}

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void

const FAST_PATH_METHOD = 'POST'
export const FAST_PATH_URL = '/api/v1/metrics'

/**
 * Maximum body size on the fast path; less if a setting allows less. Bodies of this size take so little memory, even on
 * all connections together, that the bytes of each client network need not be limited.
 */
export const FAST_PATH_BYTES_MAX = 4_096

export function createFastPath(options: FastPathOptions, framework: RequestHandler): RequestHandler {
  const { bodyBytesMax, bodiesBytesPerNetworkMax } = options.limits
  const bytesMax = Math.min(FAST_PATH_BYTES_MAX, bodyBytesMax, bodiesBytesPerNetworkMax)
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    // A body that arrived together with the headers becomes readable one microtask after the headers.
    await undefined
    const bodyBytes = fastPathBodyBytes(request.headers, bytesMax)
    const { gateway } = options
    const key = apiKeyInHeaders(request.headers.authorization, request.headers['x-api-key'])
    if (bodyBytes === undefined || request.readableLength !== bodyBytes || key === undefined) {
      framework(request, response)
      return
    }
    const principal = gateway.authenticate(key)
    if (principal === undefined || principal instanceof Promise || !principal.scopes.includes('ingest')) {
      // A failure of this lookup is ignored: the framework authenticates again, and responds if that fails.
      if (principal instanceof Promise) principal.catch(() => {})
      framework(request, response)
      return
    }
    await storeAndRespond(options, principal, request, response, bodyBytes)
  }
  return (request, response) => {
    if (request.url !== FAST_PATH_URL || request.method !== FAST_PATH_METHOD || options.isClosing())
      framework(request, response)
    else {
      serve(request, response).catch((cause: unknown) => {
        options.logFailure({ id: '', method: FAST_PATH_METHOD, url: FAST_PATH_URL }, asGatewayError(cause))
        response.destroy()
      })
    }
  }
}

/**
 * Returns the body's length from the headers; undefined if they are not those of a plain request with a body of at most
 * `bytesMax`.
 */
function fastPathBodyBytes(headers: IncomingHttpHeaders, bytesMax: number): number | undefined {
  const isPlain =
    headers['content-type'] === 'application/json' &&
    headers['content-encoding'] === undefined &&
    headers['transfer-encoding'] === undefined &&
    headers['idempotency-key'] === undefined &&
    headers.origin === undefined &&
    headers['x-forwarded-for'] === undefined &&
    headers.expect === undefined
  const length = isPlain ? Number(headers['content-length']) : 0
  return length > 0 && length <= bytesMax ? length : undefined
}

async function storeAndRespond(
  options: FastPathOptions,
  principal: Principal,
  request: IncomingMessage,
  response: ServerResponse,
  bodyBytes: number,
): Promise<void> {
  const id = options.newRequestId(request)
  const headers = ['x-request-id', id, ...SECURITY_HEADERS, ...options.corsHeaders]
  let status = 201
  let json: string
  try {
    const decisionOrPromise = options.gateway.takePermit(principal, 'single', request.socket.remoteAddress ?? '')
    const decision = decisionOrPromise instanceof Promise ? await decisionOrPromise : decisionOrPromise
    if (decision !== undefined) requireGranted(decision, headers)
    options.bodyBudget.changeUsedBytes(bodyBytes)
    try {
      json = await storePoint(options, principal.project, request.read() as Buffer, NO_TRACK_OPTIONS)
    } finally {
      options.bodyBudget.changeUsedBytes(-bodyBytes)
    }
  } catch (cause) {
    const error = asGatewayError(cause)
    status = statusOf(error.code)
    if (status >= 500) options.logFailure({ id, method: FAST_PATH_METHOD, url: FAST_PATH_URL }, error)
    headers.push(...errorHeaders(error.code))
    json = errorJson(error)
  }
  headers.push(...JSON_HEADERS, 'content-length', String(Buffer.byteLength(json)))
  response.writeHead(status, headers)
  response.end(json)
  options.countResponse(FAST_PATH_METHOD, status)
}

const NO_TRACK_OPTIONS = {}

/** Adds the rate-limit headers to `headers`. Throws `rate_limited` if the request is refused. */
function requireGranted(decision: RateLimitDecision, headers: string[]): void {
  for (const [name, value] of rateLimitHeaders(decision)) headers.push(name, String(value))
  if (!decision.isGranted) throw rateLimitedError(decision)
}
