import type { FastifyInstance } from 'fastify'
import { addVary } from './vary.ts'

/** Origins whose pages may call the gateway; `*`: any. */
export type CorsOrigins = readonly string[] | '*'

const METHODS = 'GET, HEAD, POST, DELETE'
const REQUEST_HEADERS =
  'Authorization, X-API-Key, Idempotency-Key, Content-Type, Content-Encoding, Last-Event-ID, X-Request-Id'
/** Response headers that pages may read. */
const RESPONSE_HEADERS = [
  'RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Request-Id, ETag',
  'X-Resolution, X-Buckets-Unavailable, X-Metrics-Accepted, X-Metrics-Rejected, X-Metrics-Unreadable-Time',
].join(', ')

/** Header names in a list (RFC 9110, "token"); anything else is not repeated in a response. */
const HEADER_NAMES = /^[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*$/
const HEADER_NAMES_CHARS_MAX = 4_096

/** Browsers ask again after so long; none waits longer than two hours. */
const PREFLIGHT_SECONDS = 7_200

/**
 * Lets pages of other origins call the gateway (Fetch standard, "CORS protocol"). Keys travel in headers and never by themselves,
 * so credentials stay off and `*` gives no page what it does not have. To be added before hooks that may refuse a request: a page
 * must be able to read why. A preflight allows every header it asks for: tracing and client libraries add their own, and a header
 * that the gateway does not know does nothing.
 */
export function allowOrigins(app: FastifyInstance, origins: CorsOrigins): void {
  const allowed = new Set(origins)
  app.addHook('onRequest', (request, reply, done) => {
    const { origin, 'access-control-request-method': asked } = request.headers
    if (origins === '*') reply.header('access-control-allow-origin', '*')
    else {
      addVary(reply, ['Origin'])
      if (origin === undefined || !allowed.has(origin)) {
        done()
        return
      }
      reply.header('access-control-allow-origin', origin)
    }
    if (request.method !== 'OPTIONS' || asked === undefined) {
      reply.header('access-control-expose-headers', RESPONSE_HEADERS)
      done()
      return
    }
    addVary(reply, ['Access-Control-Request-Headers'])
      .code(204)
      .header('access-control-allow-methods', METHODS)
      .header('access-control-allow-headers', allowedHeaders(request.headers['access-control-request-headers']))
      .header('access-control-max-age', PREFLIGHT_SECONDS)
      .send()
  })
}

/** The headers that the gateway knows, and those asked for. */
function allowedHeaders(asked: string | undefined): string {
  if (asked === undefined || asked.length > HEADER_NAMES_CHARS_MAX || !HEADER_NAMES.test(asked)) return REQUEST_HEADERS
  return `${REQUEST_HEADERS}, ${asked}`
}
