import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Gateway, IdempotentRequest, SavedResponse, TrackOptions } from '../../gateway.ts'
import { projectOf } from '../access/authenticate.ts'
import { bodyBytesOf } from '../body/request-body.ts'
import { sendJson } from '../response/json-response.ts'

/**
 * The header `Idempotency-Key`. While the store keeps the receipt (`Gateway.serveOnce`), a retry with the same key gets
 * the first successful response. The key with another method, route or body is an `idempotency_conflict`. Bodies are
 * compared without their content encoding, but remote-write bodies with their Snappy compression.
 */

/**
 * Serves a request. If it has an idempotency key and was served successfully before, returns the saved response and
 * does not call `serve`. `serve` must pass its options to `gateway.track` or `gateway.trackBatch`, because a retry
 * after a failure calls it again. `route` stands for the route in the hash of the request: paths with the same `route`
 * accept each other's retries.
 */
export function serveIdempotently(
  gateway: Gateway,
  request: FastifyRequest,
  serve: (options: TrackOptions) => Promise<SavedResponse>,
  route = request.routeOptions.url ?? '',
): Promise<SavedResponse> {
  const idempotent = idempotentRequestOf(request, route)
  if (idempotent === undefined) return serve({})
  return gateway.serveOnce(projectOf(request), idempotent, () => serve({ idempotencyKey: idempotent.key }))
}

/** Serves a request as {@link serveIdempotently} does, and sends the response, whose body must be JSON. */
export async function sendIdempotently(
  gateway: Gateway,
  request: FastifyRequest,
  reply: FastifyReply,
  serve: (options: TrackOptions) => Promise<SavedResponse>,
): Promise<FastifyReply> {
  const { status, body } = await serveIdempotently(gateway, request, serve)
  return sendJson(reply, status, body)
}

/** Returns the idempotency key and the hash of a request; undefined if the request has no key. */
function idempotentRequestOf(request: FastifyRequest, route: string): IdempotentRequest | undefined {
  const { 'idempotency-key': header } = request.headers
  if (header === undefined) return undefined
  // Node joins a repeated header with a comma and a space. No valid key contains a space, so the gateway refuses it.
  const key = Array.isArray(header) ? header.join(', ') : header
  const hash = createHash('sha256').update(`${request.method} ${route}\n`).update(bodyBytesOf(request))
  return { key, requestHash: hash.digest('hex') }
}
