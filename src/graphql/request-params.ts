import type { GraphQLParams } from 'graphql-yoga'
import { GatewayError } from '../model/errors.ts'
import { parseJsonBody } from '../wire/json-body.ts'

/** The operation of a POST. Throws `invalid_body`. */
export function paramsOfBody(body: unknown): GraphQLParams {
  const value = parseJsonBody(Buffer.isBuffer(body) ? body : new Uint8Array())
  if (Array.isArray(value))
    throw new GatewayError('invalid_body', 'one operation a request: the body must be an object')
  if (!isObject(value)) throw new GatewayError('invalid_body', 'the body must be an object with "query"')
  return readParams(value)
}

/** The operation of a GET. Throws `invalid_body`. */
export function paramsOfUrl(url: string): GraphQLParams {
  const mark = url.indexOf('?')
  const search = new URLSearchParams(mark < 0 ? '' : url.slice(mark))
  return readParams({
    query: search.get('query'),
    operationName: search.get('operationName') || null,
    variables: jsonParameter(search, 'variables'),
    extensions: jsonParameter(search, 'extensions'),
  })
}

function jsonParameter(search: URLSearchParams, name: string): unknown {
  const text = search.get(name)
  if (text === null || text === '') return null
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new GatewayError('invalid_body', `${name} is no valid JSON`, { cause })
  }
}

interface Unjudged {
  readonly query?: unknown
  readonly operationName?: unknown
  readonly variables?: unknown
  readonly extensions?: unknown
}

function readParams({ query, operationName, variables, extensions }: Unjudged): GraphQLParams {
  if (typeof query !== 'string')
    throw new GatewayError('invalid_body', '"query" must be a string: the GraphQL document')
  if (operationName != null && typeof operationName !== 'string') {
    throw new GatewayError('invalid_body', '"operationName" must be a string')
  }
  if (variables != null && !isObject(variables)) throw new GatewayError('invalid_body', '"variables" must be an object')
  if (extensions != null && !isObject(extensions))
    throw new GatewayError('invalid_body', '"extensions" must be an object')
  return {
    query,
    ...(operationName != null && { operationName }),
    ...(variables != null && { variables }),
    ...(extensions != null && { extensions }),
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
