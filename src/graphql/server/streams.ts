import type { ServerResponse } from 'node:http'
import type { ExecutionResult } from 'graphql'
import { asGatewayError } from '../../http/response/error-status.ts'
import { GatewayError } from '../../model/errors.ts'
import type { StreamFormat } from './stream-format.ts'

export interface StreamSettings {
  readonly keepAliveMs: number
  /** A client that reads nothing for this long loses its stream. */
  readonly stallMs: number
  /** Maximum bytes that clients have not read yet, of all streams together. */
  readonly bufferedBytesMax: number
}

/**
 * How often a stream shows that it is alive, and its key is checked again. Proxies close connections after 30 s to 60
 * s of silence.
 */
const LIVE_KEEP_ALIVE_MS = 15_000
/** How long the client of a stream may read nothing: twice the keep-alive. */
const LIVE_STALL_MS = 30_000
/** Bytes that the clients of all streams have not read yet. */
const LIVE_BUFFERED_BYTES_MAX = 64 * 1024 * 1024

export const STREAM_SETTINGS: StreamSettings = {
  keepAliveMs: LIVE_KEEP_ALIVE_MS,
  stallMs: LIVE_STALL_MS,
  bufferedBytesMax: LIVE_BUFFERED_BYTES_MAX,
}

interface StreamSource {
  readonly results: AsyncIterator<ExecutionResult>
  readonly format: StreamFormat
  readonly headers: Readonly<Record<string, string | number | string[] | undefined>>
  /** Returns the result as JSON text. */
  write(result: ExecutionResult): Promise<string>
  /** The last result of a stream that ends with this error. */
  errorResult(error: unknown): ExecutionResult
  /** Called with each keep-alive. A rejection ends the stream, unless its error is temporary. */
  requireAccess(): Promise<void>
}

/** How long a client may take to read the last bytes before its connection is destroyed. */
const CLOSE_TIMEOUT_MS = 5_000

/**
 * Open response streams, with backpressure: the next result is pulled only after the client has read the previous one.
 * A closed connection frees everything.
 */
export class Streams {
  readonly #settings: StreamSettings
  readonly #open = new Set<ServerResponse>()
  #bufferedBytes = 0

  constructor(settings: StreamSettings) {
    this.#settings = settings
  }

  get open(): number {
    return this.#open.size
  }

  /** Resolves when the stream has ended, for any reason. Never rejects. */
  async send(raw: ServerResponse, source: StreamSource): Promise<void> {
    const { results, format } = source
    let failure: { readonly error: unknown } | undefined
    const closeSource = (): void => {
      results.return?.().catch(() => {})
    }
    this.#open.add(raw)
    raw.once('close', closeSource)
    raw.writeHead(200, { ...source.headers, 'content-type': format.contentType })
    raw.write(format.opening)
    const keepAlive = setInterval(() => {
      if (!raw.writableNeedDrain) raw.write(format.keepAlive)
      source.requireAccess().catch((error) => {
        if (isTemporary(error)) return
        failure ??= { error }
        closeSource()
      })
    }, this.#settings.keepAliveMs)
    try {
      for (;;) {
        const { value, done } = await results.next()
        if (done === true || raw.destroyed) break
        if (!raw.write(format.next(await source.write(value)))) await this.#drained(raw)
        if (raw.destroyed) break
      }
    } catch (error) {
      failure ??= { error }
    } finally {
      clearInterval(keepAlive)
      raw.off('close', closeSource)
      this.#open.delete(raw)
      closeSource()
    }
    if (!raw.destroyed) await close(raw, source, failure)
  }

  /**
   * Resolves when the client has read what was written, or has closed the connection. Rejects with `overloaded` when it
   * reads nothing for too long, or when all clients together leave too much unread.
   */
  async #drained(raw: ServerResponse): Promise<void> {
    const { stallMs, bufferedBytesMax } = this.#settings
    const bytes = raw.writableLength
    if (this.#bufferedBytes + bytes > bufferedBytesMax) {
      throw new GatewayError('overloaded', 'the clients of live queries read too slowly')
    }
    this.#bufferedBytes += bytes
    let cleanUp = (): void => {}
    try {
      await new Promise<void>((resolve, reject) => {
        const stalled = new GatewayError('overloaded', `the client read nothing for ${stallMs} ms`, {
          details: { stallMs },
        })
        const timer = setTimeout(() => reject(stalled), stallMs)
        const proceed = (): void => resolve()
        raw.once('drain', proceed).once('close', proceed)
        cleanUp = () => {
          clearTimeout(timer)
          raw.off('drain', proceed).off('close', proceed)
        }
      })
    } finally {
      cleanUp()
      this.#bufferedBytes -= bytes
    }
  }
}

/** A client that reads `closing` does not reconnect, so it is sent only when reconnecting would not help. */
async function close(
  raw: ServerResponse,
  source: StreamSource,
  failure: { readonly error: unknown } | undefined,
): Promise<void> {
  const { format } = source
  if (failure === undefined) raw.end(format.closing)
  else if (asksToReconnect(failure.error)) raw.end()
  else {
    const last = format.next(await source.write(source.errorResult(failure.error)))
    raw.end(isTemporary(failure.error) ? last : `${last}${format.closing}`)
  }
  const timer = setTimeout(() => raw.destroy(), CLOSE_TIMEOUT_MS)
  raw.once('close', () => clearTimeout(timer))
}

const TEMPORARY_CODES: ReadonlySet<string> = new Set(['store_unavailable', 'overloaded', 'internal'])

/** Whether the same operation may succeed later. */
function isTemporary(error: unknown): boolean {
  return TEMPORARY_CODES.has(asGatewayError(error).code)
}

function asksToReconnect(error: unknown): boolean {
  return error instanceof GatewayError && error.details?.['reconnect'] === true
}
