import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Gateway, Permit, Principal } from '../../gateway.ts'
import { GatewayError } from '../../model/errors.ts'
import type { RateClass } from '../../model/rate.ts'
import { clientAddressOf } from './client-address.ts'

/**
 * Takes a rate-limit permit for a request, before its body is read, and sets the `RateLimit-*` headers. Throws
 * `rate_limited` after setting `Retry-After`, since each API formats errors its own way.
 */
export async function takePermit(
  gateway: Gateway,
  principal: Principal,
  rateClass: RateClass,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const taken = gateway.takePermit(principal, rateClass, clientAddressOf(request))
  const permit = taken instanceof Promise ? await taken : taken
  if (permit !== undefined) enforce(permit, reply)
}

function enforce({ isGranted, limit, remaining, resetSeconds }: Permit, reply: FastifyReply): void {
  reply
    .header('ratelimit-limit', limit)
    .header('ratelimit-remaining', remaining)
    .header('ratelimit-reset', resetSeconds)
  if (isGranted) return
  reply.header('retry-after', resetSeconds)
  throw new GatewayError(
    'rate_limited',
    `the limit of ${limit} requests per minute is reached; retry in ${resetSeconds} s`,
    {
      details: { limit, retryAfterSeconds: resetSeconds },
    },
  )
}
