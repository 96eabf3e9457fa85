import { type FastifyInstance, fastify } from 'fastify'
import { DEFAULT_GRAPHQL_LIMITS, type GraphQLLimits } from '../../src/graphql/context.ts'
import { registerGraphQL } from '../../src/graphql/graphql-routes.ts'
import { FakeGateway, NOW_MS } from '../support/fake-graphql-gateway.ts'

export interface GraphQLAnswer {
  // biome-ignore lint/suspicious/noExplicitAny: the shape of an answer is what each test says it is
  readonly data?: any
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
  run(query: string, variables?: unknown, key?: string): Promise<GraphQLAnswer>
}

/** GraphQL behind Fastify over a fake gateway in which `latency` is a distribution and `requests` a counter. */
export function startGraphQL(limits: Partial<GraphQLLimits> = {}): Harness {
  const gateway = new FakeGateway()
  gateway.define('latency', 'distribution')
  gateway.define('requests', 'counter')
  const logged: object[] = []
  const app = fastify()
  registerGraphQL(app, {
    gateway,
    log: { error: (details) => logged.push(details) },
    now: () => NOW_MS,
    limits: { ...DEFAULT_GRAPHQL_LIMITS, ...limits },
  })
  return {
    app,
    gateway,
    logged,
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
