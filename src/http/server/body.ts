import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../../model/errors.ts'
import { Arrivals } from './arrivals.ts'
import { BodyBudget, type BodyCharge } from './body-budget.ts'
import { clientNetworkOf } from './client-address.ts'
import { decompressBody, readEncoding } from './content-encoding.ts'
import { endRefusedBodies } from './refused-bodies.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** What its body holds of the budget. Undefined: no body was read. */
    bodyCharge: BodyCharge | undefined
  }
  interface FastifyInstance {
    readonly bodyBudget: BodyBudget
    /** For a response that goes on after its request has been served: nothing is counted for the body any more. */
    letGoOfBody?(reply: FastifyReply): void
  }
}

export interface BodyLimits {
  /** Of a body, before and after decompression. */
  readonly bodyBytesMax: number
  /** Bodies being received or worked on, together. */
  readonly bodiesBytesMax: number
  /** The same of one client address. */
  readonly bodiesBytesPerAddressMax: number
  /** How long a body may take for its next bytes. */
  readonly bodyStallMs: number
}

/** How long a request body may take for its next 8 KiB or its end. A slower client occupies memory that others need. */
export const BODY_STALL_MS = 10_000

/**
 * Makes an app read request bodies as bytes, without their `Content-Encoding`. A body is read only when the hooks of its route have
 * admitted the sender: no other request, and none without a route, holds anything of the budget.
 */
export function readBodies(app: FastifyInstance, limits: BodyLimits): void {
  const { bodyBytesMax } = limits
  const budget = new BodyBudget(limits.bodiesBytesMax, limits.bodiesBytesPerAddressMax)
  const arrivals = new Arrivals(limits.bodyStallMs)
  app.decorate('bodyBudget', budget)
  app.decorate('letGoOfBody', ({ request }: FastifyReply) => request.bodyCharge?.close())
  app.decorateRequest('bodyCharge', undefined)
  app.addHook('onResponse', (request, _reply, done) => {
    request.bodyCharge?.close()
    done()
  })
  endRefusedBodies(app, arrivals, bodyBytesMax)

  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', async (request: FastifyRequest, payload: IncomingMessage) => {
    if (request.principal === undefined) return undefined
    const encoding = readEncoding(request.headers['content-encoding'])
    const charge = budget.open(clientNetworkOf(request), request.raw.socket)
    request.bodyCharge = charge
    const received = await receive(payload, bodyBytesMax, charge, arrivals)
    if (encoding === 'identity') return received
    const body = await decompressBody(received, encoding, bodyBytesMax, (bytes) => charge.take(bytes))
    charge.give(received.length)
    return body
  })
}

/** The body of a request; empty when there was none. */
export function bytesOf({ body }: FastifyRequest): Uint8Array {
  return body instanceof Uint8Array ? body : new Uint8Array()
}

/** Small chunks are joined by so many: a chunk of one byte takes a hundred bytes of memory. */
const CHUNKS_JOINED = 256

function receive(payload: IncomingMessage, bytesMax: number, charge: BodyCharge, arrivals: Arrivals): Promise<Buffer> {
  const announced = Number(payload.headers['content-length'])
  if (announced > bytesMax) throw tooLarge()
  return new Promise((resolve, reject) => {
    const joined: Buffer[] = []
    let chunks: Buffer[] = []
    let length = 0
    const onData = (chunk: Buffer): void => {
      length += chunk.length
      try {
        if (length > bytesMax) throw tooLarge()
        charge.take(chunk.length)
      } catch (error) {
        refuse(error)
        return
      }
      if (chunks.push(chunk) === CHUNKS_JOINED) {
        joined.push(Buffer.concat(chunks))
        chunks = []
      }
    }
    const onEnd = (): void => {
      leave()
      if (announced >= 0 && length !== announced)
        reject(new GatewayError('invalid_body', 'the body is not as long as its content-length says'))
      // A copy always: a chunk may be a view of a buffer that is used again.
      else resolve(Buffer.concat([...joined, ...chunks], length))
    }
    const onError = (cause: Error): void =>
      refuse(new GatewayError('invalid_body', 'the body could not be read', { cause }))
    const onStalled = (): void => refuse(new GatewayError('request_timeout', 'the body does not arrive fast enough'))
    // Most bodies have arrived with their headers.
    const unwatch = payload.complete ? undefined : arrivals.watch(() => length, onStalled)
    const leave = (): void => {
      unwatch?.()
      payload.off('data', onData).off('end', onEnd).off('error', onError)
    }
    /** What still arrives is thrown away. */
    const refuse = (error: unknown): void => {
      leave()
      payload.resume()
      charge.close()
      reject(error)
    }
    payload.on('data', onData).on('end', onEnd).on('error', onError)
  })
}

function tooLarge(): GatewayError {
  return new GatewayError('payload_too_large', 'the body is larger than the gateway accepts')
}
