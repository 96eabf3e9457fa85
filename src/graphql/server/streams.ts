import type { ServerResponse } from 'node:http'
import type { ExecutionResult } from 'graphql'
import { asGatewayError } from '../../http/server/error-table.ts'
import { GatewayError } from '../../model/errors.ts'
import type { StreamFormat } from './stream-format.ts'

export interface StreamSettings {
  readonly keepAliveMs: number
  /** How long a client may read nothing. */
  readonly stallMs: number
  /** Bytes that clients have not read yet, of all streams together. */
  readonly bufferedBytesMax: number
}

export interface StreamSource {
  /** The next one is pulled only after the client has read the one before. */
  readonly results: AsyncIterator<ExecutionResult>
  readonly format: StreamFormat
  readonly headers: Readonly<Record<string, string | number | readonly string[]>>
  /** As JSON text. */
  present(result: ExecutionResult): Promise<string>
  /** The result that tells of an error that ends the stream. */
  refusal(error: unknown): ExecutionResult
  /**
   * Whether the client may still see this; asked with each keep-alive. A rejection ends the stream with its reason, unless
   * the gateway could only not find out.
   */
  requireAccess(): Promise<void>
}

/** How long a client may take to read the last bytes before its connection is destroyed. */
const FAREWELL_MS = 5_000

/**
 * Open response streams. The next result is pulled only after the client has read the one before; a closed connection
 * frees everything.
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

  /** Resolves when the stream has ended, for whatever reason. Never rejects. */
  async send(raw: ServerResponse, source: StreamSource): Promise<void> {
    const { results, format } = source
    let refused: { readonly error: unknown } | undefined
    const end = (): void => {
      results.return?.().catch(() => {})
    }
    const refuse = (error: unknown): void => {
      refused ??= { error }
      end()
    }
    this.#open.add(raw)
    raw.once('close', end)
    raw.writeHead(200, { ...source.headers, 'content-type': format.contentType })
    raw.write(format.opening)
    const keepAlive = setInterval(() => {
      if (!raw.writableNeedDrain) raw.write(format.keepAlive)
      source.requireAccess().catch((error) => {
        if (!mayPass(error)) refuse(error)
      })
    }, this.#settings.keepAliveMs)
    try {
      for (;;) {
        const { value, done } = await results.next()
        if (done === true || raw.destroyed) break
        if (!raw.write(format.next(await source.present(value)))) await this.#drained(raw)
        if (raw.destroyed) break
      }
    } catch (error) {
      refused ??= { error }
    } finally {
      clearInterval(keepAlive)
      raw.off('close', end)
      this.#open.delete(raw)
      end()
    }
    if (raw.destroyed) return
    // A client that reads the closing does not connect again.
    if (asksToReconnect(refused?.error)) raw.end()
    else if (refused === undefined) raw.end(format.closing)
    else {
      const told = format.next(await source.present(source.refusal(refused.error)))
      raw.end(mayPass(refused.error) ? told : `${told}${format.closing}`)
    }
    const farewell = setTimeout(() => raw.destroy(), FAREWELL_MS)
    raw.once('close', () => clearTimeout(farewell))
  }

  /**
   * Resolves when the client has read what was written, or is gone. Rejects with `overloaded` when it reads nothing for
   * too long, or when all clients together leave too much unread.
   */
  async #drained(raw: ServerResponse): Promise<void> {
    const { stallMs, bufferedBytesMax } = this.#settings
    const bytes = raw.writableLength
    if (this.#bufferedBytes + bytes > bufferedBytesMax) {
      throw new GatewayError('overloaded', 'too much waits to be read by clients of live queries')
    }
    this.#bufferedBytes += bytes
    const settle = new AbortController()
    try {
      await new Promise<void>((resolve, reject) => {
        const stalled = new GatewayError('overloaded', `nothing was read for ${stallMs} ms`, { details: { stallMs } })
        const timer = setTimeout(() => reject(stalled), stallMs)
        const goOn = (): void => resolve()
        raw.once('drain', goOn).once('close', goOn)
        settle.signal.addEventListener('abort', () => {
          clearTimeout(timer)
          raw.off('drain', goOn).off('close', goOn)
        })
      })
    } finally {
      settle.abort()
      this.#bufferedBytes -= bytes
    }
  }
}

const PASSING_CODES: ReadonlySet<string> = new Set(['store_unavailable', 'overloaded', 'internal'])

/** Whether the same operation may succeed later: the fault is the gateway's, or the client was too slow. */
function mayPass(error: unknown): boolean {
  return PASSING_CODES.has(asGatewayError(error).code)
}

function asksToReconnect(error: unknown): boolean {
  return error instanceof GatewayError && error.details?.['reconnect'] === true
}
