import type { Config } from '../config/config.ts'
import { GRAPHQL_BOUNDS, type GraphQLLimits } from '../graphql/operation-cost.ts'
import { SERVER_BOUNDS, type ServerLimits } from '../http/create-server.ts'

/** The limits of HTTP and GraphQL: some are settings, the others are constants. */

export function serverLimits({ http, limits, points }: Config): ServerLimits {
  return { ...SERVER_BOUNDS, ...http, ...limits, points }
}

export function graphqlLimits({ graphql, limits, points, query }: Config): GraphQLLimits {
  return { ...GRAPHQL_BOUNDS, ...graphql, ...limits, points, query }
}
