import type { FastifyInstance, FastifyReply } from 'fastify'

/**
 * Adds the request id and the security headers to the responses of all routes: no content sniffing, no framing, no
 * referrer. The hook runs before those of routes, so error responses have the headers too. Those of CORS are in
 * `cors.ts`.
 */
export function addCommonHeaders(app: FastifyInstance): void {
  app.addHook('onRequest', (_request, reply, done) => {
    setCommonHeaders(reply)
    done()
  })
}

/** Names and values, in turn, of the security headers. */
export const SECURITY_HEADERS: readonly string[] = [
  ...['x-content-type-options', 'nosniff'],
  ...['x-frame-options', 'DENY'],
  ...['referrer-policy', 'no-referrer'],
]

/** Sets the request id and the security headers. Called directly if Fastify responds before any hook has run. */
export function setCommonHeaders(reply: FastifyReply): void {
  reply.header('x-request-id', reply.request.id)
  for (let i = 0; i < SECURITY_HEADERS.length; i += 2) reply.header(SECURITY_HEADERS[i]!, SECURITY_HEADERS[i + 1])
}
