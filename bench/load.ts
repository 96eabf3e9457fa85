import { connect, type Socket } from 'node:net'

/**
 * The client. It sends one request at a time on each connection, as prebuilt bytes, and parses only what is needed to
 * find the end of the response, so that the client costs less than the measured server.
 */
export interface Response {
  readonly status: number
  readonly body: string
}

const HEAD_END = Buffer.from('\r\n\r\n')
const NOTHING = Buffer.alloc(0)

export class Connection {
  readonly #socket: Socket
  #received: Buffer = NOTHING
  #waiting: { resolve(response: Response): void; reject(error: Error): void } | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('error', (error) => this.#waiting?.reject(error))
    socket.on('close', () => this.#waiting?.reject(new Error('the server closed the connection')))
  }

  static open(port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve(new Connection(socket)))
      socket.once('error', reject)
    })
  }

  request(bytes: Uint8Array): Promise<Response> {
    this.#socket.write(bytes)
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #receive(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk])
    const headEnd = this.#received.indexOf(HEAD_END)
    if (headEnd < 0) return
    const head = this.#received.toString('latin1', 0, headEnd)
    const length = /^content-length: (\d+)/im.exec(head)?.[1]
    if (length === undefined) throw new Error(`a response without a length: ${head}`)
    const end = headEnd + HEAD_END.length + Number(length)
    if (this.#received.length < end) return
    const body = this.#received.toString('utf8', headEnd + HEAD_END.length, end)
    this.#received = this.#received.subarray(end)
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.resolve({ status: Number(head.slice(9, 12)), body })
  }
}

export interface Drive {
  readonly wallMs: number
  /** One for each request, sorted. */
  readonly latenciesMs: Float64Array
}

/**
 * Sends all requests over so many connections. An unexpected response ends the benchmark.
 */
export async function drive(
  port: number,
  connections: number,
  requests: number,
  next: (request: number) => Uint8Array,
  expect: (response: Response) => boolean,
): Promise<Drive> {
  const open = await Promise.all(Array.from({ length: connections }, () => Connection.open(port)))
  const latenciesMs = new Float64Array(requests)
  let taken = 0
  const startMs = performance.now()
  await Promise.all(
    open.map(async (connection) => {
      while (taken < requests) {
        const request = taken++
        const bytes = next(request)
        const sentMs = performance.now()
        const response = await connection.request(bytes)
        latenciesMs[request] = performance.now() - sentMs
        if (!expect(response)) throw new Error(`unexpected response ${response.status}: ${response.body.slice(0, 500)}`)
      }
    }),
  )
  const wallMs = performance.now() - startMs
  for (const connection of open) connection.close()
  return { wallMs, latenciesMs: latenciesMs.sort() }
}

export function postBytes(path: string, key: string, body: string | Uint8Array, type = 'application/json'): Buffer {
  const bytes = Buffer.from(body)
  const head = `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${key}\r\ncontent-type: ${type}\r\ncontent-length: ${bytes.length}\r\n\r\n`
  return Buffer.concat([Buffer.from(head), bytes])
}

export function getBytes(path: string, key: string): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${key}\r\n\r\n`)
}

export async function get(port: number, key: string, path: string): Promise<Response> {
  const connection = await Connection.open(port)
  try {
    return await connection.request(getBytes(path, key))
  } finally {
    connection.close()
  }
}
