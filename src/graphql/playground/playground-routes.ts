import type { FastifyInstance, FastifyReply } from 'fastify'
import { type Operation, STRING_SCHEMA } from '../../http/openapi/operation.ts'
import type { PageAssets } from '../../http/pages/page-assets.ts'
import { IMMUTABLE_CACHE_CONTROL, REVALIDATED_CACHE_CONTROL, sendStaticFile } from '../../http/pages/static-file.ts'
import { sendError } from '../../http/response/error-status.ts'
import { addVary } from '../../http/response/vary.ts'
import { GatewayError } from '../../model/errors.ts'
import { createPlaygroundLoader } from './playground.ts'

/**
 * Allows files of this gateway only, and pictures and fonts in data URLs. Inline styles are allowed because the editor
 * of GraphiQL creates them.
 */
const GRAPHIQL_CONTENT_SECURITY_POLICY = [
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

/**
 * Serves the files of the GraphiQL package below `endpoint`. Returns a function that sends the page of the playground,
 * as the response to a request for `endpoint` itself.
 */
export function registerPlayground(
  app: FastifyInstance,
  endpoint: string,
  readAssets: () => Promise<PageAssets>,
): (reply: FastifyReply) => Promise<FastifyReply> {
  const folder = `${endpoint}/playground`
  const readPlayground = createPlaygroundLoader(endpoint, folder, readAssets)

  app.get<{ Params: { name: string } }>(
    `${folder}/:name`,
    { config: { openapi: PLAYGROUND_FILE_OPERATION } },
    async (request, reply) => {
      const { files } = await readPlayground()
      const file = files.get(request.params.name)
      if (file === undefined) return sendError(reply, new GatewayError('not_found', 'the playground has no such file'))
      return sendStaticFile(reply, file, IMMUTABLE_CACHE_CONTROL)
    },
  )

  return async (reply) => {
    const { page } = await readPlayground()
    reply.header('content-security-policy', GRAPHIQL_CONTENT_SECURITY_POLICY)
    // The same address serves GraphQL clients, with another content type.
    addVary(reply, ['accept'])
    return sendStaticFile(reply, page, REVALIDATED_CACHE_CONTROL)
  }
}

const PLAYGROUND_FILE_OPERATION: Operation = {
  id: 'playgroundPart',
  tag: 'GraphQL',
  summary: 'Returns a file of the playground',
  description: 'The name contains a hash of the content, so browsers may cache the file for a year.',
  parameters: [
    { in: 'path', name: 'name', description: 'As the page of the playground refers to it.', schema: STRING_SCHEMA },
  ],
  response: {
    status: 200,
    description: 'A script or a style sheet.',
    content: { 'text/javascript': STRING_SCHEMA, 'text/css': STRING_SCHEMA },
  },
  errors: ['not_found', 'internal'],
}
