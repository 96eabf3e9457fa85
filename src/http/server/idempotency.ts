import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { IdempotentRequest } from '../../gateway.ts'
import { bytesOf } from './body.ts'

/**
 * What the header `Idempotency-Key` makes of a request: the same is what has the same route and the same bytes. `route` is for routes
 * that go by several paths.
 */
export function idempotencyOf(
  request: FastifyRequest,
  route = request.routeOptions.url ?? '',
): IdempotentRequest | undefined {
  const { 'idempotency-key': header } = request.headers
  if (header === undefined) return undefined
  // Node joins a repeated header by a comma and a space, which no key may hold.
  const key = Array.isArray(header) ? header.join(', ') : header
  const hash = createHash('sha256').update(`${request.method} ${route}\n`).update(bytesOf(request))
  return { key, requestHash: hash.digest('hex') }
}
