import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Gateway, Principal } from '../../gateway.ts'
import { assert, GatewayError } from '../../model/errors.ts'
import type { RateClass } from '../../model/rate.ts'
import type { Scope } from '../../store/api-keys.ts'
import { takePermit } from './rate-limit.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The authenticated sender. Set when the `onRequest` hook of a route that needs a key accepts the request. */
    principal: Principal | undefined
  }
}

/** Adds `request.principal` to all requests. It is undefined at first. */
export function declarePrincipal(app: FastifyInstance): void {
  app.decorateRequest('principal', undefined)
}

/**
 * Authenticates a request by the API key in its headers, so the body need not be read. A key in the query string is
 * ignored, because query strings end up in logs. Throws `missing_api_key`, `invalid_api_key` or `store_unavailable`.
 */
export async function authenticate(gateway: Gateway, request: FastifyRequest): Promise<Principal> {
  const { authorization, 'x-api-key': apiKey } = request.headers
  const key = apiKeyInHeaders(authorization, apiKey)
  if (key === undefined) {
    throw new GatewayError('missing_api_key', 'send the API key as "Authorization: Bearer KEY" or "X-API-Key: KEY"')
  }
  const principal = await gateway.authenticate(key)
  if (principal === undefined) throw new GatewayError('invalid_api_key', 'the API key is not valid')
  return principal
}

/**
 * Makes an `onRequest` hook that authenticates, takes a rate-limit permit and requires a scope, in this order: a
 * request that lacks the scope counts against the rate limit. The hook throws the errors of `authenticate` and
 * `takePermit`, or `forbidden`.
 */
export function requireScope(
  gateway: Gateway,
  scope: Scope,
  rateClass: RateClass,
): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  return async (request, reply) => {
    const principal = await authenticate(gateway, request)
    await takePermit(gateway, principal, rateClass, request, reply)
    if (!principal.scopes.includes(scope)) {
      throw new GatewayError('forbidden', `the API key lacks the scope ${scope}`, { details: { scope } })
    }
    request.principal = principal
  }
}

/** Returns the project of a request that has passed {@link requireScope}. */
export function projectOf(request: FastifyRequest): string {
  assert(request.principal !== undefined, 'the route requires a scope')
  return request.principal.project
}

const BEARER_TOKEN = /^bearer +(\S+)$/i

/** Returns the bearer token in `Authorization`, or else the key in `X-API-Key`. Undefined if there is neither. */
export function apiKeyInHeaders(
  authorization: string | undefined,
  apiKey: string | readonly string[] | undefined,
): string | undefined {
  const bearer = authorization === undefined ? undefined : BEARER_TOKEN.exec(authorization)?.[1]
  if (bearer !== undefined) return bearer
  return typeof apiKey === 'string' && apiKey !== '' ? apiKey : undefined
}
