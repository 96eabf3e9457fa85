import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** What a client or a proxy may call its request: it ends up in logs and in the answer. */
const SANE = /^[A-Za-z0-9._:/+=-]{1,128}$/

/** The id that a request brought, or one unlike those of other gateways and of this one before it restarted. */
export function createRequestIds(): (request: Pick<IncomingMessage, 'headers'>) => string {
  const prefix = randomBytes(6).toString('base64url')
  let count = 0
  return ({ headers: { 'x-request-id': given } }) =>
    typeof given === 'string' && SANE.test(given) ? given : `${prefix}-${(++count).toString(36)}`
}
