import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Arrivals } from './arrivals.ts'

/** A refused body is read on up to so many times the limit of a body. */
const READ_ON_TIMES = 2

/**
 * Many requests are refused before their body has arrived. Closing the connection at once would reset it under a client that is
 * still sending, and many would never see the response. The rest of the body is read and thrown away instead, within
 * bounds: the connection is closed when the body is far too large, or stalls.
 */
export function endRefusedBodies(app: FastifyInstance, arrivals: Arrivals, bodyBytesMax: number): void {
  const bytesMax = READ_ON_TIMES * bodyBytesMax
  app.addHook('onSend', (request, reply, _payload, done) => {
    // The web framework closes the connection after every error of a body. Removing a header that is not there would hide Node's own.
    if (reply.hasHeader('connection') && reply.statusCode !== STALLED) {
      const isFarTooLarge = Number(request.headers['content-length']) > bytesMax
      if (!isFarTooLarge) reply.removeHeader('connection')
    }
    done()
  })
  app.addHook('onResponse', ({ raw }, _reply, done) => {
    if (raw.complete === false && !raw.socket.destroyed) watchRest(raw, arrivals, bytesMax)
    done()
  })
}

const STALLED = 408

function watchRest(raw: IncomingMessage, arrivals: Arrivals, bytesMax: number): void {
  const { socket } = raw
  const readMax = socket.bytesRead + bytesMax
  // Beyond the bound nothing more counts as arrived.
  const unwatch = arrivals.watch(
    () => Math.min(socket.bytesRead, readMax),
    () => socket.destroy(),
  )
  const end = (): void => {
    unwatch()
    raw.off('end', end)
    socket.off('close', end)
  }
  raw.once('end', end)
  socket.once('close', end)
}
