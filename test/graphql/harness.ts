import { type FastifyInstance, fastify, type LightMyRequestResponse } from 'fastify'
import type { PersistedOperationSettings } from '../../src/graphql/documents/persisted-operations.ts'
import type { GraphQLLimits } from '../../src/graphql/operation-cost.ts'
import { registerGraphQL } from '../../src/graphql/server/graphql-routes.ts'
import type { StreamSettings } from '../../src/graphql/server/streams.ts'
import { declarePrincipal } from '../../src/http/access/authenticate.ts'
import { type BodyLimits, registerBodyParser } from '../../src/http/body/request-body.ts'
import { createPageAssets } from '../../src/http/pages/page-assets.ts'
import { registerPages } from '../../src/http/pages/page-routes.ts'
import { addCommonHeaders } from '../../src/http/response/common-headers.ts'
import { DEFAULT_GRAPHQL_LIMITS, DEFAULT_SERVER_LIMITS } from '../support/default-limits.ts'
import { FakeGateway, NOW_MS } from '../support/fake-graphql-gateway.ts'
import type { Json } from '../support/json.ts'

export interface GraphQLResponse {
  readonly data?: Json
  readonly errors?: readonly {
    readonly message: string
    readonly path?: readonly (string | number)[]
    readonly extensions?: Readonly<Record<string, unknown>>
  }[]
}

export interface Harness {
  readonly app: FastifyInstance
  readonly gateway: FakeGateway
  readonly logged: object[]
  post(body: object, headers?: Readonly<Record<string, string>>): Promise<LightMyRequestResponse>
  get(query: Record<string, string>, headers?: Readonly<Record<string, string>>): Promise<LightMyRequestResponse>
  run(query: string, variables?: unknown, key?: string): Promise<GraphQLResponse>
}

/** Sets headers and reads bodies as the server does. */
export function createApp(limits: Partial<BodyLimits> = {}): FastifyInstance {
  const app = fastify()
  addCommonHeaders(app)
  declarePrincipal(app)
  registerBodyParser(app, { ...DEFAULT_SERVER_LIMITS, ...limits })
  return app
}

/** GraphQL behind Fastify over a fake gateway in which `latency` is a distribution and `requests` a counter. */
export function startGraphQL(
  limits: Partial<GraphQLLimits & BodyLimits> = {},
  persisted: Partial<PersistedOperationSettings> = {},
  streams: Partial<StreamSettings> = {},
): Harness {
  const gateway = new FakeGateway()
  gateway.define('latency', 'distribution')
  gateway.define('requests', 'counter')
  const logged: object[] = []
  const app = createApp(limits)
  const readAssets = createPageAssets()
  registerPages(app, readAssets)
  registerGraphQL(app, {
    gateway,
    log: { error: (details) => logged.push(details) },
    now: () => NOW_MS,
    limits: { ...DEFAULT_GRAPHQL_LIMITS, ...limits },
    readAssets,
    streams: { keepAliveIntervalMs: 60_000, stallTimeoutMs: 60_000, unreadBytesMax: 1 << 20, ...streams },
    persisted: { mode: 'optional', registeredDocuments: new Map(), sentDocumentCharsMax: 100_000, ...persisted },
  })
  return {
    app,
    gateway,
    logged,
    post: (body, headers = {}) =>
      app.inject({
        method: 'POST',
        url: '/graphql',
        headers: { authorization: 'Bearer both', 'content-type': 'application/json', ...headers },
        payload: JSON.stringify(body),
      }),
    get: (query, headers = {}) =>
      app.inject({ method: 'GET', url: '/graphql', headers: { authorization: 'Bearer both', ...headers }, query }),
    run: async (query, variables, key = 'both') => {
      const response = await app.inject({
        method: 'POST',
        url: '/graphql',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        // text, so that a key such as __proto__ travels as a client would send it
        payload:
          typeof variables === 'string'
            ? `{"query":${JSON.stringify(query)},"variables":${variables}}`
            : JSON.stringify({ query, variables }),
      })
      return JSON.parse(response.body)
    },
  }
}
