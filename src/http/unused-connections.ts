import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/**
 * Connections over which nothing has been asked, such as browsers open in advance. Node does not count them among the idle
 * ones, and would wait for their first request while it closes.
 */
export function watchUnusedConnections(server: Server): { close(): void } {
  const unused = new Set<Socket>()
  server.on('connection', (socket) => {
    unused.add(socket)
    socket.once('close', () => unused.delete(socket))
  })
  server.on('request', ({ socket }) => unused.delete(socket))
  return {
    close() {
      for (const socket of unused) socket.destroy()
    },
  }
}
