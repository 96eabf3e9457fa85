import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../../model/errors.ts'
import { jsonContent, type Operation, STRING } from '../openapi/operation.ts'
import { objectOf } from '../openapi/schemas.ts'
import { sendError } from '../response/error-status.ts'
import { sendJson } from '../response/json-response.ts'
import { addVary } from '../response/vary.ts'
import { CONTENT_SECURITY_POLICY, explorerPage } from './explorer-page.ts'
import { ASSETS_FOLDER, type PageAssets } from './page-assets.ts'
import { CACHE_FOREVER, createStaticFile, lazy, PAGE, REVALIDATE, sendStaticFile } from './static-file.ts'

const EXPLORER = '/explore'
/** The relative path is the same from `src` and from `dist`. */
const PACKAGE = new URL('../../../package.json', import.meta.url)

/**
 * What a person sees who opens the address of the gateway: `/` sends browsers to the explorer, and tells other clients
 * where everything is. The pages need no key; they ask for one and send it in a header.
 */
export function registerPages(app: FastifyInstance, readAssets: () => Promise<PageAssets>): void {
  const readPage = lazy(async () => createStaticFile(PAGE, explorerPage(await readAssets())))
  const readIndex = lazy(async () => {
    const { name, version }: { name: string; version: string } = JSON.parse(await readFile(PACKAGE, 'utf8'))
    return JSON.stringify({ name, version, links: LINKS })
  })

  // HEAD of this path is a route of the Better Stack API.
  app.get('/', { exposeHeadRoute: false, config: { openapi: INDEX } }, async (request, reply) => {
    addVary(reply, ['accept'])
    if (request.headers.accept?.includes('text/html') === true) return reply.redirect(EXPLORER)
    return sendJson(reply, 200, await readIndex())
  })

  app.get(EXPLORER, { config: { openapi: EXPLORER_PAGE } }, async (_request, reply) => {
    reply.header('content-security-policy', CONTENT_SECURITY_POLICY)
    return sendStaticFile(reply, await readPage(), REVALIDATE)
  })

  app.get<{ Params: { version: string; folder: string; name: string } }>(
    `${ASSETS_FOLDER}/:version/:folder/:name`,
    { config: { openapi: PAGE_PART } },
    async ({ params: { version, folder, name } }, reply) => {
      const assets = await readAssets()
      const file = version === assets.version ? assets.files.get(`${folder}/${name}`) : undefined
      if (file === undefined) return sendError(reply, new GatewayError('not_found', 'the pages have no such file'))
      return sendStaticFile(reply, file, CACHE_FOREVER)
    },
  )
}

const LINKS = {
  explorer: EXPLORER,
  graphql: '/graphql',
  rest: '/api/v1/metrics',
  openapi: '/openapi.json',
  health: '/health',
  ready: '/ready',
  metrics: '/metrics',
}

const LINK_SCHEMAS = Object.fromEntries(Object.keys(LINKS).map((name) => [name, STRING]))

const INDEX: Operation = {
  id: 'index',
  tag: 'Operations',
  summary: 'Where everything is',
  description: 'Browsers (`Accept: text/html`) are sent to the explorer with status 302.',
  response: {
    status: 200,
    description: 'Name, version and paths.',
    content: jsonContent(objectOf({ name: STRING, version: STRING, links: objectOf(LINK_SCHEMAS) })),
  },
  errors: ['internal'],
}

const EXPLORER_PAGE: Operation = {
  id: 'explorerPage',
  tag: 'Operations',
  summary: 'The explorer, for browsers',
  description: 'Charts of any metric. Its address holds the question that it shows.',
  response: { status: 200, description: 'A page.', content: { 'text/html': STRING } },
  errors: ['internal'],
}

const PAGE_PART: Operation = {
  id: 'pagePart',
  tag: 'Operations',
  summary: 'Returns a file of the pages',
  description: 'The version is a hash of all files, so browsers may cache each without limit.',
  parameters: ['version', 'folder', 'name'].map((name) => ({
    in: 'path',
    name,
    description: 'As the pages refer to it.',
    schema: STRING,
  })),
  response: {
    status: 200,
    description: 'A script, a style sheet or a picture.',
    content: { 'text/javascript': STRING, 'text/css': STRING, 'image/svg+xml': STRING },
  },
  errors: ['not_found', 'internal'],
}
