import type { FastifyRequest } from 'fastify'
import { acceptedEntries, accepts } from '../../http/response/accept.ts'
import { GatewayError } from '../../model/errors.ts'
import { MULTIPART, SERVER_SENT_EVENTS, type StreamFormat } from './stream-format.ts'

/** Content negotiation: which of our media types a client accepts. */

export const JSON_TYPE = 'application/json'
export const GRAPHQL_RESPONSE_TYPE = 'application/graphql-response+json'

/**
 * The first media type of the `Accept` header that the gateway supports: JSON for a wildcard or without the header.
 * Undefined: the client accepts none of them, but may accept a stream.
 */
export function mediaTypeFor({
  headers: { accept },
}: FastifyRequest): typeof JSON_TYPE | typeof GRAPHQL_RESPONSE_TYPE | undefined {
  if (accept === undefined || accept === '*/*' || accept === JSON_TYPE) return JSON_TYPE
  for (const { name } of acceptedEntries(accept)) {
    if (name === GRAPHQL_RESPONSE_TYPE) return GRAPHQL_RESPONSE_TYPE
    if (name === JSON_TYPE || name === 'application/*' || name === '*/*') return JSON_TYPE
  }
  return undefined
}

/** The first stream format of the `Accept` header; a wildcard does not count. */
export function streamFormatFor({ headers: { accept } }: FastifyRequest): StreamFormat | undefined {
  for (const { name, parameters } of acceptedEntries(accept)) {
    if (name === 'text/event-stream') return SERVER_SENT_EVENTS
    if (name === 'multipart/mixed' && parameters.some((parameter) => /^subscriptionspec="?1\.0"?$/.test(parameter)))
      return MULTIPART
  }
  return undefined
}

/** Whether the client accepts a single result or a stream in a format of the gateway. */
export function isAcceptable(request: FastifyRequest): boolean {
  return mediaTypeFor(request) !== undefined || streamFormatFor(request) !== undefined
}

/**
 * Whether the client wants the playground page; a POST never does. Browsers list HTML when a person opens an address,
 * but not for `fetch`.
 */
export function acceptsHtml({ method, headers: { accept } }: FastifyRequest): boolean {
  return method !== 'POST' && accepts(accept, 'text/html')
}

/** Throws `unsupported_media_type` for other types than JSON. A cross-site form cannot send JSON (CSRF). */
export function requireJsonContentType({ headers: { 'content-type': type } }: FastifyRequest): void {
  if (type !== JSON_TYPE && (type === undefined || !/^application\/json *(?:;|$)/i.test(type))) {
    throw new GatewayError('unsupported_media_type', 'the content type must be application/json')
  }
}
