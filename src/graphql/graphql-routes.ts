import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type ExecutionResult, GraphQLError, type OperationDefinitionNode, OperationTypeNode } from 'graphql'
import type { Gateway, Principal } from '../gateway.ts'
import { authenticate, decoratePrincipal } from '../http/auth.ts'
import { asGatewayError, retryAfterSecondsOf, statusOf } from '../http/error-table.ts'
import { takePermit } from '../http/rate-limit.ts'
import { assert, GatewayError } from '../model/errors.ts'
import { CLOSED_AGE_SECONDS, etagOf, isClosedAnswer } from './answer-cache.ts'
import type { ErrorLog, GraphQLContext, GraphQLLimits } from './context.ts'
import { Documents } from './document.ts'
import { presentErrors, requestError } from './errors.ts'
import { answerTypeFor, JSON_TYPE, RESPONSE_TYPE, requireJson, wantsPage } from './negotiation.ts'
import { operationOf, runOperation } from './operation.ts'
import { PersistedOperations, type PersistedSettings } from './persisted-operations.ts'
import { registerPlayground } from './playground-routes.ts'
import { paramsOfBody, paramsOfUrl } from './request-params.ts'
import { schema } from './schema.ts'

export interface GraphQLOptions {
  readonly gateway: Gateway
  readonly log: ErrorLog
  readonly now: () => number
  readonly limits: GraphQLLimits
  readonly persisted: PersistedSettings
}

const ENDPOINT = '/graphql'

/**
 * GraphQL over HTTP: POST with a JSON body, GET for queries, the playground for browsers. No request of a foreign page gets
 * through: a POST must say `application/json`, and every operation needs a key in a header, which no form, link or image
 * can send.
 */
export function registerGraphQL(app: FastifyInstance, { gateway, log, now, limits, persisted }: GraphQLOptions): void {
  const documents = new Documents(schema, limits)
  const operations = new PersistedOperations(persisted)
  const sendPage = registerPlayground(app, ENDPOINT)

  /** Strangers are turned away before their body is read. */
  const admit = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (wantsPage(request) || answerTypeFor(request) === undefined) return
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
    deadline: { isOver: false },
    openRanges: { count: 0 },
    session: gateway.openSession(),
  })

  /** `status`: unless the media type has it follow from the result. */
  const answer = (reply: FastifyReply, result: ExecutionResult, status?: number, isClosed = false): FastifyReply => {
    const { request } = reply
    const type = answerTypeFor(request) ?? JSON_TYPE
    const body = JSON.stringify(
      result.errors === undefined ? result : { ...result, errors: presentErrors(result.errors, request.id, log) },
    )
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
    reply
      .header('cache-control', `private, max-age=${CLOSED_AGE_SECONDS}`)
      .header('vary', 'accept, authorization, x-api-key')
      .header('etag', etag)
    return request.headers['if-none-match']?.includes(etag) === true ? reply.code(304).send() : reply.send(body)
  }

  const handle = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    if (wantsPage(request)) return sendPage(request, reply)
    if (answerTypeFor(request) === undefined)
      return reply.code(406).header('accept', `${JSON_TYPE}, ${RESPONSE_TYPE}`).send()
    assert(request.principal !== undefined, 'the request was admitted')
    const isPost = request.method === 'POST'
    const params = isPost ? paramsOfBody(request.body) : paramsOfUrl(request.url)
    const prepared = documents.prepare(operations.documentOf(params))
    if (prepared.errors !== undefined) return answer(reply, prepared)
    const { document } = prepared
    const operation = operationOf(document, params.operationName)
    if (!isPost && operation !== undefined && operation.operation !== OperationTypeNode.QUERY)
      return answer(reply.header('allow', 'POST'), { errors: [onlyByPost(operation)] }, 405)
    const context = contextOf(request.principal)
    const result = await runOperation(schema, document, operation, params, context)
    return answer(
      reply,
      result,
      undefined,
      !isPost && operation !== undefined && isClosedAnswer(operation, result, context),
    )
  }

  app.register(async (scope) => {
    if (!scope.hasRequestDecorator('principal')) decoratePrincipal(scope)
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: limits.bodyBytesMax }, (_request, body, done) =>
      done(null, body),
    )
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

function onlyByPost({ operation }: OperationDefinitionNode): GraphQLError {
  return requestError(new GatewayError('invalid_body', `a ${operation} must be sent with POST`), '')
}
