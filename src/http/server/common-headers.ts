import type { FastifyInstance, FastifyReply } from 'fastify'

/** Gives every answer its id, and tells browsers to take it for nothing else, to frame it nowhere, and to name it to nobody. */
export function addCommonHeaders(app: FastifyInstance): void {
  app.addHook('onRequest', (_request, reply, done) => {
    setCommonHeaders(reply)
    done()
  })
}

/** For answers that no hook comes before. */
export function setCommonHeaders(reply: FastifyReply): void {
  reply
    .header('x-request-id', reply.request.id)
    .header('x-content-type-options', 'nosniff')
    .header('x-frame-options', 'DENY')
    .header('referrer-policy', 'no-referrer')
}
