import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import { sendJson } from '../response/json-response.ts'
import { openApiDocument } from './document.ts'
import { jsonContent, type Operation } from './operation.ts'
import type { SchemaLimits } from './schemas.ts'

/** The relative path is the same from `src` and from `dist`. */
const PACKAGE_JSON = new URL('../../../package.json', import.meta.url)

const OPENAPI_OPERATION: Operation = {
  id: 'openapi',
  tag: 'Operations',
  summary: 'This document',
  response: { status: 200, description: 'OpenAPI 3.1.', content: jsonContent({ type: 'object' }) },
  errors: [],
}

/**
 * `/openapi.json` describes every route that has an `Operation`. It is built on the first request, when all routes are
 * registered, and needs no key.
 */
export function registerOpenApi(app: FastifyInstance, limits: SchemaLimits): void {
  let text: string | undefined
  app.get('/openapi.json', { config: { openapi: OPENAPI_OPERATION } }, async (_request, reply) => {
    text ??= JSON.stringify(openApiDocument(app.routes, limits, await readVersion()))
    return sendJson(reply, 200, text)
  })
}

async function readVersion(): Promise<string> {
  const { version }: { version: string } = JSON.parse(await readFile(PACKAGE_JSON, 'utf8'))
  return version
}
