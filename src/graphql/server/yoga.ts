import type { DocumentNode, ExecutionResult, GraphQLSchema } from 'graphql'
import {
  createYoga,
  type GraphQLParams,
  isAsyncIterable,
  mapAsyncIterator,
  processRegularResult,
  type Plugin as YogaPlugin,
} from 'graphql-yoga'
import { LRUCache } from 'lru-cache'
import { writeJson } from '../../model/json.ts'
import type { GraphQLContext } from '../context.ts'

/**
 * The only file that imports graphql-yoga. Yoga parses, validates and executes every operation and calls the hooks of
 * our plugins. Fastify handles HTTP, so yoga's HTTP hooks never run; a plugin that has one is refused at start.
 */
export interface OperationEngine {
  /**
   * Runs an operation. Returns a promise only for a subscription, or if a resolver is asynchronous. Errors of the
   * operation are in the result; if `run` throws or its promise rejects, a plugin has a bug.
   */
  run(
    params: OperationParams,
    method: 'GET' | 'POST',
    context: GraphQLContext,
  ): OperationResult | Promise<OperationResult>
  /** Converts a result to a response. `extensions.http` of the errors sets status and headers. */
  respond(result: ExecutionResult, mediaType: string): Promise<OperationResponse>
}

export interface OperationParams extends GraphQLParams {
  readonly documentId?: string
}

/** The result of an operation: for a subscription an iterable of results, unless the subscription was refused. */
export type OperationResult = ExecutionResult | AsyncIterable<ExecutionResult>

interface OperationResponse {
  readonly status: number
  /** Names are in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

type Plugin = YogaPlugin<GraphQLContext, GraphQLContext, GraphQLContext>

/** Hooks that also run when yoga is called without its HTTP layer. */
export type OperationPlugin = Pick<
  Plugin,
  'onParams' | 'onParse' | 'onValidate' | 'onExecute' | 'onSubscribe' | 'onExecutionResult'
>

/** Hooks of yoga's HTTP layer. A plugin with one of them would silently not work. */
const HTTP_HOOKS = ['onRequest', 'onRequestParse', 'onResponse', 'onResultProcess'] as const

/** Maximum length of a cached document. Longer ones usually contain data as literals and are rarely repeated. */
const CACHED_DOCUMENT_CHARS_MAX = 16 * 1024
/** Total characters of cached documents. A parsed document takes some hundred bytes per character of its text. */
const DOCUMENT_CACHE_CHARS_MAX = 256 * 1024
/** Total characters of documents whose errors are cached. */
const ERROR_CACHE_CHARS_MAX = 64 * 1024

/** Throws when a plugin has a hook that would never be called. */
export function createOperationEngine(schema: GraphQLSchema, plugins: readonly OperationPlugin[]): OperationEngine {
  plugins.forEach(requireOperationHooks)
  const yoga = createYoga<GraphQLContext, GraphQLContext>({
    schema,
    plugins: [...plugins],
    graphiql: false,
    landingPage: false,
    cors: false,
    multipart: false,
    logging: false,
    // A plugin masks errors, because yoga's masking does not know the id of the request.
    maskedErrors: false,
    parserAndValidationCache: {
      documentCache: createDocumentCache<DocumentNode>(DOCUMENT_CACHE_CHARS_MAX),
      errorCache: createDocumentCache<object>(ERROR_CACHE_CHARS_MAX),
    },
  })
  // `yoga` is a proxy that binds a method on each access, so its methods are read once.
  const { getResultForParams, fetchAPI } = yoga
  return {
    run(params, method, context) {
      const result = getResultForParams({ params, request: requestWithMethod(method) }, context)
      return result instanceof Promise ? result.then(requireResult) : requireResult(result)
    },
    async respond(result, mediaType) {
      const response = processRegularResult({ ...result, stringify }, fetchAPI, mediaType)
      const headers: Record<string, string> = {}
      for (const [name, value] of response.headers) headers[name.toLowerCase()] = value
      // Fastify sets this header itself, also for a response to HEAD, which has no body.
      delete headers['content-length']
      return { status: response.status, headers, body: await response.text() }
    },
  }
}

export { isAsyncIterable }

export async function* streamOfOne(result: ExecutionResult): AsyncGenerator<ExecutionResult, void> {
  yield result
}

/** Creates a cache that is keyed by the text of a document and bounded by the total length of the texts. */
function createDocumentCache<T extends object>(charsMax: number): LRUCache<string, T> {
  return new LRUCache({
    maxSize: charsMax,
    maxEntrySize: CACHED_DOCUMENT_CHARS_MAX,
    // lru-cache refuses a size of 0.
    sizeCalculation: (_parsed, text) => text.length || 1,
  })
}

/**
 * Writes a result as JSON text; yoga calls it as the `stringify` of the result. `JSON.stringify` would refuse bigints,
 * which hold integers beyond 2^53.
 */
function stringify(result: ExecutionResult & { readonly stringify?: unknown }): string {
  const { stringify: _, ...plainResult } = result
  return writeJson(plainResult)
}

/** Maps each result of a stream. Closing the returned stream closes the source; an error of `map` ends both. */
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

/** Yoga reads only the method of a request, to refuse mutations by GET. Hooks must not read any other property. */
function requestWithMethod(method: string): Request {
  const request: Pick<Request, 'method'> = { method }
  return request as Request
}

function requireResult(result: OperationResult | undefined): OperationResult {
  if (result === undefined) throw new Error('graphql-yoga returned no result')
  return result
}
