import type { FastifyRequest } from 'fastify'

/** The body as it came; empty when there was none. */
export function bytesOf({ body }: FastifyRequest): Uint8Array {
  return body instanceof Uint8Array ? body : new Uint8Array()
}
