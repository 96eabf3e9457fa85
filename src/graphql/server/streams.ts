import type { ServerResponse } from 'node:http'
import type { ExecutionResult } from 'graphql'
import { asGatewayError } from '../../http/response/error-status.ts'
import { GatewayError } from '../../model/errors.ts'
import type { StreamFormat } from './stream-format.ts'

export interface StreamSettings {
  readonly keepAliveIntervalMs: number
  /** Time in which a client must read a piece of a result (`STREAM_PIECE_BYTES`). Otherwise it is disconnected. */
  readonly stallTimeoutMs: number
  /** Maximum number of bytes that slow clients have not read yet, summed over all streams. */
  readonly unreadBytesMax: number
}

/**
 * Time between two keep-alive messages of a stream; the API key is checked again each time. Many proxies close
 * connections after 30 s to 60 s of silence.
 */
const LIVE_KEEP_ALIVE_INTERVAL_MS = 15_000
/** Default of `stallTimeoutMs`: twice the keep-alive interval. */
const LIVE_STALL_TIMEOUT_MS = 30_000
/** Default of `unreadBytesMax`: 64 MiB. */
const LIVE_UNREAD_BYTES_MAX = 64 * 1024 * 1024

export const STREAM_SETTINGS: StreamSettings = {
  keepAliveIntervalMs: LIVE_KEEP_ALIVE_INTERVAL_MS,
  stallTimeoutMs: LIVE_STALL_TIMEOUT_MS,
  unreadBytesMax: LIVE_UNREAD_BYTES_MAX,
}

/** Maximum size of the pieces of a result. Smaller pieces would suit slower clients, and cost more writes. */
const STREAM_PIECE_BYTES = 64 * 1024

interface StreamContent {
  readonly results: AsyncIterator<ExecutionResult>
  readonly format: StreamFormat
  readonly headers: Readonly<Record<string, string | number | string[] | undefined>>
  /** Returns the result as JSON text. */
  writeJson(result: ExecutionResult): Promise<string>
  /** Returns the result that reports this error. It is the last one of the stream. */
  errorResult(error: unknown): ExecutionResult
  /**
   * Checks the API key again; called at each keep-alive. A rejection ends the stream, unless its error is temporary.
   */
  requireAccess(): Promise<void>
}

/** How long a client may take to read the last bytes before its connection is destroyed. */
const CLOSE_TIMEOUT_MS = 5_000

/**
 * Open response streams, with backpressure: while a connection has a full buffer, no further result is pulled. When a
 * connection closes, its stream ends and its source is closed.
 */
export class OpenStreams {
  readonly #settings: StreamSettings
  readonly #openResponses = new Set<ServerResponse>()
  #unreadBytes = 0

  constructor(settings: StreamSettings) {
    this.#settings = settings
  }

  get openCount(): number {
    return this.#openResponses.size
  }

  /** Writes the results as they come. Resolves when the stream has ended, also after an error of the source. */
  async send(raw: ServerResponse, content: StreamContent): Promise<void> {
    const { results, format } = content
    let failure: { readonly error: unknown } | undefined
    /** Whether a result is being written: a keep-alive must not interrupt it. */
    let isInResult = false
    const closeResults = (): void => {
      results.return?.().catch(() => {})
    }
    this.#openResponses.add(raw)
    raw.once('close', closeResults)
    raw.writeHead(200, { ...content.headers, 'content-type': format.contentType })
    raw.write(format.opening)
    const keepAlive = setInterval(() => {
      if (!isInResult && !raw.writableNeedDrain) raw.write(format.keepAlive)
      content.requireAccess().catch((error) => {
        if (isTemporary(error)) return
        failure ??= { error }
        closeResults()
      })
    }, this.#settings.keepAliveIntervalMs)
    try {
      for (;;) {
        const { value, done } = await results.next()
        if (done === true || raw.destroyed) break
        const text = format.formatResult(await content.writeJson(value))
        isInResult = true
        await this.#writeInPieces(raw, Buffer.from(text))
        isInResult = false
        if (raw.destroyed) break
      }
    } catch (error) {
      failure ??= { error }
    } finally {
      clearInterval(keepAlive)
      raw.off('close', closeResults)
      this.#openResponses.delete(raw)
      closeResults()
    }
    if (!raw.destroyed) await endResponse(raw, content, failure)
  }

  /**
   * Writes a result in pieces. While the buffer of the connection is full, waits until the client has read it. So a
   * client that reads slowly but steadily gets the whole result. Rejects as `#waitUntilRead` does. The rest is then
   * written at once, so that an error can follow the result.
   */
  async #writeInPieces(raw: ServerResponse, result: Buffer): Promise<void> {
    let rest = result
    try {
      while (rest.length > 0 && !raw.destroyed) {
        const piece = rest.subarray(0, STREAM_PIECE_BYTES)
        rest = rest.subarray(STREAM_PIECE_BYTES)
        if (!raw.write(piece)) await this.#waitUntilRead(raw, result.length)
      }
    } finally {
      if (rest.length > 0 && !raw.destroyed) raw.write(rest)
    }
  }

  /**
   * Resolves when the client has read what was written, or has closed the connection. Rejects with `overloaded` when
   * the client does not read all of it in time, or when slow clients together leave too much unread. The result is in
   * memory until its last piece is read, so it counts with all its `resultBytes`.
   */
  async #waitUntilRead(raw: ServerResponse, resultBytes: number): Promise<void> {
    const { stallTimeoutMs, unreadBytesMax } = this.#settings
    const unreadBytes = Math.max(raw.writableLength, resultBytes)
    if (this.#unreadBytes + unreadBytes > unreadBytesMax) {
      throw new GatewayError('overloaded', 'the clients of live queries read too slowly')
    }
    this.#unreadBytes += unreadBytes
    let cleanUp = (): void => {}
    try {
      await new Promise<void>((resolve, reject) => {
        const message = `the client read less than ${STREAM_PIECE_BYTES} bytes in ${stallTimeoutMs} ms`
        const stalled = new GatewayError('overloaded', message, { details: { stallMs: stallTimeoutMs } })
        const timer = setTimeout(() => reject(stalled), stallTimeoutMs)
        const proceed = (): void => resolve()
        raw.once('drain', proceed).once('close', proceed)
        cleanUp = () => {
          clearTimeout(timer)
          raw.off('drain', proceed).off('close', proceed)
        }
      })
    } finally {
      cleanUp()
      this.#unreadBytes -= unreadBytes
    }
  }
}

/**
 * Ends a response. `format.closing` tells clients not to reconnect, so it is sent only if the stream is complete or a
 * new connection would fail too.
 */
async function endResponse(
  raw: ServerResponse,
  content: StreamContent,
  failure: { readonly error: unknown } | undefined,
): Promise<void> {
  const { format } = content
  if (failure === undefined) raw.end(format.closing)
  else if (asksToReconnect(failure.error)) raw.end()
  else {
    const last = format.formatResult(await content.writeJson(content.errorResult(failure.error)))
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
