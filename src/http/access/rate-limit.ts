import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Gateway, Principal, RateLimitDecision } from '../../gateway.ts'
import { GatewayError } from '../../model/errors.ts'
import type { RateClass } from '../../model/rate.ts'
import { clientAddressOf } from './client-address.ts'

/**
 * Takes a rate-limit permit for a request and sets the `RateLimit-*` headers, unless the limit of the class is off. If
 * the limit is reached, sets `Retry-After` and throws `rate_limited`; each API writes its own body for the error.
 */
export async function takePermit(
  gateway: Gateway,
  principal: Principal,
  rateClass: RateClass,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const decisionOrPromise = gateway.takePermit(principal, rateClass, clientAddressOf(request))
  const decision = decisionOrPromise instanceof Promise ? await decisionOrPromise : decisionOrPromise
  if (decision !== undefined) requireGranted(decision, reply)
}

/** Sets the rate-limit headers. Throws `rate_limited` if the request is refused. */
function requireGranted(decision: RateLimitDecision, reply: FastifyReply): void {
  for (const [name, value] of rateLimitHeaders(decision)) reply.header(name, value)
  if (!decision.isGranted) throw rateLimitedError(decision)
}

/**
 * Returns the rate-limit headers: the limit, the remaining requests, and the seconds until the minute of the limit
 * ends. A refused request also gets `Retry-After`.
 */
export function rateLimitHeaders({
  isGranted,
  limit,
  remaining,
  resetSeconds,
}: RateLimitDecision): [name: string, value: number][] {
  const headers: [string, number][] = [
    ['ratelimit-limit', limit],
    ['ratelimit-remaining', remaining],
    ['ratelimit-reset', resetSeconds],
  ]
  if (!isGranted) headers.push(['retry-after', resetSeconds])
  return headers
}

export function rateLimitedError({ limit, resetSeconds }: RateLimitDecision): GatewayError {
  return new GatewayError(
    'rate_limited',
    `the limit of ${limit} requests per minute is reached; retry in ${resetSeconds} s`,
    {
      details: { limit, retryAfterSeconds: resetSeconds },
    },
  )
}
