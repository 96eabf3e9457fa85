import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import type { FluxLimits } from '../flux/flux-routes.ts'
import { sendJson } from '../server/answer.ts'
import { openApiDocument } from './document.ts'

/** The same place from `src` and from `dist`. */
const PACKAGE = new URL('../../../package.json', import.meta.url)

/** `/openapi.json`: what the gateway answers, for programs. Made when first asked for; it tells nothing of a project. */
export function registerOpenApi(app: FastifyInstance, limits: FluxLimits): void {
  let text: string | undefined
  app.get('/openapi.json', async (_request, reply) => {
    text ??= JSON.stringify(openApiDocument(limits, await readVersion()))
    return sendJson(reply, 200, text)
  })
}

async function readVersion(): Promise<string> {
  const { version }: { version: string } = JSON.parse(await readFile(PACKAGE, 'utf8'))
  return version
}
