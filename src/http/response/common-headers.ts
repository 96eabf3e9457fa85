import type { FastifyInstance, FastifyReply } from 'fastify'

/** Adds the request id and the security headers to every response: no content sniffing, no framing, no referrer. */
export function addCommonHeaders(app: FastifyInstance): void {
  app.addHook('onRequest', (_request, reply, done) => {
    setCommonHeaders(reply)
    done()
  })
}

/** For responses that Fastify sends before any hook has run. */
export function setCommonHeaders(reply: FastifyReply): void {
  reply
    .header('x-request-id', reply.request.id)
    .header('x-content-type-options', 'nosniff')
    .header('x-frame-options', 'DENY')
    .header('referrer-policy', 'no-referrer')
}
