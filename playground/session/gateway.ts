import { isObject } from '../chart/json.ts'
import { readEvents, StreamInterruptedError } from './event-stream.ts'

/** A GraphQL request of a page. Every operation, also a subscription, is sent as one POST. */
export interface GraphQLRequest {
  readonly query: string
  readonly variables?: unknown
  readonly operationName?: string | null | undefined
}

export interface GraphQLResult {
  readonly data?: unknown
  readonly errors?: readonly GraphQLResultError[]
}

export interface GraphQLResultError {
  readonly message: string
  /** The error code, and the details of the error. */
  readonly extensions?: { readonly code?: string; readonly [detail: string]: unknown }
}

export interface RequestOptions {
  readonly key: string
  readonly signal?: AbortSignal
  /** Additional headers, from GraphiQL's headers editor. */
  readonly headers?: Readonly<Record<string, string>>
}

const ENDPOINT = '/graphql'
/** The error code if no gateway responded, or if the response is no GraphQL result, such as a proxy's error page. */
export const UNREACHABLE = 'UNREACHABLE'

/** Resolves to a result, or to a stream of results. Rejects only when `signal` aborts. */
export async function send(
  request: GraphQLRequest,
  options: RequestOptions,
): Promise<GraphQLResult | AsyncIterable<GraphQLResult>> {
  const { key, signal, headers } = options
  try {
    const response = await fetch(ENDPOINT, {
      method: 'POST',
      headers: {
        accept: 'application/json, text/event-stream',
        ...headers,
        'content-type': 'application/json',
        authorization: `Bearer ${key}`,
      },
      body: JSON.stringify(request),
      signal: signal ?? null,
    })
    if (response.headers.get('content-type')?.startsWith('text/event-stream') === true && response.body !== null) {
      return readEvents<GraphQLResult>(response.body)
    }
    return await parseResult(response)
  } catch (error) {
    if (signal?.aborted === true) throw error
    return unreachableResult('the gateway does not respond')
  }
}

/** Sends an operation that has one result. */
export async function sendOnce(request: GraphQLRequest, options: RequestOptions): Promise<GraphQLResult> {
  const result = await send(request, options)
  return isStream(result) ? unreachableResult('the gateway responded with a stream') : result
}

export function isStream(result: GraphQLResult | AsyncIterable<GraphQLResult>): result is AsyncIterable<GraphQLResult> {
  return Symbol.asyncIterator in result
}

/** Returns the code of the first error: `INTERNAL` if it has no code. Undefined if the result has no `errors`. */
export function errorCodeOf({ errors }: GraphQLResult): string | undefined {
  return errors === undefined ? undefined : (errors[0]?.extensions?.code ?? 'INTERNAL')
}

export interface SubscribeOptions extends RequestOptions {
  readonly signal: AbortSignal
  /** Called after a lost connection or a temporary error, before the next attempt. */
  readonly onReconnect?: () => void
}

const RECONNECT_MS_MIN = 500
const RECONNECT_MS_MAX = 15_000
/** Error codes after which a retry may succeed. */
const TEMPORARY_CODES = new Set([UNREACHABLE, 'OVERLOADED', 'STORE_UNAVAILABLE', 'RATE_LIMITED'])

/**
 * Yields the results of a subscription. Connects again after a lost connection or a temporary error; the first result
 * of each connection is a snapshot. An error that is not temporary is the last result.
 */
export async function* subscribe(request: GraphQLRequest, options: SubscribeOptions): AsyncGenerator<GraphQLResult> {
  const { signal, onReconnect } = options
  for (let waitMs = RECONNECT_MS_MIN; !signal.aborted; waitMs = Math.min(2 * waitMs, RECONNECT_MS_MAX)) {
    const result = await send(request, options)
    if (isStream(result)) {
      try {
        for await (const update of result) {
          waitMs = RECONNECT_MS_MIN
          yield update
        }
        return
      } catch (error) {
        if (signal.aborted || !(error instanceof StreamInterruptedError)) throw error
      }
    } else {
      if (!TEMPORARY_CODES.has(errorCodeOf(result) ?? '')) {
        yield result
        return
      }
    }
    onReconnect?.()
    await waitBeforeRetry(waitMs, signal)
  }
}

async function parseResult(response: Response): Promise<GraphQLResult> {
  try {
    const result: unknown = await response.json()
    if (isObject(result) && ('data' in result || Array.isArray(result['errors']))) return result as GraphQLResult
  } catch {
    // Not JSON.
  }
  return unreachableResult(`the response has status ${response.status} and is no GraphQL result`)
}

function unreachableResult(message: string): GraphQLResult {
  return { errors: [{ message, extensions: { code: UNREACHABLE } }] }
}

function waitBeforeRetry(waitMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, waitMs)
    signal.addEventListener('abort', end)
  })
}
