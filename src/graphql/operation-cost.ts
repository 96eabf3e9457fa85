import { GatewayError } from '../model/errors.ts'
import type { PointLimits } from '../model/point.ts'

/**
 * Limits of GraphQL operations, and the budgets that count the queries of a request and the fields of a response.
 * Limits without a setting are constants here.
 */

/**
 * Value of `documentFieldsMax`. Validation compares all pairs of fields with the same name in the response, so the
 * limit bounds its time.
 */
const GRAPHQL_FIELDS_MAX = 2_000
/** Maximum number of root fields in an operation. The root fields of a query are resolved concurrently. */
const GRAPHQL_ROOT_FIELDS_MAX = 100
/** Maximum number of items in a list that is no batch and whose field has no lower limit of its own. */
const GRAPHQL_LIST_ITEMS_MAX = 1_000
/** Maximum number of metric queries in one request. Dashboards usually have fewer. */
export const GRAPHQL_QUERIES_MAX = 100
/** Value of `responseFieldsMax`. 128 characters of tags or properties count as one field. */
const GRAPHQL_RESPONSE_FIELDS_MAX = 500_000

/** The limits that are constants, because no setting changes them. */
export const FIXED_GRAPHQL_LIMITS = {
  documentFieldsMax: GRAPHQL_FIELDS_MAX,
  rootFieldsMax: GRAPHQL_ROOT_FIELDS_MAX,
  queriesMax: GRAPHQL_QUERIES_MAX,
  responseFieldsMax: GRAPHQL_RESPONSE_FIELDS_MAX,
}

/** A listing of events counts as this many queries, because it may scan up to 10,000 events. */
export const EVENTS_LISTING_COST = 5
/** A filtered listing of metrics counts as this many queries, because it may look at every metric of the project. */
export const FILTERED_LISTING_COST = 5

/** The limits that users can change are in `config/settings/access-and-limits.ts`, with their defaults. */
export interface GraphQLLimits {
  readonly points: PointLimits
  /** Maximum number of points, or of events, in one batch. */
  readonly batchItemsMax: number
  readonly eventBytesMax: number
  /** Maximum bytes of the body of a POST, before and after decompression. */
  readonly bodyBytesMax: number
  /** Maximum number of lexical tokens in one document. A batch of 500 points written as literals has some 20,000. */
  readonly documentTokensMax: number
  /**
   * Maximum number of fields and fragments in one document. Also the maximum number of fields in one operation, where
   * the fields of a fragment count at each of its spreads.
   */
  readonly documentFieldsMax: number
  readonly documentDepthMax: number
  readonly documentAliasesMax: number
  /** Maximum number of root fields in one operation. Root fields in fragments count too. */
  readonly rootFieldsMax: number
  /** Maximum time that a query or mutation may run. */
  readonly timeoutMs: number
  /** Whether clients may read the schema by introspection. */
  readonly isIntrospectionAllowed: boolean
  /**
   * Maximum number of metric queries in one request; a listing counts as one or several. Each call of a query's
   * resolver is counted, so a field counts once per alias, and once per item of a list above it.
   */
  readonly queriesMax: number
  /** Maximum number of fields below the lists of one response, once per item. Tags and properties count by length. */
  readonly responseFieldsMax: number
  /** Limits of metric queries. `viewer.limits` shows them to clients; the querier enforces them. */
  readonly queryLimits: { readonly valuesMax: number; readonly rollupsMax: number }
}

/**
 * Returns the maximum number of items in any list of a document or its variables. Most fields have a lower limit of
 * their own. A batch is a list too, so this is at least the limit of a batch.
 */
export function listItemsMaxOf({ batchItemsMax }: Pick<GraphQLLimits, 'batchItemsMax'>): number {
  return Math.max(GRAPHQL_LIST_ITEMS_MAX, batchItemsMax)
}

/** Number of metric queries that a request may still run. */
export interface QueryBudget {
  queriesLeft: number
}

/**
 * Number of fields that a response may still have; `resolve/response-size.ts` counts them. Each update of a live query
 * has its own budget.
 */
export interface ResponseFieldBudget {
  fieldsLeft: number
  isExceeded: boolean
}

/** Takes `queryCount` queries from the budget of the request. Throws `query_too_large` if too few are left. */
export function chargeQueries(
  { limits, queryBudget }: { readonly limits: GraphQLLimits; readonly queryBudget: QueryBudget },
  queryCount = 1,
): void {
  if (queryBudget.queriesLeft < queryCount) {
    const max = limits.queriesMax
    throw new GatewayError('query_too_large', `one request may run at most ${max} queries`, { details: { max } })
  }
  queryBudget.queriesLeft -= queryCount
}
