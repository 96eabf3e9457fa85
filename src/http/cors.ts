import type { FastifyInstance } from 'fastify'

/** Origins whose pages may call the gateway; `*`: any. */
export type CorsOrigins = readonly string[] | '*'

const METHODS = 'GET, HEAD, POST, DELETE'
const REQUEST_HEADERS =
  'Authorization, X-API-Key, Idempotency-Key, Content-Type, Content-Encoding, Last-Event-ID, X-Request-Id'
const ANSWER_HEADERS =
  'RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Resolution, X-Request-Id, X-Metrics-Accepted, X-Metrics-Rejected'
/** Browsers ask again after so long; none waits longer than two hours. */
const PREFLIGHT_SECONDS = 7_200

/**
 * Lets pages of other origins call the gateway (Fetch standard, "CORS protocol"). Keys travel in headers and never by themselves,
 * so credentials stay off and `*` gives no page what it does not have. To be added before hooks that may refuse a request: a page
 * must be able to read why.
 */
export function allowOrigins(app: FastifyInstance, origins: CorsOrigins): void {
  const allowed = new Set(origins)
  app.addHook('onRequest', (request, reply, done) => {
    const { origin, 'access-control-request-method': asked } = request.headers
    if (origins !== '*') reply.header('vary', 'Origin')
    if (origin === undefined || (origins !== '*' && !allowed.has(origin))) {
      done()
      return
    }
    reply.header('access-control-allow-origin', origins === '*' ? '*' : origin)
    if (request.method !== 'OPTIONS' || asked === undefined) {
      reply.header('access-control-expose-headers', ANSWER_HEADERS)
      done()
      return
    }
    reply
      .code(204)
      .header('access-control-allow-methods', METHODS)
      .header('access-control-allow-headers', REQUEST_HEADERS)
      .header('access-control-max-age', PREFLIGHT_SECONDS)
      .send()
  })
}
