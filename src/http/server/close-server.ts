import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** How often connections that have become idle are closed while the server closes. */
const SWEEP_MS = 50

/**
 * Makes the function that ends a server: no new connections, what has been asked is answered, connections that are idle then are
 * closed. After `waitMsMax` whoever is still not served is hung up on.
 */
export function prepareClosing(app: FastifyInstance, waitMsMax: number): () => Promise<void> {
  const unused = watchUnusedConnections(app.server)
  return async () => {
    // A connection that was answered while closing began is kept alive, and would hold up the end for a minute.
    const sweep = setInterval(() => {
      app.server.closeIdleConnections()
      for (const socket of unused) socket.destroy()
    }, SWEEP_MS)
    const end = setTimeout(() => app.server.closeAllConnections(), waitMsMax)
    try {
      await app.close()
    } finally {
      clearInterval(sweep)
      clearTimeout(end)
    }
  }
}

/**
 * Connections over which nothing has been asked, such as browsers open in advance. Node does not count them among the idle
 * ones, and would wait for their first request while it closes.
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
