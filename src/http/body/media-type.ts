import type { FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../../model/errors.ts'

/** JSON types, and the defaults of clients: `curl -d` sends a form type. */
const READ_AS_JSON = /^ *(?:application\/(?:json|[\w.+-]+\+json|x-www-form-urlencoded)|text\/(?:json|plain)) *(?:;|$)/i

/** An `onRequest` hook: refuses other content types before the body is read. */
export function requireJsonBody(request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void): void {
  const { 'content-type': type } = request.headers
  if (type !== undefined && type !== 'application/json' && !READ_AS_JSON.test(type)) {
    done(new GatewayError('unsupported_media_type', 'the content type must be application/json'))
  } else {
    done()
  }
}
