import { GatewayError } from '../../model/errors.ts'
import { parseJson } from '../../model/json.ts'
import { parseJsonBody } from '../../wire/json-body.ts'
import type { OperationParams } from '../operation.ts'

/** The document of a request as its text, or as the id of a text that the gateway knows, or both; never neither. */
export interface RequestedDocument {
  readonly query: string | undefined
  readonly id: string | undefined
}

export interface RequestParams extends OperationParams, RequestedDocument {}

/** The operation of a POST. Throws `invalid_body`. */
export function paramsOfBody(body: unknown): RequestParams {
  const value = parseJsonBody(Buffer.isBuffer(body) ? body : new Uint8Array())
  if (Array.isArray(value))
    throw new GatewayError('invalid_body', 'one operation a request: the body must be an object')
  if (!isObject(value)) throw new GatewayError('invalid_body', 'the body must be an object with "query"')
  return readParams(value)
}

/** The operation of a GET. Throws `invalid_body`. */
export function paramsOfUrl(url: string): RequestParams {
  const mark = url.indexOf('?')
  const search = new URLSearchParams(mark < 0 ? '' : url.slice(mark))
  return readParams({
    query: search.get('query') || null,
    documentId: search.get('documentId') || null,
    operationName: search.get('operationName') || null,
    variables: jsonParameter(search, 'variables'),
    extensions: jsonParameter(search, 'extensions'),
  })
}

function jsonParameter(search: URLSearchParams, name: string): unknown {
  const text = search.get(name)
  if (text === null || text === '') return null
  try {
    return parseJson(text)
  } catch (cause) {
    throw new GatewayError('invalid_body', `${name} is no valid JSON`, { cause })
  }
}

interface Unjudged {
  readonly query?: unknown
  readonly documentId?: unknown
  readonly operationName?: unknown
  readonly variables?: unknown
  readonly extensions?: unknown
}

function readParams({ query, documentId, operationName, variables, extensions }: Unjudged): RequestParams {
  if (query != null && typeof query !== 'string')
    throw new GatewayError('invalid_body', '"query" must be a string: the GraphQL document')
  if (documentId != null && typeof documentId !== 'string')
    throw new GatewayError('invalid_body', '"documentId" must be a string')
  if (operationName != null && typeof operationName !== 'string')
    throw new GatewayError('invalid_body', '"operationName" must be a string')
  if (variables != null && !isObject(variables)) throw new GatewayError('invalid_body', '"variables" must be an object')
  if (extensions != null && !isObject(extensions))
    throw new GatewayError('invalid_body', '"extensions" must be an object')
  const id = documentId ?? hashOf(extensions ?? {})
  if (query == null && id === undefined)
    throw new GatewayError('invalid_body', '"query" is missing: the GraphQL document')
  return {
    query: query ?? undefined,
    id,
    ...(operationName != null && { operationName }),
    ...(variables != null && { variables }),
  }
}

/** As Apollo's clients name a persisted document. */
function hashOf({ persistedQuery }: Record<string, unknown>): string | undefined {
  if (persistedQuery === undefined || persistedQuery === null) return undefined
  const hash = isObject(persistedQuery) ? persistedQuery['sha256Hash'] : undefined
  if (typeof hash === 'string') return hash
  throw new GatewayError('invalid_body', '"extensions.persistedQuery" must hold "sha256Hash"')
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
