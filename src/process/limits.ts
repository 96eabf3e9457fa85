import type { Config } from '../config/config.ts'
import { GRAPHQL_BOUNDS, type GraphQLLimits } from '../graphql/operation-cost.ts'
import { SERVER_BOUNDS, type ServerLimits } from '../http/create-server.ts'

/** The limits of both interfaces: settings of the configuration, and bounds that are constants. */

export function serverLimits({ http, limits, points }: Config): ServerLimits {
  return { ...SERVER_BOUNDS, ...http, ...limits, points }
}

export function graphqlLimits({ graphql, limits, points, query }: Config): GraphQLLimits {
  return { ...GRAPHQL_BOUNDS, ...graphql, ...limits, points, query }
}
