import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/**
 * A line between a gateway and its Redis that can be cut, can lose what the server answers, and can be led to another
 * server.
 */
export class TcpProxy {
  readonly #server: Server
  readonly #lines = new Set<{ readonly client: Socket; readonly upstream: Socket }>()
  #targetPort: number
  #lostTo: string | undefined

  private constructor(server: Server, targetPort: number) {
    this.#server = server
    this.#targetPort = targetPort
    server.on('connection', (client) => this.#join(client))
  }

  static async open(targetPort: number): Promise<TcpProxy> {
    const server = createServer({ noDelay: true })
    const proxy = new TcpProxy(server, targetPort)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return proxy
  }

  get url(): string {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen')
    return `redis://127.0.0.1:${address.port}`
  }

  /** From now on a connection on which the server is told this hears nothing more of it, until the next cut. */
  loseRepliesTo(text: string): void {
    this.#lostTo = text
  }

  /** Ends every connection, and lets new ones through, to this server. */
  cut(targetPort = this.#targetPort): void {
    this.#lostTo = undefined
    this.#targetPort = targetPort
    for (const { client, upstream } of this.#lines) {
      client.destroy()
      upstream.destroy()
    }
    this.#lines.clear()
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.cut()
    await closed
  }

  #join(client: Socket): void {
    const upstream = connect({ port: this.#targetPort, host: '127.0.0.1', noDelay: true })
    const line = { client, upstream }
    this.#lines.add(line)
    const end = (): void => {
      this.#lines.delete(line)
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
    let isLost = false
    client.on('data', (chunk) => {
      if (this.#lostTo !== undefined && chunk.includes(this.#lostTo)) isLost = true
      upstream.write(chunk)
    })
    upstream.on('data', (chunk) => {
      if (!isLost) client.write(chunk)
    })
  }
}
