import { GatewayError } from '../../model/errors.ts'
import { isObject } from '../../model/is-object.ts'
import { parseJson } from '../../model/json.ts'
import { readJsonBody } from '../../wire/json-body.ts'
import type { OperationParams } from './yoga.ts'

/** The parameters of a POST. Throws `invalid_body`. */
export async function paramsOfBody(body: unknown): Promise<OperationParams> {
  const value = await readJsonBody(Buffer.isBuffer(body) ? body : new Uint8Array())
  if (Array.isArray(value))
    throw new GatewayError('invalid_body', 'the body must be an object: batched operations are not supported')
  if (!isObject(value)) throw new GatewayError('invalid_body', 'the body must be a JSON object with "query"')
  return parseParams(value)
}

/** The parameters of a GET. Throws `invalid_body`. */
export function paramsOfUrl(url: string): OperationParams {
  const queryStart = url.indexOf('?')
  const search = new URLSearchParams(queryStart < 0 ? '' : url.slice(queryStart))
  return parseParams({
    query: search.get('query') || null,
    documentId: search.get('documentId') || null,
    operationName: search.get('operationName'),
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
    throw new GatewayError('invalid_body', `${name} is not valid JSON`, { cause })
  }
}

/** A parameter that is null counts as absent, and so does an empty operation name. Unknown parameters are ignored. */
function parseParams(params: Record<string, unknown>): OperationParams {
  const query = optionalString(params, 'query')
  const documentId = optionalString(params, 'documentId')
  const operationName = optionalString(params, 'operationName')
  const variables = optionalObject(params, 'variables')
  const extensions = optionalObject(params, 'extensions')
  return {
    ...(query !== undefined && { query }),
    ...(documentId !== undefined && { documentId }),
    ...(operationName && { operationName }),
    ...(variables && { variables }),
    ...(extensions && { extensions }),
  }
}

function optionalString(params: Record<string, unknown>, name: string): string | undefined {
  const value = params[name] ?? undefined
  if (value === undefined || typeof value === 'string') return value
  throw new GatewayError('invalid_body', `"${name}" must be a string`)
}

function optionalObject(params: Record<string, unknown>, name: string): Record<string, unknown> | undefined {
  const value = params[name] ?? undefined
  if (value === undefined || isObject(value)) return value
  throw new GatewayError('invalid_body', `"${name}" must be an object`)
}
