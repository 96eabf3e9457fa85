import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** How often idle connections are closed during shutdown. */
const IDLE_CLOSE_INTERVAL_MS = 50

/**
 * Prepares the graceful shutdown of a server and returns the function that runs it: it refuses new connections,
 * finishes the requests whose headers have arrived, and closes idle connections. Connections that are still open after
 * `waitMsMax` are cut off. Call `prepareClosing` before the first connection, because it watches only new connections.
 */
export function prepareClosing(app: FastifyInstance, waitMsMax: number): () => Promise<void> {
  const unusedConnections = watchUnusedConnections(app.server)
  return async () => {
    // Otherwise a connection whose request ends during shutdown would stay open for Fastify's keep-alive time, 72 s.
    const sweepTimer = setInterval(() => {
      app.server.closeIdleConnections()
      for (const socket of unusedConnections) socket.destroy()
    }, IDLE_CLOSE_INTERVAL_MS)
    const cutOffTimer = setTimeout(() => app.server.closeAllConnections(), waitMsMax)
    try {
      await app.close()
    } finally {
      clearInterval(sweepTimer)
      clearTimeout(cutOffTimer)
    }
  }
}

/**
 * Returns a live set of the open connections on which no request has arrived yet: browsers open some in advance. Node
 * does not count them as idle, so a shutdown would wait for them.
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
