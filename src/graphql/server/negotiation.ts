import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../../model/errors.ts'
import { MULTIPART, SERVER_SENT_EVENTS, type StreamFormat } from './stream-format.ts'

export const JSON_TYPE = 'application/json'
export const RESPONSE_TYPE = 'application/graphql-response+json'

export type AnswerType = typeof JSON_TYPE | typeof RESPONSE_TYPE

/**
 * The first media type of the `Accept` header that the gateway supports; undefined when there is none. Without the
 * header: JSON.
 */
export function answerTypeFor({ headers: { accept } }: FastifyRequest): AnswerType | undefined {
  if (accept === undefined || accept === '*/*' || accept === JSON_TYPE) return JSON_TYPE
  for (const entry of accept.split(',')) {
    const [type, ...parameters] = entry.split(';').map((part) => part.trim().toLowerCase())
    if (parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter))) continue
    if (type === RESPONSE_TYPE) return RESPONSE_TYPE
    if (type === JSON_TYPE || type === 'application/*' || type === '*/*') return JSON_TYPE
  }
  return undefined
}

/** The format of streams that the client accepts; undefined when it accepts none. */
export function streamFormatFor({ headers: { accept } }: FastifyRequest): StreamFormat | undefined {
  for (const entry of accept?.split(',') ?? []) {
    const [type, ...parameters] = entry.split(';').map((part) => part.trim().toLowerCase())
    if (type === 'text/event-stream') return SERVER_SENT_EVENTS
    if (type === 'multipart/mixed' && parameters.some((parameter) => /^subscriptionspec="?1\.0"?$/.test(parameter)))
      return MULTIPART
  }
  return undefined
}

/** Whether the gateway supports any media type that the client accepts. */
export function canAnswer(request: FastifyRequest): boolean {
  return answerTypeFor(request) !== undefined || streamFormatFor(request) !== undefined
}

/** Browsers ask for HTML when a person opens the address, but not from a script. */
export function wantsPage({ method, headers: { accept } }: FastifyRequest): boolean {
  return method !== 'POST' && accept !== undefined && accept.includes('text/html')
}

/** Throws `unsupported_media_type`. This also refuses what a cross-site form can send (CSRF). */
export function requireJson({ headers: { 'content-type': type } }: FastifyRequest): void {
  if (type !== JSON_TYPE && (type === undefined || !/^application\/json *(?:;|$)/i.test(type))) {
    throw new GatewayError('unsupported_media_type', 'the content type must be application/json')
  }
}
