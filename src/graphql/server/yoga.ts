import type { ExecutionResult, GraphQLSchema } from 'graphql'
import {
  createYoga,
  type GraphQLParams,
  isAsyncIterable,
  mapAsyncIterator,
  processRegularResult,
  type Plugin as YogaPlugin,
} from 'graphql-yoga'
import { writeJson } from '../../model/json.ts'
import type { GraphQLContext } from '../context.ts'
import { createTextCache } from '../documents/text-cache.ts'

/**
 * All contact with graphql-yoga. Yoga runs every operation (parse, validate, execute, subscribe) and calls the hooks of
 * our plugins; Fastify keeps HTTP. So only the hooks of {@link OperationPlugin} are ever called, and a plugin with any
 * other HTTP hook is refused.
 */
export interface Engine {
  /**
   * Synchronous when nothing was executed, or nothing that waits. Failures of the operation are in the result; a
   * rejection is a defect of a plugin.
   */
  run(
    params: OperationParams,
    method: 'GET' | 'POST',
    context: GraphQLContext,
  ): OperationResult | Promise<OperationResult>
  /**
   * The response that yoga makes of a result: `extensions.http` of errors and of the result decide on status and
   * headers.
   */
  respond(result: ExecutionResult, mediaType: string): Promise<OperationResponse>
}

export interface OperationParams extends GraphQLParams {
  readonly documentId?: string
}

/** A subscription returns an iterable. */
export type OperationResult = ExecutionResult | AsyncIterable<ExecutionResult>

export interface OperationResponse {
  readonly status: number
  /** By their names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

type Plugin = YogaPlugin<GraphQLContext, GraphQLContext, GraphQLContext>

/** The hooks that run when yoga is called without its HTTP layer. */
export type OperationPlugin = Pick<
  Plugin,
  'onParams' | 'onParse' | 'onValidate' | 'onExecute' | 'onSubscribe' | 'onExecutionResult'
>

/** Hooks of yoga's HTTP layer. A plugin with one of them would silently do less than it promises. */
const HTTP_HOOKS = ['onRequest', 'onRequestParse', 'onResponse', 'onResultProcess'] as const

/** Longer documents hold their data as literals and do not come again: they are parsed each time. */
const CACHED_CHARS_MAX = 16 * 1024
/** Total characters. A parsed document takes some hundred bytes for each character of its text. */
const DOCUMENT_CACHE_CHARS_MAX = 256 * 1024
const ERROR_CACHE_CHARS_MAX = 64 * 1024

/** Throws when a plugin has a hook that would never be called. */
export function createEngine(schema: GraphQLSchema, plugins: readonly OperationPlugin[]): Engine {
  plugins.forEach(requireOperationHooks)
  const yoga = createYoga<GraphQLContext, GraphQLContext>({
    schema,
    plugins: [...plugins],
    graphiql: false,
    landingPage: false,
    cors: false,
    multipart: false,
    logging: false,
    // A plugin masks errors: yoga's own masking does not know the request, whose id an internal error carries.
    maskedErrors: false,
    parserAndValidationCache: {
      documentCache: createTextCache(DOCUMENT_CACHE_CHARS_MAX, (_, text) => text, CACHED_CHARS_MAX),
      errorCache: createTextCache<object>(ERROR_CACHE_CHARS_MAX, (_, text) => text, CACHED_CHARS_MAX),
    },
  })
  // `yoga` is a proxy that binds a method at each access.
  const { getResultForParams, fetchAPI } = yoga
  return {
    run(params, method, context) {
      const result = getResultForParams({ params, request: requestOf(method) }, context)
      return result instanceof Promise ? result.then(requireResult) : requireResult(result)
    },
    async respond(result, mediaType) {
      const response = processRegularResult({ ...result, stringify }, fetchAPI, mediaType)
      const headers: Record<string, string> = {}
      for (const [name, value] of response.headers) headers[name.toLowerCase()] = value
      // Fastify counts what it sends: a response to HEAD or 304 has no body.
      delete headers['content-length']
      return { status: response.status, headers, body: await response.text() }
    },
  }
}

export { isAsyncIterable }

/** Yoga asks the result itself how to write it. Integers beyond 2^53 are bigints, which `JSON.stringify` refuses. */
function stringify(result: ExecutionResult & { readonly stringify?: unknown }): string {
  const { stringify: _, ...rest } = result
  return writeJson(rest)
}

/** The same stream with each result replaced. Closing it closes the source; an error of `map` ends it. */
export function mapResults(
  results: AsyncIterable<ExecutionResult>,
  map: (result: ExecutionResult) => ExecutionResult,
): AsyncIterable<ExecutionResult> {
  return mapAsyncIterator(results, map)
}

function requireOperationHooks(plugin: object, index: number): void {
  const hooks = HTTP_HOOKS.filter((hook) => hook in plugin)
  if (hooks.length === 0) return
  throw new Error(
    `GraphQL plugin ${index} cannot work: its hooks ${hooks.join(', ')} belong to yoga's HTTP layer, which this gateway does not use`,
  )
}

/**
 * Yoga passes the request to hooks. Of a request that did not come through its HTTP layer they may read the method
 * alone.
 */
function requestOf(method: string): Request {
  const request: Pick<Request, 'method'> = { method }
  return request as Request
}

function requireResult(result: OperationResult | undefined): OperationResult {
  if (result === undefined) throw new Error('graphql-yoga returned no result')
  return result
}
