import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type ExecutionResult, GraphQLError, OperationTypeNode } from 'graphql'
import type { Gateway, Principal } from '../../gateway.ts'
import { authenticate, decoratePrincipal } from '../../http/auth.ts'
import { asGatewayError, retryAfterSecondsOf, statusOf } from '../../http/error-table.ts'
import { takePermit } from '../../http/rate-limit.ts'
import { addVary } from '../../http/vary.ts'
import { assert, GatewayError } from '../../model/errors.ts'
import { writeJson } from '../../model/json.ts'
import { CLOSED_AGE_SECONDS, etagOf, isClosedAnswer } from '../answer-cache.ts'
import type { ErrorLog, GraphQLContext, GraphQLLimits } from '../context.ts'
import { Documents } from '../documents/document.ts'
import { PersistedOperations, type PersistedSettings } from '../documents/persisted-operations.ts'
import { beginSubscription, operationOf, runOperation, toldOnce } from '../operation.ts'
import { registerPlayground } from '../playground-routes.ts'
import { schema } from '../schema.ts'
import { presentErrors, requestError } from './errors.ts'
import {
  answerTypeFor,
  canAnswer,
  JSON_TYPE,
  RESPONSE_TYPE,
  requireJson,
  streamFormatFor,
  wantsPage,
} from './negotiation.ts'
import { paramsOfBody, paramsOfUrl } from './request-params.ts'
import { type StreamSettings, Streams } from './streams.ts'

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
 * GraphQL over HTTP: POST with a JSON body, GET for queries, the playground for browsers. No request of a foreign page gets
 * through: a POST must say `application/json`, and every operation needs a key in a header, which no form, link or image
 * can send.
 */
export function registerGraphQL(app: FastifyInstance, options: GraphQLOptions): void {
  const { gateway, log, now, limits, persisted } = options
  const documents = new Documents(schema, limits)
  const operations = new PersistedOperations(persisted)
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

  const contextOf = (principal: Principal): GraphQLContext => ({
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

  const presentJson = (result: ExecutionResult, requestId: string): string =>
    writeJson(
      result.errors === undefined ? result : { ...result, errors: presentErrors(result.errors, requestId, log) },
    )

  /** `status`: unless the media type has it follow from the result. */
  const answer = (reply: FastifyReply, result: ExecutionResult, status?: number, isClosed = false): FastifyReply => {
    const { request } = reply
    const type = answerTypeFor(request) ?? JSON_TYPE
    const body = presentJson(result, request.id)
    reply
      .header('content-type', `${type}; charset=utf-8`)
      .header('x-content-type-options', 'nosniff')
      .header('x-request-id', request.id)
    if (!isClosed) {
      const wasRefused = type === RESPONSE_TYPE && result.data === undefined
      return reply
        .code(status ?? (wasRefused ? 400 : 200))
        .header('cache-control', 'no-store')
        .send(body)
    }
    const etag = etagOf(body)
    addVary(reply, 'accept', 'authorization', 'x-api-key')
      .header('cache-control', `private, max-age=${CLOSED_AGE_SECONDS}`)
      .header('etag', etag)
    return request.headers['if-none-match']?.includes(etag) === true ? reply.code(304).send() : reply.send(body)
  }

  const handle = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    if (wantsPage(request)) return sendPage(request, reply)
    assert(request.principal !== undefined, 'the request was admitted')
    const isPost = request.method === 'POST'
    const params = isPost ? paramsOfBody(request.body) : paramsOfUrl(request.url)
    const prepared = documents.prepare(operations.documentOf(params))
    const context = contextOf(request.principal)
    if (prepared.errors !== undefined) {
      return answerTypeFor(request) === undefined ? stream(reply, toldOnce(prepared)) : answer(reply, prepared)
    }
    const { document } = prepared
    const operation = operationOf(document, params.operationName)
    if (operation?.operation === OperationTypeNode.SUBSCRIPTION) {
      if (streamFormatFor(request) === undefined) {
        return answer(reply.header('accept', 'text/event-stream'), { errors: [onlyAsStream()] }, 406)
      }
      return stream(reply, await beginSubscription(schema, document, params, context))
    }
    if (!isPost && operation?.operation === OperationTypeNode.MUTATION)
      return answer(reply.header('allow', 'POST'), { errors: [onlyByPost()] }, 405)
    const running = runOperation(schema, document, operation, params, context)
    if (answerTypeFor(request) === undefined) return stream(reply, toldOnce(running))
    const result = await running
    const isClosed = !isPost && operation !== undefined && isClosedAnswer(operation, result, context)
    return answer(reply, result, undefined, isClosed)
  }

  const stream = async (reply: FastifyReply, results: AsyncIterator<ExecutionResult>): Promise<FastifyReply> => {
    const { request } = reply
    const format = streamFormatFor(request)
    assert(format !== undefined, 'the client takes streams')
    if (request.method === 'HEAD') {
      await results.return?.()
      return reply.code(200).header('content-type', format.contentType).header('cache-control', 'no-store').send()
    }
    reply.hijack()
    app.letGoOfBody?.(reply)
    await streams.send(reply.raw, {
      results,
      format,
      headers: { ...definedHeaders(reply), 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no' },
      present: (result) => presentJson(result, request.id),
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
      if (error instanceof GraphQLError) return answer(reply, { errors: [error] })
      const known = asGatewayError(error)
      const status = statusOf(known.code)
      const retryAfterSeconds = retryAfterSecondsOf(known.code)
      if (status === 401) reply.header('www-authenticate', 'Bearer')
      if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds)
      if (known.code === 'internal') log.error({ err: error, requestId: request.id }, 'graphql request failed')
      return answer(reply, { errors: [requestError(known, request.id)] }, status)
    })
    scope.route({ method: ['GET', 'POST'], url: ENDPOINT, onRequest: admit, handler: handle })
  })
}

function onlyByPost(): GraphQLError {
  return requestError(new GatewayError('invalid_body', 'a mutation must be sent with POST'), '')
}

function onlyAsStream(): GraphQLError {
  const message = 'a subscription is answered as text/event-stream or multipart/mixed;subscriptionSpec=1.0: accept one'
  return requestError(new GatewayError('unsupported_media_type', message), '')
}

/** What hooks have set so far. */
function definedHeaders(reply: FastifyReply): Record<string, string | number | readonly string[]> {
  const headers: Record<string, string | number | readonly string[]> = {}
  for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) headers[name] = value
  return headers
}
