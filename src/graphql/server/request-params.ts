import { isUtf8 } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import { GatewayError } from '../../model/errors.ts'
import { isObject } from '../../model/is-object.ts'
import type { ItemCache } from '../../model/item-cache.ts'
import { parseJson } from '../../model/json.ts'
import type { SeriesRef } from '../../model/point.ts'
import { readJsonBody } from '../../wire/json-body.ts'
import { MetricInputList } from '../../wire/metric-input-list.ts'
import { findMetricInputs } from '../../wire/metric-input-scanner.ts'
import type { OperationParams } from './yoga.ts'

/**
 * Lengths of the bodies that are searched for a list of metric inputs. A shorter body is parsed in some microseconds. A
 * longer one must be parsed in steps, but the list is decoded at once.
 */
const SEARCHED_BODY_BYTES_MIN = 4_096
const SEARCHED_BODY_BYTES_MAX = 512 * 1_024

/** Stands for the list while the rest of the body is parsed. It is random, so no client can send it. */
const PLACEHOLDER = randomBytes(16).toString('hex')
const PLACEHOLDER_JSON = Buffer.from(JSON.stringify(PLACEHOLDER))

/**
 * The parameters of a POST. One of the variables may be a `MetricInputList` of at most `listItemsMax` inputs; it must
 * not be read once the response is being sent. Throws `invalid_body`.
 */
export async function paramsOfBody(
  body: unknown,
  itemCache: ItemCache<SeriesRef>,
  listItemsMax: number,
): Promise<OperationParams> {
  const bytes = Buffer.isBuffer(body) ? body : new Uint8Array()
  const value = (await parseAroundMetricInputs(bytes, itemCache, listItemsMax)) ?? (await readJsonBody(bytes))
  if (Array.isArray(value))
    throw new GatewayError('invalid_body', 'the body must be an object: batched operations are not supported')
  if (!isObject(value)) throw new GatewayError('invalid_body', 'the body must be a JSON object with "query"')
  return parseParams(value)
}

/**
 * Parses a body except for the list of metric inputs that one of its variables has, which becomes a `MetricInputList`.
 * Returns undefined if the whole body must be parsed: it has no such list, is invalid, or has a key twice.
 */
async function parseAroundMetricInputs(
  bytes: Uint8Array,
  itemCache: ItemCache<SeriesRef>,
  listItemsMax: number,
): Promise<Record<string, unknown> | undefined> {
  if (bytes.length < SEARCHED_BODY_BYTES_MIN || bytes.length > SEARCHED_BODY_BYTES_MAX) return undefined
  const range = findMetricInputs(bytes, itemCache, listItemsMax)
  if (range === undefined) return undefined
  const { variable, start, end } = range
  if (!isUtf8(bytes.subarray(start, end))) return undefined
  const body = await parseOrUndefined(Buffer.concat([bytes.subarray(0, start), PLACEHOLDER_JSON, bytes.subarray(end)]))
  if (!isObject(body)) return undefined
  const { variables } = body
  if (!isObject(variables) || variables[variable] !== PLACEHOLDER) return undefined
  variables[variable] = new MetricInputList(bytes, range, itemCache)
  return body
}

async function parseOrUndefined(bytes: Uint8Array): Promise<unknown> {
  try {
    return await readJsonBody(bytes)
  } catch (error) {
    if (error instanceof GatewayError) return undefined
    throw error
  }
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
