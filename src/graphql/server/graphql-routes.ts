import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ExecutionResult } from 'graphql'
import type { Gateway, Principal } from '../../gateway.ts'
import { authenticate, decoratePrincipal } from '../../http/server/auth.ts'
import { asGatewayError } from '../../http/server/error-table.ts'
import { takePermit } from '../../http/server/rate-limit.ts'
import { addVary } from '../../http/server/vary.ts'
import { assert, GatewayError } from '../../model/errors.ts'
import type { ErrorLog, GraphQLContext, GraphQLLimits } from '../context.ts'
import type { PersistedSettings } from '../documents/persisted-operations.ts'
import { registerPlayground } from '../playground/playground-routes.ts'
import { schema } from '../schema.ts'
import { requestError } from './errors.ts'
import {
  answerTypeFor,
  canAnswer,
  JSON_TYPE,
  RESPONSE_TYPE,
  requireJson,
  streamFormatFor,
  wantsPage,
} from './negotiation.ts'
import { operationPlugins } from './plugins.ts'
import { paramsOfBody, paramsOfUrl } from './request-params.ts'
import { type StreamSettings, Streams } from './streams.ts'
import { createEngine, isAsyncIterable, type OperationResult } from './yoga.ts'

export interface GraphQLOptions {
  readonly gateway: Gateway
  readonly log: ErrorLog
  readonly now: () => number
  readonly limits: GraphQLLimits
  readonly persisted: PersistedSettings
  readonly streams: StreamSettings
}

const ENDPOINT = '/graphql'

/**
 * GraphQL over HTTP: POST with a JSON body, GET for queries, the playground for browsers. Requests that a cross-site
 * form could send are refused (CSRF): a POST must be `application/json`, and every operation needs a key in a header.
 */
export function registerGraphQL(app: FastifyInstance, options: GraphQLOptions): void {
  const { gateway, log, now, limits } = options
  const engine = createEngine(schema, operationPlugins(schema, options))
  const streams = new Streams(options.streams)
  const sendPage = registerPlayground(app, ENDPOINT)

  /** Authenticates, and refuses what cannot be answered, before the body is read. */
  const admit = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    if (wantsPage(request)) return
    if (!canAnswer(request))
      return reply.code(406).header('accept', `${JSON_TYPE}, ${RESPONSE_TYPE}, text/event-stream`).send()
    if (request.method === 'POST') requireJson(request)
    const principal = await authenticate(gateway, request)
    await takePermit(gateway, principal, 'graphql', request, reply)
    request.principal = principal
  }

  const contextOf = (request: FastifyRequest, principal: Principal): GraphQLContext => ({
    requestId: request.id,
    acceptsStreams: streamFormatFor(request) !== undefined,
    gateway,
    principal,
    limits,
    now,
    budget: { queriesLeft: limits.queriesMax },
    answer: { fieldsLeft: limits.answerFieldsMax, isOver: false },
    deadline: { isOver: false },
    openRanges: { count: 0 },
    session: gateway.openSession(),
  })

  const handle = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    if (wantsPage(request)) return sendPage(request, reply)
    assert(request.principal !== undefined, 'the request was admitted')
    const method = request.method === 'POST' ? 'POST' : 'GET'
    const params = method === 'POST' ? await paramsOfBody(request.body) : paramsOfUrl(request.url)
    const running = engine.run(params, method, contextOf(request, request.principal))
    if (answerTypeFor(request) === undefined && !isHttpError(running)) return stream(reply, running)
    const result = await running
    return isAsyncIterable(result) ? stream(reply, result) : send(reply, result)
  }

  const send = async (reply: FastifyReply, result: ExecutionResult): Promise<FastifyReply> => {
    const { request } = reply
    const { status, headers: allHeaders, body } = await engine.respond(result, answerTypeFor(request) ?? JSON_TYPE)
    const { vary, ...headers } = allHeaders
    reply
      .code(status)
      .headers({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'x-request-id': request.id })
      .headers(headers)
    if (vary !== undefined) addVary(reply, vary.split(', '))
    if (headers['cache-control'] === undefined) return reply.send(body)
    const etag = etagOf(body)
    addVary(reply, ['accept', 'authorization', 'x-api-key']).header('etag', etag)
    return request.headers['if-none-match']?.includes(etag) === true ? reply.code(304).send() : reply.send(body)
  }

  const stream = async (
    reply: FastifyReply,
    running: OperationResult | Promise<OperationResult>,
  ): Promise<FastifyReply> => {
    const { request } = reply
    const format = streamFormatFor(request)
    assert(format !== undefined, 'the client accepts streams')
    if (request.method === 'HEAD') {
      await resultsOf(running).return?.()
      return reply.code(200).header('content-type', format.contentType).header('cache-control', 'no-store').send()
    }
    reply.hijack()
    app.letGoOfBody?.(reply)
    await streams.send(reply.raw, {
      results: resultsOf(running),
      format,
      headers: { ...definedHeaders(reply), 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no' },
      present: async (result) => (await engine.respond(result, JSON_TYPE)).body,
      refusal: (error) => {
        const known = asGatewayError(error)
        if (known.code === 'internal') log.error({ err: error, requestId: request.id }, 'graphql stream failed')
        return { errors: [requestError(known, request.id)] }
      },
      requireAccess: async () => {
        const { scopes } = await authenticate(gateway, request)
        if (!scopes.includes('query')) throw new GatewayError('forbidden', 'the API key lacks the scope query')
      },
    })
    return reply
  }

  app.register(async (scope) => {
    if (!scope.hasRequestDecorator('principal')) decoratePrincipal(scope)
    scope.setErrorHandler((error, request, reply) => {
      const known = asGatewayError(error)
      if (known.code === 'internal') log.error({ err: error, requestId: request.id }, 'graphql request failed')
      return send(reply, { errors: [requestError(known, request.id)] })
    })
    scope.route({ method: ['GET', 'POST'], url: ENDPOINT, onRequest: admit, handler: handle })
  })
}

/** Whether an operation was refused with an HTTP status of its own before it ran: then no stream is opened for it. */
function isHttpError(running: OperationResult | Promise<OperationResult>): boolean {
  if (running instanceof Promise || isAsyncIterable(running)) return false
  return running.errors?.some(({ extensions: { http } }) => http?.status !== undefined && http.spec !== true) === true
}

/** The results of a subscription as they come, or the only result of another operation. */
function resultsOf(running: OperationResult | Promise<OperationResult>): AsyncIterator<ExecutionResult> {
  const opened = Promise.resolve(running).then((result) =>
    (isAsyncIterable(result) ? result : only(result))[Symbol.asyncIterator](),
  )
  return {
    next: async () => (await opened).next(),
    return: async () => (await (await opened).return?.()) ?? { done: true, value: undefined },
  }
}

async function* only(result: ExecutionResult): AsyncGenerator<ExecutionResult, void> {
  yield result
}

function etagOf(body: string): string {
  return `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
}

/** What hooks have set so far. */
function definedHeaders(reply: FastifyReply): Record<string, string | number | readonly string[]> {
  const headers: Record<string, string | number | readonly string[]> = {}
  for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) headers[name] = value
  return headers
}
