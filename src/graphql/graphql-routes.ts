import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GraphQLError } from 'graphql'
import { createYoga, isAsyncIterable, type Plugin, processRegularResult } from 'graphql-yoga'
import type { Gateway } from '../gateway.ts'
import { authenticate, decoratePrincipal } from '../http/auth.ts'
import { asGatewayError, statusOf } from '../http/error-table.ts'
import { takePermit } from '../http/rate-limit.ts'
import { assert, GatewayError } from '../model/errors.ts'
import type { ErrorLog, GraphQLContext, GraphQLLimits } from './context.ts'
import { DocumentCache, parseDocument } from './document.ts'
import { presentErrors, refusal } from './errors.ts'
import { createGraphiQLPage } from './graphiql-page.ts'
import { paramsOfBody, paramsOfUrl } from './request-params.ts'
import { schema } from './schema.ts'

export interface GraphQLOptions {
  readonly gateway: Gateway
  readonly log: ErrorLog
  readonly now: () => number
  readonly limits: GraphQLLimits
}

const ENDPOINT = '/graphql'

/**
 * GraphQL over HTTP: POST with a JSON body, GET for queries, the playground for browsers. Yoga runs the operation (parsing,
 * validation, caches, execution); its own HTTP layer costs as much again and is left out, so the rules of the protocol are
 * kept here. No request of a foreign page gets through: a POST must say `application/json`, and every operation needs a
 * key in a header, which no form, link or image can send.
 */
export function registerGraphQL(app: FastifyInstance, { gateway, log, now, limits }: GraphQLOptions): void {
  const boundDocuments: Plugin = {
    onParse: ({ setParseFn }) => setParseFn((source, options) => parseDocument(source, options, limits)),
  }
  const yoga = createYoga<GraphQLContext>({
    schema,
    graphqlEndpoint: ENDPOINT,
    logging: false,
    batching: false,
    graphiql: false,
    // Errors are presented below, where the request is known.
    maskedErrors: false,
    parserAndValidationCache: { documentCache: new DocumentCache(), errorCache: new DocumentCache() },
    plugins: [boundDocuments],
  })
  // Of a request yoga reads the method alone.
  const requestOf = (method: string) => new yoga.fetchAPI.Request(`http://localhost${ENDPOINT}`, { method })
  const post = requestOf('POST')
  const get = requestOf('GET')
  const readPage = createGraphiQLPage(ENDPOINT)

  /** Strangers are turned away before their body is read. */
  const admit = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (wantsPage(request) || mediaTypeFor(request) === undefined) return
    if (request.method === 'POST') requireJson(request)
    const principal = await authenticate(gateway, request)
    await takePermit(gateway, principal, 'graphql', request, reply)
    request.principal = principal
  }

  const answer = async (reply: FastifyReply, result: { readonly errors?: readonly GraphQLError[] }) => {
    const { id } = reply.request
    const presented =
      result.errors === undefined ? result : { ...result, errors: presentErrors(result.errors, id, log) }
    const response = processRegularResult(presented, yoga.fetchAPI, mediaTypeFor(reply.request) ?? JSON_TYPE)
    response.headers.forEach((value, name) => {
      reply.header(name, value)
    })
    return reply
      .code(response.status)
      .header('cache-control', 'no-store')
      .header('x-content-type-options', 'nosniff')
      .header('x-request-id', id)
      .send(await response.text())
  }

  const handle = async (request: FastifyRequest, reply: FastifyReply) => {
    if (wantsPage(request)) return sendPage(request, reply, readPage)
    if (mediaTypeFor(request) === undefined)
      return reply.code(406).header('accept', `${JSON_TYPE}, ${RESPONSE_TYPE}`).send()
    assert(request.principal !== undefined, 'the request was admitted')
    const isPost = request.method === 'POST'
    const params = isPost ? paramsOfBody(request.body) : paramsOfUrl(request.url)
    const budget = { queriesLeft: limits.queriesMax }
    const session = gateway.openSession()
    const context: GraphQLContext = { gateway, principal: request.principal, limits, now, budget, session }
    const result = await yoga.getResultForParams({ params, request: isPost ? post : get }, context)
    assert(!isAsyncIterable(result), 'the schema has no subscriptions')
    return answer(reply, result ?? {})
  }

  app.register(async (scope) => {
    if (!scope.hasRequestDecorator('principal')) decoratePrincipal(scope)
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: limits.bodyBytesMax }, (_request, body, done) =>
      done(null, body),
    )
    scope.setErrorHandler((error, _request, reply) => {
      if (error instanceof GraphQLError) return answer(reply, { errors: [error] })
      const known = asGatewayError(error)
      const status = statusOf(known.code)
      if (status === 401) reply.header('www-authenticate', 'Bearer')
      if (status === 503) reply.header('retry-after', '1')
      if (known.code === 'internal') log.error({ err: error, requestId: reply.request.id }, 'graphql request failed')
      return answer(reply, { errors: [refusal(known, status)] })
    })
    scope.route({ method: ['GET', 'POST'], url: ENDPOINT, onRequest: admit, handler: handle })
  })
}

const JSON_TYPE = 'application/json'
const RESPONSE_TYPE = 'application/graphql-response+json'

/** The first media type of the `Accept` header that we speak; undefined when there is none. Absent means any. */
function mediaTypeFor({ headers: { accept } }: FastifyRequest): string | undefined {
  if (accept === undefined) return JSON_TYPE
  for (const entry of accept.split(',')) {
    const [type, ...parameters] = entry.split(';').map((part) => part.trim().toLowerCase())
    if (parameters.some((parameter) => /^q=0(?:\.0*)?$/.test(parameter))) continue
    if (type === RESPONSE_TYPE) return RESPONSE_TYPE
    if (type === JSON_TYPE || type === 'application/*' || type === '*/*') return JSON_TYPE
  }
  return undefined
}

/** Browsers ask for HTML when a person opens the address, and never from a script. */
function wantsPage({ method, headers: { accept } }: FastifyRequest): boolean {
  return method !== 'POST' && accept !== undefined && accept.includes('text/html')
}

function requireJson({ headers: { 'content-type': type, 'content-encoding': encoding } }: FastifyRequest): void {
  if (type === undefined || !/^application\/json *(?:;|$)/i.test(type)) {
    throw new GatewayError('unsupported_media_type', 'the content type must be application/json')
  }
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity') {
    throw new GatewayError('unsupported_media_type', 'the body must be sent without content encoding')
  }
}

async function sendPage(
  request: FastifyRequest,
  reply: FastifyReply,
  readPage: ReturnType<typeof createGraphiQLPage>,
): Promise<FastifyReply> {
  const { encoding, etag, body } = await readPage(request.headers['accept-encoding'])
  reply
    .header('etag', etag)
    // The browser keeps the page and asks each time whether it is still the one.
    .header('cache-control', 'no-cache')
    .header('vary', 'accept, accept-encoding')
    .header('x-content-type-options', 'nosniff')
  if (request.headers['if-none-match']?.includes(etag) === true) return reply.code(304).send()
  if (encoding !== undefined) reply.header('content-encoding', encoding)
  return reply.header('content-type', 'text/html; charset=utf-8').send(body)
}
