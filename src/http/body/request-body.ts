import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { GatewayError } from '../../model/errors.ts'
import { clientNetworkOf } from '../access/client-address.ts'
import { BodyBudget, type BodyCharge } from './body-budget.ts'
import { BodyBuffers } from './body-buffers.ts'
import { bodyTooLargeError } from './body-errors.ts'
import { decompressBody, parseContentEncoding } from './content-encoding.ts'
import { StallWatch } from './stall-watch.ts'
import { discardUnreadBodies } from './unread-bodies.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The bytes of the body budget that this request uses. Undefined unless reading its body has begun. */
    bodyCharge: BodyCharge | undefined
    /** Whether the body was refused because it stalled. The APIs send this error with different statuses. */
    hasStalledBody: boolean
  }
  interface FastifyInstance {
    readonly bodyBudget: BodyBudget
  }
}

export interface BodyLimits {
  /** Maximum bytes of one body, both before and after decompression (`BODY_BYTES_MAX`). */
  readonly bodyBytesMax: number
  /** Maximum bytes of all bodies that are being received or processed. */
  readonly bodiesBytesMax: number
  /** Maximum bytes of the bodies of one client: an IPv4 address or an IPv6 /64. They count for `bodiesBytesMax` too. */
  readonly bodiesBytesPerNetworkMax: number
  /**
   * Time in which a body must end or grow by 8 KiB. Otherwise it is refused, at the next check: at most a quarter of
   * this time later, unless the process is too busy to check.
   */
  readonly bodyStallMs: number
}

/**
 * Time in which the next 8 KiB of a body, or its end, must arrive. A slower client would occupy memory for too long.
 */
export const BODY_STALL_MS = 10_000

/**
 * Makes an app read request bodies as bytes and decompress them. Only the bodies of authenticated requests are kept in
 * memory: other requests, and requests without a route, use no bytes of the budget.
 */
export function registerBodyParser(app: FastifyInstance, limits: BodyLimits): void {
  const { bodyBytesMax } = limits
  const budget = new BodyBudget(limits.bodiesBytesMax, limits.bodiesBytesPerNetworkMax)
  const stallWatch = new StallWatch(limits.bodyStallMs)
  const buffers = new BodyBuffers()
  app.decorate('bodyBudget', budget)
  app.decorateRequest('bodyCharge', undefined)
  app.decorateRequest('hasStalledBody', false)
  app.addHook('onResponse', (request, _reply, done) => {
    request.bodyCharge?.close()
    done()
  })
  app.addHook('onSend', (request, _reply, _payload, done) => {
    const { body } = request
    if (body instanceof Uint8Array) {
      request.body = undefined
      buffers.release(body)
    }
    done()
  })
  discardUnreadBodies(app, stallWatch, bodyBytesMax)

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', async (request: FastifyRequest, payload: IncomingMessage) => {
    if (request.principal === undefined) return undefined
    const encoding = parseContentEncoding(request.headers['content-encoding'])
    const charge = budget.openCharge(clientNetworkOf(request), request.raw.socket)
    request.bodyCharge = charge
    const receivedBody = await receiveBody(request, payload, buffers, bodyBytesMax, charge, stallWatch)
    if (encoding === 'identity') return receivedBody
    const chunks = await decompressBody(receivedBody, encoding, bodyBytesMax, (bytes) => charge.take(bytes))
    charge.release(receivedBody.length)
    buffers.release(receivedBody)
    return buffers.join(chunks)
  })
}

/**
 * Returns the bytes of a request's body: empty if there is no body. They must not be read once the response is being
 * sent, because their memory may then hold another body.
 */
export function bodyBytesOf({ body }: FastifyRequest): Uint8Array {
  return body instanceof Uint8Array ? body : new Uint8Array()
}

/** Chunks are joined in groups of this many, because even a chunk of one byte takes about a hundred bytes of memory. */
const CHUNKS_PER_JOIN = 256

function receiveBody(
  request: FastifyRequest,
  payload: IncomingMessage,
  buffers: BodyBuffers,
  bytesMax: number,
  charge: BodyCharge,
  stallWatch: StallWatch,
): Promise<Buffer> {
  const contentLength = Number(payload.headers['content-length'])
  if (contentLength > bytesMax) throw bodyTooLargeError()
  return new Promise((resolve, reject) => {
    const joinedChunks: Buffer[] = []
    let chunks: Buffer[] = []
    let receivedBytes = 0
    const onData = (chunk: Buffer): void => {
      receivedBytes += chunk.length
      try {
        if (receivedBytes > bytesMax) throw bodyTooLargeError()
        charge.take(chunk.length)
      } catch (error) {
        rejectBody(error)
        return
      }
      if (chunks.push(chunk) === CHUNKS_PER_JOIN) {
        joinedChunks.push(Buffer.concat(chunks))
        chunks = []
      }
    }
    const onEnd = (): void => {
      removeListeners()
      if (contentLength >= 0 && receivedBytes !== contentLength)
        reject(new GatewayError('invalid_body', 'the body does not have the length in Content-Length'))
      // `join` copies even a single chunk, so the body shares no memory with the chunks that Node read.
      else resolve(buffers.join([...joinedChunks, ...chunks]))
    }
    const onError = (cause: Error): void =>
      rejectBody(new GatewayError('invalid_body', 'the body could not be read', { cause }))
    const onStalled = (): void => {
      request.hasStalledBody = true
      rejectBody(new GatewayError('request_timeout', 'the body arrived too slowly'))
    }
    // `complete`: the whole body has arrived, for most bodies together with the headers. A complete body cannot stall.
    const unwatch = payload.complete ? undefined : stallWatch.watch(() => receivedBytes, onStalled)
    const removeListeners = (): void => {
      unwatch?.()
      payload.off('data', onData).off('end', onEnd).off('error', onError)
    }
    /** Rejects the promise, releases the bytes of the body and discards what still arrives. */
    const rejectBody = (error: unknown): void => {
      removeListeners()
      payload.resume()
      charge.close()
      reject(error)
    }
    payload.on('data', onData).on('end', onEnd).on('error', onError)
  })
}
