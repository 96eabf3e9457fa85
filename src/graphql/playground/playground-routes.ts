import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { sendError } from '../../http/server/error-table.ts'
import { addVary } from '../../http/server/vary.ts'
import { GatewayError } from '../../model/errors.ts'
import { createPlayground, type Part } from './playground.ts'

/** GraphiQL gets what it needs from this gateway and nothing from elsewhere; its editor makes style elements of its own. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "worker-src 'self'",
  "connect-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const YEAR_SECONDS = 31_536_000

/** Serves the parts of the playground below `endpoint`; the page itself is sent by whoever answers there. */
export function registerPlayground(
  app: FastifyInstance,
  endpoint: string,
): (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply> {
  const folder = `${endpoint}/playground`
  const readPlayground = createPlayground(endpoint, folder)

  app.get<{ Params: { name: string } }>(`${folder}/:name`, async (request, reply) => {
    const { parts } = await readPlayground()
    const part = parts.get(request.params.name)
    if (part === undefined) return sendError(reply, new GatewayError('not_found', 'the playground has no such part'))
    return send(request, reply, part, `public, max-age=${YEAR_SECONDS}, immutable`)
  })

  return async (request, reply) => {
    const { page } = await readPlayground()
    reply.header('content-security-policy', CONTENT_SECURITY_POLICY)
    // Programs are answered at the same address.
    addVary(reply, ['accept'])
    // The browser keeps the page and asks each time whether it is still the one.
    return send(request, reply, page, 'no-cache')
  }
}

async function send(request: FastifyRequest, reply: FastifyReply, part: Part, caching: string): Promise<FastifyReply> {
  // Weak: the same in every encoding.
  const etag = `W/"${part.hash}"`
  addVary(reply, ['accept-encoding']).header('etag', etag).header('cache-control', caching)
  if (request.headers['if-none-match']?.includes(etag) === true) return reply.code(304).send()
  const { encoding, body } = await part.read(request.headers['accept-encoding'])
  if (encoding !== undefined) reply.header('content-encoding', encoding)
  return reply.header('content-type', part.type).send(body)
}
