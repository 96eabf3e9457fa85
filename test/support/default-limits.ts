import type { GraphQLLimits } from '../../src/graphql/context.ts'
import { DEFAULT_POINT_LIMITS } from '../../src/model/point.ts'

/** The limits of a gateway with default settings, for tests and benches that build a GraphQL context of their own. */
export const DEFAULT_GRAPHQL_LIMITS: GraphQLLimits = {
  points: DEFAULT_POINT_LIMITS,
  batchItemsMax: 500,
  eventBytesMax: 32 * 1024,
  bodyBytesMax: 20 * 1024 * 1024,
  documentTokensMax: 50_000,
  documentFieldsMax: 2_000,
  documentDepthMax: 20,
  documentAliasesMax: 500,
  rootFieldsMax: 100,
  listItemsMax: 1_000,
  timeoutMs: 30_000,
  introspection: true,
  queriesMax: 100,
  answerFieldsMax: 500_000,
  queryValuesMax: 50_000,
  requestRollupsMax: 20_000_000,
}
