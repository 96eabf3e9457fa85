import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { connect } from '../../../src/store/redis/connection.ts'
import { openRedisStore } from '../../../src/store/redis/redis-store.ts'

let server: Server | undefined
afterEach(() => server?.close())

/**
 * As much of a server as a client asks of it before it is ready. Answers its URL; `info` is what it says of itself. The
 * user may not run the command `refused`.
 */
async function startServer(info: () => string, refused?: string): Promise<string> {
  server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      for (const [, name] of chunk.toString().matchAll(/\*\d+\r\n\$\d+\r\n(\w+)\r\n/g)) {
        const command = name!.toLowerCase()
        if (command !== 'info') {
          socket.write(command === refused ? '-NOPERM no permission\r\n' : '+OK\r\n')
          continue
        }
        const text = info()
        socket.write(`$${text.length}\r\n${text}\r\n`)
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server does not listen')
  return `redis://127.0.0.1:${address.port}`
}

describe('a connection to a server that loads its data', () => {
  it('is ready soon after the server is, whatever time the server had estimated', async () => {
    let asked = 0
    const url = await startServer(
      () => `redis_version:7.0.15\r\nloading:${asked++ < 4 ? 1 : 0}\r\nloading_eta_seconds:60`,
    )
    const connections = await connect({ url }, { startTimeoutMs: 5_000 })
    connections.close()
    expect(asked).toBeGreaterThan(4)
  })
})

it.each(['ping', 'get'])('a server whose user may not run %s is named in the error', async (command) => {
  const url = await startServer(() => 'redis_version:7.0.15\r\nloading:0', command)
  const shape = { partitions: 1, resolutions: [], setResolutions: [] }
  const opening = openRedisStore({ url, prefix: 'gq', ...shape })
  await expect(opening).rejects.toThrow(`cannot use Redis at ${url}: NOPERM no permission`)
})
