import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../../model/errors.ts'
import { jsonContent, type Operation, STRING_SCHEMA } from '../openapi/operation.ts'
import { objectOf } from '../openapi/schemas.ts'
import { accepts } from '../response/accept.ts'
import { sendError } from '../response/error-status.ts'
import { sendJson } from '../response/json-response.ts'
import { addVary } from '../response/vary.ts'
import { EXPLORER_CONTENT_SECURITY_POLICY, explorerPage } from './explorer-page.ts'
import { ASSETS_PATH, type PageAssets } from './page-assets.ts'
import {
  createStaticFile,
  HTML_TYPE,
  IMMUTABLE_CACHE_CONTROL,
  loadOnce,
  REVALIDATED_CACHE_CONTROL,
  sendStaticFile,
} from './static-file.ts'

const EXPLORER_PATH = '/explore'
/** The relative path is the same from `src` and from `dist`. */
const PACKAGE_JSON = new URL('../../../package.json', import.meta.url)

/**
 * Registers the pages for browsers. `/` redirects browsers to the explorer and returns a list of paths to other
 * clients. The pages are served without a key; they ask the person for a key and send it in a header of each API
 * request.
 */
export function registerPages(app: FastifyInstance, readAssets: () => Promise<PageAssets>): void {
  const readPage = loadOnce(async () => createStaticFile(HTML_TYPE, explorerPage(await readAssets())))
  const readIndex = loadOnce(async () => {
    const { name, version }: { name: string; version: string } = JSON.parse(await readFile(PACKAGE_JSON, 'utf8'))
    return JSON.stringify({ name, version, links: LINKS })
  })

  // HEAD of this path is a route of the Better Stack API.
  app.get('/', { exposeHeadRoute: false, config: { openapi: INDEX_OPERATION } }, async (request, reply) => {
    addVary(reply, ['accept'])
    if (accepts(request.headers.accept, 'text/html')) return reply.redirect(EXPLORER_PATH)
    return sendJson(reply, 200, await readIndex())
  })

  app.get(EXPLORER_PATH, { config: { openapi: EXPLORER_PAGE_OPERATION } }, async (_request, reply) => {
    reply.header('content-security-policy', EXPLORER_CONTENT_SECURITY_POLICY)
    return sendStaticFile(reply, await readPage(), REVALIDATED_CACHE_CONTROL)
  })

  app.get<{ Params: { version: string; folder: string; name: string } }>(
    `${ASSETS_PATH}/:version/:folder/:name`,
    { config: { openapi: PAGE_FILE_OPERATION } },
    async ({ params: { version, folder, name } }, reply) => {
      const assets = await readAssets()
      const file = version === assets.contentHash ? assets.files.get(`${folder}/${name}`) : undefined
      if (file === undefined) return sendError(reply, new GatewayError('not_found', 'the pages have no such file'))
      return sendStaticFile(reply, file, IMMUTABLE_CACHE_CONTROL)
    },
  )
}

const LINKS = {
  explorer: EXPLORER_PATH,
  graphql: '/graphql',
  rest: '/api/v1/metrics',
  openapi: '/openapi.json',
  health: '/health',
  ready: '/ready',
  metrics: '/metrics',
}

const LINK_SCHEMAS = Object.fromEntries(Object.keys(LINKS).map((name) => [name, STRING_SCHEMA]))

const INDEX_OPERATION: Operation = {
  id: 'index',
  tag: 'Operations',
  summary: 'Where everything is',
  description: 'Browsers (`Accept: text/html`) are sent to the explorer with status 302.',
  response: {
    status: 200,
    description: 'Name, version and paths.',
    content: jsonContent(objectOf({ name: STRING_SCHEMA, version: STRING_SCHEMA, links: objectOf(LINK_SCHEMAS) })),
  },
  errors: ['internal'],
}

const EXPLORER_PAGE_OPERATION: Operation = {
  id: 'explorerPage',
  tag: 'Operations',
  summary: 'The explorer, for browsers',
  description: 'Charts of any metric. Its address holds the question that it shows.',
  response: { status: 200, description: 'A page.', content: { 'text/html': STRING_SCHEMA } },
  errors: ['internal'],
}

const PAGE_FILE_OPERATION: Operation = {
  id: 'pagePart',
  tag: 'Operations',
  summary: 'Returns a file of the pages',
  description: 'The version is a hash of all files, so browsers may cache each for a year.',
  parameters: ['version', 'folder', 'name'].map((name) => ({
    in: 'path',
    name,
    description: 'As the pages refer to it.',
    schema: STRING_SCHEMA,
  })),
  response: {
    status: 200,
    description: 'A script, a style sheet or a picture.',
    content: { 'text/javascript': STRING_SCHEMA, 'text/css': STRING_SCHEMA, 'image/svg+xml': STRING_SCHEMA },
  },
  errors: ['not_found', 'internal'],
}
