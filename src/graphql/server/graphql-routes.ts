import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ExecutionResult } from 'graphql'
import type { Gateway, Principal } from '../../gateway.ts'
import { authenticate } from '../../http/access/authenticate.ts'
import { takePermit } from '../../http/access/rate-limit.ts'
import type { PageAssets } from '../../http/pages/page-assets.ts'
import { abortWhenClosed } from '../../http/response/closed-connection.ts'
import { asGatewayError } from '../../http/response/error-status.ts'
import { assert, GatewayError } from '../../model/errors.ts'
import type { GraphQLContext, InternalErrorLog } from '../context.ts'
import type { PersistedOperationSettings } from '../documents/persisted-operations.ts'
import { type GraphQLLimits, listItemsMaxOf } from '../operation-cost.ts'
import { registerPlayground } from '../playground/playground-routes.ts'
import { schema } from '../schema.ts'
import { toRequestError } from './errors.ts'
import {
  acceptsHtml,
  GRAPHQL_RESPONSE_TYPE,
  isAcceptable,
  JSON_TYPE,
  mediaTypeFor,
  requireJsonContentType,
  streamFormatFor,
} from './negotiation.ts'
import { GRAPHQL_GET, GRAPHQL_POST } from './openapi.ts'
import { operationPlugins } from './plugins.ts'
import { paramsOfBody, paramsOfUrl } from './request-params.ts'
import { OpenStreams, type StreamSettings } from './streams.ts'
import {
  createOperationEngine,
  isAsyncIterable,
  type OperationEngine,
  type OperationResult,
  streamOfOne,
} from './yoga.ts'

interface GraphQLOptions {
  readonly gateway: Gateway
  readonly log: InternalErrorLog
  readonly now: () => number
  readonly limits: GraphQLLimits
  readonly persisted: PersistedOperationSettings
  readonly streams: StreamSettings
  /** Reads the files of the GraphiQL page and of the metrics explorer that are built from `playground/`. */
  readonly readAssets: () => Promise<PageAssets>
}

const ENDPOINT = '/graphql'

/**
 * GraphQL over HTTP: POST with a JSON body, GET for queries and subscriptions, and the playground for browsers.
 * Requests that a cross-site form could send are refused (CSRF): a POST must be `application/json`, and every operation
 * needs an API key in a header.
 */
export function registerGraphQL(app: FastifyInstance, options: GraphQLOptions): void {
  const { gateway, log } = options
  const listItemsMax = listItemsMaxOf(options.limits)
  const engine = createOperationEngine(schema, operationPlugins(schema, options))
  const streams = new OpenStreams(options.streams)
  const sendPage = registerPlayground(app, ENDPOINT, options.readAssets)

  /**
   * An `onRequest` hook, which runs before the body is read: checks the headers, authenticates and takes a rate-limit
   * permit. A request for the playground page needs none of these.
   */
  const admitRequest = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    if (acceptsHtml(request)) return
    if (!isAcceptable(request))
      return reply.code(406).header('accept', `${JSON_TYPE}, ${GRAPHQL_RESPONSE_TYPE}, text/event-stream`).send()
    if (request.method === 'POST') requireJsonContentType(request)
    const principal = await authenticate(gateway, request)
    await takePermit(gateway, principal, 'graphql', request, reply)
    request.principal = principal
  }

  const handle = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    if (acceptsHtml(request)) return sendPage(reply)
    const { principal } = request
    assert(principal !== undefined, 'the request was admitted')
    const method = request.method === 'POST' ? 'POST' : 'GET'
    const params =
      method === 'POST'
        ? await paramsOfBody(request.body, gateway.itemCache(principal.project), listItemsMax)
        : paramsOfUrl(request.url)
    const context = createContext(options, request, principal)
    abortWhenClosed(reply.raw, context.session)
    const pendingResult = engine.run(params, method, context)
    if (mediaTypeFor(request) === undefined && !isHttpError(pendingResult)) return sendStream(reply, pendingResult)
    const result = await pendingResult
    return isAsyncIterable(result) ? sendStream(reply, result) : sendResult(engine, reply, result)
  }

  const sendStream = async (
    reply: FastifyReply,
    pendingResult: OperationResult | Promise<OperationResult>,
  ): Promise<FastifyReply> => {
    const { request } = reply
    const format = streamFormatFor(request)
    assert(format !== undefined, 'the client accepts streams')
    const results = resultsOf(pendingResult)
    if (request.method === 'HEAD') {
      await results.return?.()
      return reply.code(200).header('content-type', format.contentType).header('cache-control', 'no-store').send()
    }
    reply.hijack()
    // Releases the body's bytes from the budget of all request bodies, because the stream may stay open for hours.
    request.bodyCharge?.close()
    await streams.send(reply.raw, {
      results,
      format,
      headers: { ...reply.getHeaders(), 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no' },
      writeJson: async (result) => (await engine.respond(result, JSON_TYPE)).body,
      errorResult: (error) => errorResult(error, request, log, 'graphql stream failed'),
      requireAccess: async () => {
        const { scopes } = await authenticate(gateway, request)
        if (!scopes.includes('query')) throw new GatewayError('forbidden', 'the API key lacks the scope query')
      },
    })
    return reply
  }

  app.register(async (scope) => {
    scope.setErrorHandler((error, request, reply) =>
      sendResult(engine, reply, errorResult(error, request, log, 'graphql request failed')),
    )
    const route = { url: ENDPOINT, onRequest: admitRequest, handler: handle }
    scope.route({ ...route, method: 'POST', config: { openapi: GRAPHQL_POST } })
    scope.route({ ...route, method: 'GET', config: { openapi: GRAPHQL_GET } })
  })
}

function createContext(
  { gateway, limits, now }: GraphQLOptions,
  request: FastifyRequest,
  principal: Principal,
): GraphQLContext {
  return {
    requestId: request.id,
    acceptsStreams: streamFormatFor(request) !== undefined,
    gateway,
    principal,
    limits,
    now,
    queryBudget: { queriesLeft: limits.queriesMax },
    responseFieldBudget: { fieldsLeft: limits.responseFieldsMax, isExceeded: false },
    session: gateway.openSession(),
    deadline: { hasPassed: false },
  }
}

async function sendResult(
  engine: OperationEngine,
  reply: FastifyReply,
  result: ExecutionResult,
): Promise<FastifyReply> {
  const { status, headers, body } = await engine.respond(result, mediaTypeFor(reply.request) ?? JSON_TYPE)
  return reply
    .code(status)
    .headers({ 'cache-control': 'no-store', ...headers })
    .send(body)
}

/** Returns a result with the error that ended a request or a stream. Logs it if it is internal. */
function errorResult(error: unknown, request: FastifyRequest, log: InternalErrorLog, message: string): ExecutionResult {
  const gatewayError = asGatewayError(error)
  if (gatewayError.code === 'internal') log.error({ err: error, requestId: request.id }, message)
  return { errors: [toRequestError(gatewayError, request.id)] }
}

/** Whether an operation was refused at once, with one HTTP status for all media types. Its response is no stream. */
function isHttpError(pendingResult: OperationResult | Promise<OperationResult>): boolean {
  if (pendingResult instanceof Promise || isAsyncIterable(pendingResult)) return false
  return (
    pendingResult.errors?.some(({ extensions: { http } }) => http?.status !== undefined && http.spec !== true) === true
  )
}

function resultsOf(pendingResult: OperationResult | Promise<OperationResult>): AsyncIterator<ExecutionResult> {
  const opened = Promise.resolve(pendingResult).then((result) =>
    (isAsyncIterable(result) ? result : streamOfOne(result))[Symbol.asyncIterator](),
  )
  return {
    next: async () => (await opened).next(),
    return: async () => (await (await opened).return?.()) ?? { done: true, value: undefined },
  }
}
