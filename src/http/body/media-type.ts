import type { FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../../model/errors.ts'

/** Content types that are read as JSON: JSON types, and types that clients send by default, as `curl -d` does. */
const JSON_CONTENT_TYPE =
  /^ *(?:application\/(?:json|[\w.+-]+\+json|x-www-form-urlencoded)|text\/(?:json|plain)) *(?:;|$)/i

/**
 * An `onRequest` hook that refuses a request of another content type before its body is read. Accepts a request without
 * a content type.
 */
export function requireJsonBody(request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void): void {
  const { 'content-type': type } = request.headers
  if (type !== undefined && type !== 'application/json' && !JSON_CONTENT_TYPE.test(type)) {
    done(new GatewayError('unsupported_media_type', 'the content type must be application/json'))
  } else {
    done()
  }
}
