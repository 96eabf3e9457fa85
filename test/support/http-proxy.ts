import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'

/** A request that arrived at the proxy. */
export interface SeenRequest {
  readonly body: string
  readonly atMs: number
}

/** What the proxy does with a request: forward it, lose it, lose the response to it, or respond by itself. */
export type Fault =
  | 'none'
  | 'loseRequest'
  | 'loseResponse'
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }

export interface HttpProxy {
  readonly url: string
  readonly seen: readonly SeenRequest[]
  /** Most requests at the same time so far. */
  readonly concurrencyMax: number
  /** Decides about each request from now on, by its number from 0 on. */
  fail(faultOf: (request: number) => Fault): void
  close(): Promise<void>
}

/** A proxy between a client and a gateway that fails as networks and load balancers do. */
export async function openHttpProxy(target: string): Promise<HttpProxy> {
  const seen: SeenRequest[] = []
  let faultOf: (request: number) => Fault = () => 'none'
  let first = 0
  let running = 0
  let concurrencyMax = 0

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const body = Buffer.concat(chunks)
    const fault = faultOf(seen.length - first)
    seen.push({ body: body.toString(), atMs: Date.now() })
    if (fault === 'loseRequest') {
      response.destroy()
      return
    }
    if (typeof fault === 'object') {
      response.writeHead(fault.status, fault.headers).end(fault.body)
      return
    }
    const { authorization = '', 'content-type': type = '' } = request.headers
    const answer = await fetch(`${target}${request.url}`, {
      method: request.method ?? 'GET',
      headers: { authorization, 'content-type': type },
      ...(body.length > 0 && { body }),
    })
    const text = await answer.text()
    if (fault === 'loseResponse') response.destroy()
    else response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' }).end(text)
  }

  const server = createServer((request, response) => {
    concurrencyMax = Math.max(concurrencyMax, ++running)
    serve(request, response)
      .catch(() => response.destroy())
      .finally(() => running--)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the proxy does not listen')
  return {
    url: `http://127.0.0.1:${address.port}`,
    seen,
    get concurrencyMax() {
      return concurrencyMax
    },
    fail(decide) {
      first = seen.length
      faultOf = decide
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
