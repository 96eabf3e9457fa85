import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** Matches an id that a client or proxy may set. Few characters are allowed, because logs and responses contain it. */
const ALLOWED_ID = /^[A-Za-z0-9._:/+=-]{1,128}$/

/**
 * Returns a function that gives each request its id: the one in `X-Request-Id` if it is valid, or else a new one. A
 * random prefix of 48 bits tells the new ids of different gateways and restarts apart.
 */
export function createRequestIdGenerator(): (request: Pick<IncomingMessage, 'headers'>) => string {
  const prefix = randomBytes(6).toString('base64url')
  let count = 0
  return ({ headers: { 'x-request-id': requestedId } }) =>
    typeof requestedId === 'string' && ALLOWED_ID.test(requestedId)
      ? requestedId
      : `${prefix}-${(++count).toString(36)}`
}
