import type { FastifyInstance, FastifyRequest } from 'fastify'
import { GatewayError } from '../model/errors.ts'

/**
 * Bounds the bodies that are being received or worked on, all connections together: each may be within its own limit and
 * their sum still be more memory than there is. A request that does not fit is refused before any of its body is read.
 */
export function boundBodies(app: FastifyInstance, bytesMax: number, bodyBytesMax: number): void {
  let held = 0
  app.addHook('onRequest', (request, reply, done) => {
    const bytes = announcedBytes(request, bodyBytesMax)
    if (bytes === 0) {
      done()
      return
    }
    if (held + bytes > bytesMax) {
      done(new GatewayError('overloaded', 'too many large requests are being received; try again shortly'))
      return
    }
    held += bytes
    // However it ends: answered, refused or hung up on.
    reply.raw.once('close', () => {
      held -= bytes
    })
    done()
  })
}

/** A body of unknown length may become as large as a body may be. A larger one is refused when it is read. */
function announcedBytes({ headers }: FastifyRequest, bodyBytesMax: number): number {
  const length = headers['content-length']
  if (length !== undefined) return Math.min(Number(length), bodyBytesMax)
  return headers['transfer-encoding'] === undefined ? 0 : bodyBytesMax
}
