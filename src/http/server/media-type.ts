import type { FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../../model/errors.ts'

/** JSON, and what clients say that were told nothing: curl calls every `-d` a form. */
const TRIED_AS_JSON = /^ *(?:application\/(?:json|[\w.+-]+\+json|x-www-form-urlencoded)|text\/(?:json|plain)) *(?:;|$)/i

/** An `onRequest` hook: refuses bodies that are not JSON by their headers, before they are read. */
export function requireJsonBody(request: FastifyRequest, _reply: FastifyReply, done: (error?: Error) => void): void {
  const { 'content-type': type } = request.headers
  if (type !== undefined && type !== 'application/json' && !TRIED_AS_JSON.test(type)) {
    done(new GatewayError('unsupported_media_type', 'the content type must be application/json'))
  } else {
    done()
  }
}
