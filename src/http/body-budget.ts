import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../model/errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** For an answer that goes on after its request is done with: nothing is counted for it any more. */
    letGoOfBody?(reply: FastifyReply): void
  }
}

/** Counts more bytes against the budget until the request has been answered. Throws `overloaded`. */
export type HoldBytes = (reply: FastifyReply, bytes: number) => void

/**
 * Bounds the bodies that are being received or worked on, all connections together: each may be within its own limit and
 * their sum still be more memory than there is. A request that does not fit is refused before any of its body is read. What
 * a body becomes when it is decompressed is held by the function answered.
 */
export function boundBodies(app: FastifyInstance, bytesMax: number, bodyBytesMax: number): HoldBytes {
  let held = 0
  const byResponse = new WeakMap<ServerResponse, number>()
  const take = (raw: ServerResponse, bytes: number): GatewayError | undefined => {
    // One that is closed would never be let go.
    if (raw.destroyed || held + bytes > bytesMax) {
      return new GatewayError('overloaded', 'too many large requests are being received; try again shortly')
    }
    held += bytes
    const before = byResponse.get(raw)
    byResponse.set(raw, (before ?? 0) + bytes)
    if (before !== undefined) return undefined
    // However it ends: answered, refused or hung up on.
    raw.once('close', () => {
      held -= byResponse.get(raw) ?? 0
    })
    return undefined
  }
  app.decorate('letGoOfBody', ({ raw }: FastifyReply) => {
    held -= byResponse.get(raw) ?? 0
    byResponse.set(raw, 0)
  })
  app.addHook('onRequest', (request, reply, done) => {
    const bytes = announcedBytes(request, bodyBytesMax)
    done(bytes === 0 ? undefined : take(reply.raw, bytes))
  })
  return ({ raw }, bytes) => {
    const refusal = take(raw, bytes)
    if (refusal !== undefined) throw refusal
  }
}

/** A body of unknown length may become as large as a body may be. A larger one is refused when it is read. */
function announcedBytes({ headers }: FastifyRequest, bodyBytesMax: number): number {
  const length = headers['content-length']
  if (length !== undefined) return Math.min(Number(length), bodyBytesMax)
  return headers['transfer-encoding'] === undefined ? 0 : bodyBytesMax
}
