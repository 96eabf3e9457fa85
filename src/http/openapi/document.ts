import type { ErrorCode } from '../../model/errors.ts'
import type { FluxLimits } from '../flux/flux-routes.ts'
import { statusOf } from '../server/error-table.ts'
import { type Answer, CONTENT_ENCODING, OPERATIONS, type Operation } from './operations.ts'
import { componentSchemas, refTo } from './schemas.ts'

/** The OpenAPI 3.1 document of the gateway, with the limits that this one has. */
export function openApiDocument(limits: FluxLimits, version: string): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const operation of OPERATIONS) {
    const path = (paths[operation.path.replaceAll(/:(\w+)/g, '{$1}')] ??= {})
    path[operation.method.toLowerCase()] = operationObject(operation)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'GaugeQL',
      version,
      summary: 'A GraphQL metrics gateway.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    tags: [...new Set(OPERATIONS.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: componentSchemas(limits),
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'An API key.' },
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'The same.' },
      },
    },
  }
}

function operationObject(operation: Operation): object {
  const { id, tag, summary, description, scope, body, answer } = operation
  const parameters = [...(operation.parameters ?? []), ...(body === undefined ? [] : [CONTENT_ENCODING])]
  const needs = scope === undefined ? [] : [{ bearer: [] }, { apiKey: [] }]
  const told =
    scope === undefined || scope === 'any' ? description : `Needs the scope \`${scope}\`. ${description ?? ''}`
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(told !== undefined && { description: told.trim() }),
    security: needs,
    ...(parameters.length > 0 && {
      parameters: parameters.map((parameter) => ({
        ...parameter,
        required: parameter.in === 'path',
        ...(parameter.style !== undefined && { explode: true }),
      })),
    }),
    ...(body !== undefined && { requestBody: { required: true, content: contentOf(body) } }),
    responses: { [answer.status]: answerObject(answer, scope !== undefined), ...refusals(operation) },
  }
}

function answerObject({ description, content, headers = {} }: Answer, isLimited: boolean): object {
  return {
    description,
    headers: headerObjects({ ...COMMON_HEADERS, ...(isLimited && LIMIT_HEADERS), ...headers }),
    ...(content !== undefined && { content: contentOf(content) }),
  }
}

/** By status, with the codes that have it. */
function refusals({ errors, errorsAs = 'json' }: Operation): Record<string, object> {
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of errors) {
    const status = errorsAs === 'text' ? plainStatusOf(code) : statusOf(code)
    byStatus.set(status, [...(byStatus.get(status) ?? []), code])
  }
  if (errorsAs === 'text') byStatus.set(406, [])
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => {
      const isRetryable = status === 429 || status === 503
      return [
        status,
        {
          description:
            codes.length === 0
              ? 'The body cannot be decoded; nothing is stored.'
              : codes.map((code) => `\`${code}\``).join(', '),
          headers: headerObjects({
            ...COMMON_HEADERS,
            ...(status === 429 && LIMIT_HEADERS),
            ...(isRetryable && { 'Retry-After': 'Seconds to wait.' }),
          }),
          content: contentOf(REFUSAL_CONTENT[errorsAs]),
        },
      ]
    }),
  )
}

const REFUSAL_CONTENT = {
  json: { 'application/json': refTo('Error') },
  text: { 'text/plain': { type: 'string' } },
  graphql: { 'application/json': refTo('GraphQLResult') },
}

/** The Better Stack dialect knows one status for every fault of a key. */
function plainStatusOf(code: ErrorCode): number {
  return statusOf(code) === 401 ? 403 : statusOf(code)
}

const COMMON_HEADERS = { 'X-Request-Id': 'Of this request, as the log names it.' }
const LIMIT_HEADERS = {
  'RateLimit-Limit': 'Requests a minute.',
  'RateLimit-Remaining': 'Those left in this minute.',
  'RateLimit-Reset': 'Seconds until the minute is over.',
}

function headerObjects(headers: Readonly<Record<string, string>>): object {
  return Object.fromEntries(
    Object.entries(headers).map(([name, description]) => [name, { description, schema: { type: 'string' } }]),
  )
}

function contentOf(content: Readonly<Record<string, object>>): object {
  return Object.fromEntries(Object.entries(content).map(([type, schema]) => [type, { schema }]))
}
