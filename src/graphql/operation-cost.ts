import { GatewayError } from '../model/errors.ts'
import type { PointLimits } from '../model/point.ts'

/**
 * Limits of GraphQL operations, and the budgets that count the queries and response fields of a request. Limits without
 * a setting are constants here.
 */

/** Fields of a document. Validation compares all pairs of fields of one name, so the limit bounds its time. */
const GRAPHQL_FIELDS_MAX = 2_000
/** Root fields of an operation. The root fields of a query run at the same time. */
const GRAPHQL_ROOT_FIELDS_MAX = 100
/** Items of a list whose field has no lower limit of its own. */
const GRAPHQL_LIST_ITEMS_MAX = 1_000
/** Metric queries of one request: a dashboard has fewer. */
export const GRAPHQL_QUERIES_MAX = 100
/** Fields of one result; 128 characters of tags or properties count as one field. */
const GRAPHQL_RESPONSE_FIELDS_MAX = 500_000

/** The limits without a setting. */
export const FIXED_GRAPHQL_LIMITS = {
  documentFieldsMax: GRAPHQL_FIELDS_MAX,
  rootFieldsMax: GRAPHQL_ROOT_FIELDS_MAX,
  listItemsMax: GRAPHQL_LIST_ITEMS_MAX,
  queriesMax: GRAPHQL_QUERIES_MAX,
  responseFieldsMax: GRAPHQL_RESPONSE_FIELDS_MAX,
}

/** A listing of events counts as this many queries, because it may scan some thousand events. */
export const EVENTS_LISTING_COST = 5
/** A filtered listing of metrics counts as this many queries, because it compares every name of the project. */
export const FILTERED_LISTING_COST = 5

export interface GraphQLLimits {
  readonly points: PointLimits
  /** Points, or events, in one batch. */
  readonly batchItemsMax: number
  readonly eventBytesMax: number
  /** Maximum bytes of the body of a POST, after decompression. */
  readonly bodyBytesMax: number
  /** Lexical tokens of one document. A batch of 500 points written as literals has some 20,000. */
  readonly documentTokensMax: number
  /** Fields and fragments in one document. */
  readonly documentFieldsMax: number
  readonly documentDepthMax: number
  readonly documentAliasesMax: number
  /** Root fields of one operation, fragments included. */
  readonly rootFieldsMax: number
  /** Items of any list in a document or its variables. Most fields have a lower limit of their own. */
  readonly listItemsMax: number
  /** How long one operation may run. */
  readonly timeoutMs: number
  /** Whether clients may query the schema. */
  readonly isIntrospectionAllowed: boolean
  /** Queries and listings per request. Resolvers count them, so aliases, fragments and lists all count. */
  readonly queriesMax: number
  /** Fields in one response; a field below a list counts once per item. */
  readonly responseFieldsMax: number
  /** Limits of metric queries. `viewer.limits` shows them to clients; the querier enforces them. */
  readonly queryLimits: { readonly valuesMax: number; readonly rollupsMax: number }
}

/** Number of metric queries that a request may still run. */
export interface QueryBudget {
  queriesLeft: number
}

/**
 * Number of fields that a response may still have; `resolve/response-size.ts` counts them. Each update of a live query
 * has its own budget.
 */
export interface ResponseBudget {
  fieldsLeft: number
  isExceeded: boolean
}

/** Takes `cost` queries from the budget of the request. Throws `query_too_large` if too few are left. */
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
