import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../../model/errors.ts'
import { type Operation, STRING_SCHEMA } from '../openapi/operation.ts'
import { createStaticFile, SCRIPT_TYPE, type StaticFile, sendStaticFile } from './static-file.ts'

/** The folder into which the build writes the modules, relative to `dist/http/pages`. It does not exist in `src`. */
const BUILT_MODULES_FOLDER = new URL('../../client/', import.meta.url)
const MODULE_NAMES = ['tracker', 'live']
/** How long browsers may cache a module. A gateway accepts the requests of modules of older versions. */
const MAX_AGE_SECONDS = 3_600

/**
 * Serves the modules of `client/`, so that a page can import them without npm. The modules contain no data, so pages of
 * every origin may import them without a key. Each file is read at its first request and then kept in memory.
 */
export function registerClientModules(app: FastifyInstance, folder: URL = BUILT_MODULES_FOLDER): void {
  for (const name of MODULE_NAMES) {
    let loading: Promise<StaticFile> | undefined
    app.get(`/client/${name}.js`, { config: { openapi: moduleOperation(name) } }, async (_request, reply) => {
      loading ??= readFile(new URL(`${name}.js`, folder)).then((content) => createStaticFile(SCRIPT_TYPE, content))
      const file = await loading.catch((cause: unknown) => {
        loading = undefined
        throw new GatewayError('not_found', 'the module was not built; run npm run build', { cause })
      })
      reply.header('access-control-allow-origin', '*')
      return sendStaticFile(reply, file, `public, max-age=${MAX_AGE_SECONDS}`)
    })
  }
}

function moduleOperation(name: string): Operation {
  return {
    id: `${name}Module`,
    tag: 'Operations',
    summary: `Returns the ${name} module for browsers`,
    description: 'An ES module that pages of every origin may import.',
    response: { status: 200, description: 'The module.', content: { 'text/javascript': STRING_SCHEMA } },
    errors: ['not_found'],
  }
}
