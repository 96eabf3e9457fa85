import type { ErrorCode } from '../../model/errors.ts'
import { CONTENT_ENCODINGS } from '../body/content-encoding.ts'
import { statusOf } from '../response/error-status.ts'
import {
  type Content,
  contentEncodingHeader,
  type ErrorFormat,
  jsonContent,
  OPERATION_TAGS,
  type Operation,
  type Route,
  type SuccessResponse,
} from './operation.ts'
import { componentSchemas, refTo, type SchemaLimits } from './schemas.ts'

/** Builds the OpenAPI 3.1 document of these routes, with the limits of this gateway. */
export function openApiDocument(routes: readonly Route[], limits: SchemaLimits, version: string): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const { method, path, operation } of documentedRoutes(routes)) {
    const operations = (paths[path.replaceAll(/:(\w+)/g, '{$1}')] ??= {})
    operations[method.toLowerCase()] = operationObject(operation)
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
    tags: OPERATION_TAGS.map((name) => ({ name })),
    paths,
    components: {
      schemas: componentSchemas(limits),
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'An API key.' },
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'An API key.' },
      },
    },
  }
}

type DocumentedRoute = Route & { readonly operation: Operation }

/** Returns the routes that have a description, without the HEAD routes that Fastify adds to GET routes. */
function documentedRoutes(routes: readonly Route[]): readonly DocumentedRoute[] {
  const getOperations = new Set(routes.filter(({ method }) => method === 'GET').map(({ operation }) => operation))
  return routes.filter(
    (route): route is DocumentedRoute =>
      route.operation !== undefined && !(route.method === 'HEAD' && getOperations.has(route.operation)),
  )
}

function operationObject(operation: Operation): object {
  const { id, tag, summary, scope, body, contentEncodings = CONTENT_ENCODINGS, response } = operation
  const description = descriptionOf(operation)
  const bodyHeaders = body === undefined ? [] : [contentEncodingHeader(contentEncodings)]
  const parameters = [...(operation.parameters ?? []), ...bodyHeaders]
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(description !== '' && { description }),
    security: scope === undefined ? [] : [{ bearer: [] }, { apiKey: [] }],
    ...(parameters.length > 0 && {
      parameters: parameters.map((parameter) => ({
        ...parameter,
        required: parameter.in === 'path',
        ...(parameter.style !== undefined && { explode: true }),
      })),
    }),
    ...(body !== undefined && { requestBody: { required: true, content: contentObject(body) } }),
    responses: { [response.status]: successObject(response, scope !== undefined), ...errorObjects(operation) },
  }
}

function descriptionOf({ scope, description = '' }: Operation): string {
  if (scope === undefined || scope === 'any') return description
  return `Needs the scope \`${scope}\`. ${description}`.trim()
}

function successObject({ description, content, headers }: SuccessResponse, isRateLimited: boolean): object {
  return {
    description,
    headers: headerObjects({
      ...COMMON_HEADER_DESCRIPTIONS,
      ...(isRateLimited && RATE_LIMIT_HEADER_DESCRIPTIONS),
      ...headers,
    }),
    ...(content !== undefined && { content: contentObject(content) }),
  }
}

const JSON_ERROR_FORMAT: ErrorFormat = { content: jsonContent(refTo('Error')) }

/**
 * Describes the error responses, by status. Each description lists the error codes that have this status, after the
 * text of `descriptionsWithoutCode` for this status.
 */
function errorObjects({ errors, errorFormat = JSON_ERROR_FORMAT }: Operation): Record<string, object> {
  const codesByStatus = new Map<number, ErrorCode[]>()
  for (const code of errors) {
    const status = (errorFormat.statusOf ?? statusOf)(code)
    codesByStatus.set(status, [...(codesByStatus.get(status) ?? []), code])
  }
  const descriptions: Record<string, string> = { ...errorFormat.descriptionsWithoutCode }
  for (const [status, codes] of codesByStatus) {
    const codeList = codes.map((code) => `\`${code}\``).join(', ')
    const otherDescription = descriptions[status]
    descriptions[status] = otherDescription === undefined ? codeList : `${otherDescription} Or: ${codeList}`
  }
  return Object.fromEntries(
    Object.entries(descriptions).map(([status, description]) => [
      status,
      {
        description,
        headers: headerObjects({
          ...COMMON_HEADER_DESCRIPTIONS,
          ...(status === '429' && RATE_LIMIT_HEADER_DESCRIPTIONS),
          ...((status === '429' || status === '503') && { 'Retry-After': 'Seconds to wait before a retry.' }),
        }),
        content: contentObject(errorFormat.content),
      },
    ]),
  )
}

const COMMON_HEADER_DESCRIPTIONS = { 'X-Request-Id': 'Id of the request, as in the log.' }
const RATE_LIMIT_HEADER_DESCRIPTIONS = {
  'RateLimit-Limit': 'Requests per minute.',
  'RateLimit-Remaining': 'Requests left in this minute.',
  'RateLimit-Reset': 'Seconds until the minute ends.',
}

function headerObjects(headers: Readonly<Record<string, string>>): object {
  return Object.fromEntries(
    Object.entries(headers).map(([name, description]) => [name, { description, schema: { type: 'string' } }]),
  )
}

function contentObject(content: Content): object {
  return Object.fromEntries(Object.entries(content).map(([type, schema]) => [type, { schema }]))
}
