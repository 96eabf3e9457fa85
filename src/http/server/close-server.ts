import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** How often idle connections are closed during shutdown. */
const IDLE_CLOSE_INTERVAL_MS = 50

/**
 * Prepares the graceful shutdown of a server and returns the function that runs it: new connections are refused,
 * accepted requests are finished, idle connections are closed. Connections that are still open after `waitMsMax` are
 * cut off.
 */
export function prepareClosing(app: FastifyInstance, waitMsMax: number): () => Promise<void> {
  const unusedConnections = watchUnusedConnections(app.server)
  return async () => {
    // A keep-alive connection whose request ends during shutdown would delay the shutdown by a minute.
    const sweep = setInterval(() => {
      app.server.closeIdleConnections()
      for (const socket of unusedConnections) socket.destroy()
    }, IDLE_CLOSE_INTERVAL_MS)
    const cutOff = setTimeout(() => app.server.closeAllConnections(), waitMsMax)
    try {
      await app.close()
    } finally {
      clearInterval(sweep)
      clearTimeout(cutOff)
    }
  }
}

/**
 * Returns a live set of the open connections that have not sent any request yet: browsers open some in advance. Node
 * does not count them as idle, so a shutdown would wait for their first request.
 */
function watchUnusedConnections(server: Server): Iterable<Socket> {
  const unused = new Set<Socket>()
  server.on('connection', (socket) => {
    unused.add(socket)
    socket.once('close', () => unused.delete(socket))
  })
  server.on('request', ({ socket }) => unused.delete(socket))
  return unused
}
