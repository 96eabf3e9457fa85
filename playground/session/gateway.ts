import { isObject } from '../chart/json.ts'
import { readEvents, StreamCut } from './event-stream.ts'

/** GraphQL requests of the pages. Both a query and a subscription are one POST; the gateway decides what it sends. */
export interface GraphQLRequest {
  readonly query: string
  readonly variables?: unknown
  readonly operationName?: string | null | undefined
}

export interface Answer {
  readonly data?: unknown
  readonly errors?: readonly AnswerError[]
}

export interface AnswerError {
  readonly message: string
  /** The code, and beside it the details of the error. */
  readonly extensions?: { readonly code?: string; readonly [detail: string]: unknown }
}

export interface RequestOptions {
  readonly key: string
  readonly signal?: AbortSignal
  /** From the headers editor of GraphiQL. */
  readonly headers?: Readonly<Record<string, string>>
}

const ENDPOINT = '/graphql'
/** The code of an answer that is none: no gateway responded, or something between responded for it. */
export const UNREACHABLE = 'UNREACHABLE'

/** Resolves to an answer, or to a stream of answers. Rejects only when `signal` aborts. */
export async function send(request: GraphQLRequest, options: RequestOptions): Promise<Answer | AsyncIterable<Answer>> {
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
      return readEvents<Answer>(response.body)
    }
    return await answerOf(response)
  } catch (error) {
    if (signal?.aborted === true) throw error
    return failed('the gateway does not respond')
  }
}

/** For operations that have one answer. */
export async function ask(request: GraphQLRequest, options: RequestOptions): Promise<Answer> {
  const answer = await send(request, options)
  return isStream(answer) ? failed('the gateway responded with a stream') : answer
}

export function isStream(answer: Answer | AsyncIterable<Answer>): answer is AsyncIterable<Answer> {
  return Symbol.asyncIterator in answer
}

/** The code of the first error; undefined for a success. */
export function codeOf({ errors }: Answer): string | undefined {
  return errors === undefined ? undefined : (errors[0]?.extensions?.code ?? 'INTERNAL')
}

export interface FollowOptions extends RequestOptions {
  readonly signal: AbortSignal
  /** The connection was lost and is opened again. */
  readonly onReconnect?: () => void
}

const RECONNECT_MS_MIN = 500
const RECONNECT_MS_MAX = 15_000
/** Answers after which another try may succeed. */
const PASSING = new Set([UNREACHABLE, 'OVERLOADED', 'STORE_UNAVAILABLE', 'RATE_LIMITED'])

/** Answers of a subscription, which begins again with a snapshot whenever its connection is lost. */
export async function* follow(request: GraphQLRequest, options: FollowOptions): AsyncGenerator<Answer> {
  const { signal, onReconnect } = options
  for (let waitMs = RECONNECT_MS_MIN; !signal.aborted; waitMs = Math.min(2 * waitMs, RECONNECT_MS_MAX)) {
    const answer = await send(request, options)
    if (isStream(answer)) {
      try {
        for await (const update of answer) {
          waitMs = RECONNECT_MS_MIN
          yield update
        }
        return
      } catch (error) {
        if (signal.aborted || !(error instanceof StreamCut)) throw error
      }
    } else {
      if (!PASSING.has(codeOf(answer) ?? '')) {
        yield answer
        return
      }
    }
    onReconnect?.()
    await pause(waitMs, signal)
  }
}

async function answerOf(response: Response): Promise<Answer> {
  try {
    const answer: unknown = await response.json()
    if (isObject(answer) && ('data' in answer || Array.isArray(answer['errors']))) return answer as Answer
  } catch {
    // Not JSON.
  }
  return failed(`the response has status ${response.status} and is no GraphQL result`)
}

function failed(message: string): Answer {
  return { errors: [{ message, extensions: { code: UNREACHABLE } }] }
}

function pause(waitMs: number, signal: AbortSignal): Promise<void> {
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
