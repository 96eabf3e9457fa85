import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** Matches an id that a client or proxy may set. It is copied to logs and to the response. */
const ALLOWED_ID = /^[A-Za-z0-9._:/+=-]{1,128}$/

/**
 * Returns a function that gives each request its id: the one in `X-Request-Id`, or a new one that is unique across
 * gateways and restarts.
 */
export function createRequestIdGenerator(): (request: Pick<IncomingMessage, 'headers'>) => string {
  const prefix = randomBytes(6).toString('base64url')
  let count = 0
  return ({ headers: { 'x-request-id': given } }) =>
    typeof given === 'string' && ALLOWED_ID.test(given) ? given : `${prefix}-${(++count).toString(36)}`
}
