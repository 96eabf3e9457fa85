import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { FastifyInstance } from 'fastify'
import { GatewayError } from '../../model/errors.ts'
import { type Operation, STRING } from '../openapi/operation.ts'
import { addVary } from '../response/vary.ts'

interface ClientModule {
  readonly etag: string
  readonly plain: Buffer
  readonly gzipped: Buffer
}

/** The folder into which the build writes the modules, relative to `dist/http/server`. It does not exist in `src`. */
const FOLDER = new URL('../../client/', import.meta.url)
const NAMES = ['tracker', 'live']
/** How long browsers cache a module. Gateways of any version accept the requests of an older module. */
const MAX_AGE_SECONDS = 3_600

/**
 * Serves the modules of `client/`, so that a page can import them without npm. The modules contain no data, so pages of
 * every origin may import them without a key. Each file is read at its first request.
 */
export function registerClientModules(app: FastifyInstance, folder: URL = FOLDER): void {
  for (const name of NAMES) {
    let loading: Promise<ClientModule> | undefined
    app.get(`/client/${name}.js`, { config: { openapi: describe(name) } }, async (request, reply) => {
      loading ??= load(new URL(`${name}.js`, folder))
      const { etag, plain, gzipped } = await loading.catch((cause: unknown) => {
        loading = undefined
        throw new GatewayError('not_found', 'the module was not built; run npm run build', { cause })
      })
      addVary(reply, ['accept-encoding'])
        .header('access-control-allow-origin', '*')
        .header('cache-control', `public, max-age=${MAX_AGE_SECONDS}`)
        .header('etag', etag)
      if (request.headers['if-none-match']?.includes(etag) === true) return reply.code(304).send()
      const isGzip = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/i.test(request.headers['accept-encoding'] ?? '')
      if (isGzip) reply.header('content-encoding', 'gzip')
      return reply.header('content-type', 'text/javascript; charset=utf-8').send(isGzip ? gzipped : plain)
    })
  }
}

async function load(file: URL): Promise<ClientModule> {
  const plain = await readFile(file)
  // A weak ETag is valid for both encodings.
  const etag = `W/"${createHash('sha256').update(plain).digest('base64url').slice(0, 22)}"`
  return { etag, plain, gzipped: await promisify(gzip)(plain, { level: 9 }) }
}

function describe(name: string): Operation {
  return {
    id: `${name}Module`,
    tag: 'Operations',
    summary: `Returns the ${name} module for browsers`,
    description: 'An ES module that pages of every origin may import.',
    response: { status: 200, description: 'The module.', content: { 'text/javascript': STRING } },
    errors: ['not_found'],
  }
}
