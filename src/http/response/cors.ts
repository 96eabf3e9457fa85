import type { FastifyInstance } from 'fastify'
import { addVary } from './vary.ts'

/** Origins whose pages may call the gateway. `*`: all origins. */
export type CorsOrigins = readonly string[] | '*'

const ALLOWED_METHODS = 'GET, HEAD, POST, DELETE'
/** Request headers for which browsers need permission. The gateway reads all of them except `Last-Event-ID`. */
const ALLOWED_HEADER_NAMES =
  'Authorization, X-API-Key, Idempotency-Key, Content-Type, Content-Encoding, Last-Event-ID, X-Request-Id'
/** Response headers that pages may read. */
const EXPOSED_HEADER_NAMES = [
  'RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Request-Id',
  'X-Resolution, X-Buckets-Unavailable, X-Metrics-Accepted, X-Metrics-Rejected, X-Metrics-Unreadable-Time',
  'X-Next',
].join(', ')

/** Matches a list of header names (RFC 9110, "token"). Only a valid list is copied to a response. */
const HEADER_NAME_LIST = /^[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*$/
const HEADER_NAMES_CHARS_MAX = 4_096

/** How long browsers may cache a preflight. Two hours is the most that Chromium accepts. */
const PREFLIGHT_CACHED_SECONDS = 7_200

/**
 * Lets pages of other origins call the gateway (Fetch standard, "CORS protocol"). Browsers never send keys by
 * themselves, so credentials stay off and `*` is safe. Must be registered before hooks that may refuse a request, so
 * that pages can read errors. A preflight allows all requested headers if their list is valid: client libraries add
 * their own, and the gateway ignores unknown ones.
 */
export function allowOrigins(app: FastifyInstance, origins: CorsOrigins): void {
  const allowed = new Set(origins)
  app.addHook('onRequest', (request, reply, done) => {
    const { origin, 'access-control-request-method': requestedMethod } = request.headers
    if (origins === '*') reply.header('access-control-allow-origin', '*')
    else {
      addVary(reply, ['Origin'])
      if (origin === undefined || !allowed.has(origin)) {
        done()
        return
      }
      reply.header('access-control-allow-origin', origin)
    }
    if (request.method !== 'OPTIONS' || requestedMethod === undefined) {
      reply.header('access-control-expose-headers', EXPOSED_HEADER_NAMES)
      done()
      return
    }
    addVary(reply, ['Access-Control-Request-Headers'])
      .code(204)
      .header('access-control-allow-methods', ALLOWED_METHODS)
      .header('access-control-allow-headers', allowedHeaderNames(request.headers['access-control-request-headers']))
      .header('access-control-max-age', PREFLIGHT_CACHED_SECONDS)
      .send()
  })
}

/** Returns names and values, in turn, of the CORS headers of responses to requests without `Origin`. */
export function corsHeadersWithoutOrigin(origins: CorsOrigins | undefined): readonly string[] {
  if (origins === undefined) return []
  if (origins !== '*') return ['vary', 'Origin']
  return ['access-control-allow-origin', '*', 'access-control-expose-headers', EXPOSED_HEADER_NAMES]
}

/**
 * Returns the header names that a preflight allows: `ALLOWED_HEADER_NAMES`, and the requested ones if their list is
 * valid and not too long.
 */
function allowedHeaderNames(requested: string | undefined): string {
  if (requested === undefined || requested.length > HEADER_NAMES_CHARS_MAX || !HEADER_NAME_LIST.test(requested))
    return ALLOWED_HEADER_NAMES
  return `${ALLOWED_HEADER_NAMES}, ${requested}`
}
