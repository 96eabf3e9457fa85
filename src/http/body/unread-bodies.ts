import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { StallWatch } from './stall-watch.ts'

/**
 * Maximum `Content-Length` of a refused body whose remaining bytes are discarded, and maximum of these remaining bytes,
 * as a multiple of the size limit of a body. Beyond it, the connection is closed.
 */
const DISCARDED_BODY_FACTOR_MAX = 2

/**
 * Handles requests that are refused before their whole body has arrived. Closing the connection at once would reset it
 * while the client still sends, and the client might never see the response. So the remaining bytes of the body are
 * read and discarded. The connection is closed only when the body is far too large or stalls.
 */
export function discardUnreadBodies(app: FastifyInstance, stallWatch: StallWatch, bodyBytesMax: number): void {
  const bytesMax = DISCARDED_BODY_FACTOR_MAX * bodyBytesMax
  app.addHook('onSend', (request, reply, _payload, done) => {
    // Fastify sets `connection: close` after every error of a body. The header is removed only if set: removing it
    // always would also suppress the one that Node adds. After a stall it stays: nobody waits for the rest any more.
    if (reply.hasHeader('connection') && !request.hasStalledBody) {
      const isFarTooLarge = Number(request.headers['content-length']) > bytesMax
      if (!isFarTooLarge) reply.removeHeader('connection')
    }
    done()
  })
  app.addHook('onResponse', ({ raw }, _reply, done) => {
    if (raw.complete === false && !raw.socket.destroyed) closeIfRemainderStalls(raw, stallWatch, bytesMax)
    done()
  })
}

/** Closes the connection when the remaining bytes of the body stall or exceed `bytesMax`. */
function closeIfRemainderStalls(raw: IncomingMessage, stallWatch: StallWatch, bytesMax: number): void {
  const { socket } = raw
  const socketBytesMax = socket.bytesRead + bytesMax
  // Bytes beyond `bytesMax` are not counted, so that a longer body counts as stalled.
  const unwatch = stallWatch.watch(
    () => Math.min(socket.bytesRead, socketBytesMax),
    () => socket.destroy(),
  )
  const stopWatching = (): void => {
    unwatch()
    raw.off('end', stopWatching)
    socket.off('close', stopWatching)
  }
  raw.once('end', stopWatching)
  socket.once('close', stopWatching)
}
