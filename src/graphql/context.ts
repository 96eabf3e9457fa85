import { type GraphQLResolveInfo, OperationTypeNode } from 'graphql'
import type { Gateway, Principal } from '../gateway.ts'
import { GatewayError } from '../model/errors.ts'
import type { PointLimits } from '../model/point.ts'
import type { QuerySession } from '../query/session.ts'
import type { Scope } from '../store/api-keys.ts'

/** Validation compares fields of one name pair by pair. */
export const GRAPHQL_FIELDS_MAX = 2_000
/** Root fields of an operation run at the same time. */
export const GRAPHQL_ROOT_FIELDS_MAX = 100
/** Items of a list whose field has no lower limit of its own. */
export const GRAPHQL_LIST_ITEMS_MAX = 1_000
/** Metric queries of one request: a dashboard has fewer. */
export const GRAPHQL_QUERIES_MAX = 100
/** Fields of one result; 128 characters of tags or properties count as one field. */
export const GRAPHQL_RESPONSE_FIELDS_MAX = 500_000

/** The bounds that are constants. */
export const GRAPHQL_BOUNDS = {
  documentFieldsMax: GRAPHQL_FIELDS_MAX,
  rootFieldsMax: GRAPHQL_ROOT_FIELDS_MAX,
  listItemsMax: GRAPHQL_LIST_ITEMS_MAX,
  queriesMax: GRAPHQL_QUERIES_MAX,
  responseFieldsMax: GRAPHQL_RESPONSE_FIELDS_MAX,
}

/**
 * What resolvers know of their request, and the checks that they start with. Each request has its own context; the
 * budgets in it only count down.
 */
export interface GraphQLContext {
  readonly requestId: string
  /** Whether the client can read the results of a subscription. */
  readonly acceptsStreams: boolean
  readonly gateway: Gateway
  readonly principal: Principal
  readonly limits: GraphQLLimits
  readonly now: () => number
  /** See {@link GraphQLLimits.queriesMax}. */
  readonly queryBudget: { queriesLeft: number }
  readonly responseBudget: ResponseBudget
  /** Shared by the queries of the request; use {@link sessionOf}. */
  readonly session: QuerySession
  /** After it has passed, no resolver starts any work. */
  readonly deadline: { hasPassed: boolean }
}

export interface GraphQLLimits {
  readonly points: PointLimits
  /** Points, or events, in one batch. */
  readonly batchItemsMax: number
  readonly eventBytesMax: number
  /** Of a POST, after decompression. */
  readonly bodyBytesMax: number
  /** Lexical tokens of one document. A batch of 500 points written as literals has some 20,000. */
  readonly documentTokensMax: number
  /** Fields and fragments in one document. Validation compares the fields of one name pair by pair. */
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
  readonly introspection: boolean
  /** Queries and listings per request. Resolvers count them, so aliases, fragments and lists all count. */
  readonly queriesMax: number
  /** Fields in one response; a field below a list counts once per item. */
  readonly responseFieldsMax: number
  /** Shown to clients; the querier enforces both. */
  readonly query: { readonly valuesMax: number; readonly rollupsMax: number }
}

/** Counted by `resolve/response-size.ts`. Each update of a live query has its own budget. */
export interface ResponseBudget {
  fieldsLeft: number
  isExceeded: boolean
}

/** Logs internal errors; pino fits. */
export interface ErrorLog {
  error(details: object, message: string): void
}

/** The root fields of a mutation run one after another, and each reads what the fields before it wrote. */
export function sessionOf({ session }: GraphQLContext, { operation, path }: GraphQLResolveInfo): QuerySession {
  if (operation.operation !== OperationTypeNode.MUTATION) return session
  let root = path
  while (root.prev !== undefined) root = root.prev
  session.enter(root.key)
  return session
}

/** The first call of every resolver that does work. Throws `forbidden`, or `query_too_large` after the deadline. */
export function requireScope(context: GraphQLContext, scope: Scope): void {
  if (context.deadline.hasPassed) throw new GatewayError('query_too_large', 'the operation ran out of time')
  if (context.principal.scopes.includes(scope)) return
  throw new GatewayError('forbidden', `the API key lacks the scope ${scope}`, { details: { scope } })
}

/** `cost`: how many queries the work counts as. Throws `query_too_large`. */
export function takeQuery(context: GraphQLContext, cost = 1): void {
  if (context.queryBudget.queriesLeft < cost) {
    const max = context.limits.queriesMax
    throw new GatewayError('query_too_large', `one request may run at most ${max} queries`, { details: { max } })
  }
  context.queryBudget.queriesLeft -= cost
}
