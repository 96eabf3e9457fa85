import type { Config } from '../config/config.ts'
import { FIXED_GRAPHQL_LIMITS, type GraphQLLimits } from '../graphql/operation-cost.ts'
import { FIXED_SERVER_LIMITS, type ServerLimits } from '../http/create-server.ts'

/** Combines the limits from settings with the limits that are constants, for the HTTP server and for GraphQL. */

export function serverLimitsOf({ http, limits, points }: Config): ServerLimits {
  return { ...FIXED_SERVER_LIMITS, ...http, ...limits, points }
}

export function graphqlLimitsOf({ graphql, limits, points, query: queryLimits }: Config): GraphQLLimits {
  return { ...FIXED_GRAPHQL_LIMITS, ...graphql, ...limits, points, queryLimits }
}
