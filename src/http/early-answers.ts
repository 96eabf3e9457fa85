import type { FastifyInstance } from 'fastify'

/**
 * A body that is too large is refused before it has arrived. Closing the connection then, as Fastify does, resets it under a client that
 * is still sending, and many never see the answer. A body that is not much too large is read to its end instead, and
 * thrown away as it comes; whoever announces more, or nothing, is cut off.
 */
export function letRefusedBodiesEnd(app: FastifyInstance, bodyBytesMax: number): void {
  app.addHook('onSend', (request, reply, _payload, done) => {
    const announced = Number(request.headers['content-length'] ?? Number.POSITIVE_INFINITY)
    if (reply.statusCode === 413 && announced <= READ_TO_END_MAX * bodyBytesMax) reply.removeHeader('connection')
    done()
  })
}

/** Bodies of so many times the limit are read to their end. */
const READ_TO_END_MAX = 2
