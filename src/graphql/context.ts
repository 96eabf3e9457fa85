import { type GraphQLResolveInfo, OperationTypeNode } from 'graphql'
import type { Gateway, Principal } from '../gateway.ts'
import { GatewayError } from '../model/errors.ts'
import { DEFAULT_POINT_LIMITS, type PointLimits } from '../model/point.ts'
import type { QuerySession } from '../query/session.ts'
import type { Scope } from '../store/api-keys.ts'
import type { AnswerRoom } from './resolve/answer-size.ts'

export interface GraphQLLimits {
  readonly points: PointLimits
  /** Points in one batch, and events. */
  readonly batchItemsMax: number
  readonly eventBytesMax: number
  /** Of a POST, after decompression. */
  readonly bodyBytesMax: number
  /** Lexical tokens of one document; a batch of 500 written as literals has some 20,000. */
  readonly documentTokensMax: number
  /** Fields and fragments written in one document: validation compares fields of one name pair by pair. */
  readonly documentFieldsMax: number
  readonly documentDepthMax: number
  readonly documentAliasesMax: number
  /** Fields of an operation itself, fragments included. */
  readonly rootFieldsMax: number
  /** Of any list in a document or its variables. Most lists have a lower limit of their own, which their field holds. */
  readonly listItemsMax: number
  /** How long an operation may run. */
  readonly timeoutMs: number
  /** Whether clients may ask for the schema. */
  readonly introspection: boolean
  /** Queries and listings one request may run, counted where they run, so aliases, fragments and lists all count. */
  readonly queriesMax: number
  /** Fields one request may answer, counted where lists multiply them. */
  readonly answerFieldsMax: number
  /** Told to clients; the gateway holds both. */
  readonly queryValuesMax: number
  readonly requestRollupsMax: number
}

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

/** Where errors that are ours are told; pino fits. */
export interface ErrorLog {
  error(details: object, message: string): void
}

/** What resolvers see of one request. */
export interface GraphQLContext {
  readonly requestId: string
  /** Whether the client can read the results of a subscription. */
  readonly acceptsStreams: boolean
  readonly gateway: Gateway
  readonly principal: Principal
  readonly limits: GraphQLLimits
  readonly now: () => number
  /** Counts down; see {@link GraphQLLimits.queriesMax}. */
  readonly budget: { queriesLeft: number }
  /** Counts down; see {@link GraphQLLimits.answerFieldsMax}. Of a live query for each update anew. */
  readonly answer: AnswerRoom
  /** What the queries of the request share, rollups they may read included; see {@link sessionOf}. */
  readonly session: QuerySession
  /** Whether the time of the operation is over: then no field is begun. */
  readonly deadline: { isOver: boolean }
  /** Counts queries whose range may still receive points: new ones, not late ones. */
  readonly openRanges: { count: number }
}

/** The fields of a mutation run one after another, and each sees what those before it have written. */
export function sessionOf({ session }: GraphQLContext, { operation, path }: GraphQLResolveInfo): QuerySession {
  if (operation.operation !== OperationTypeNode.MUTATION) return session
  let root = path
  while (root.prev !== undefined) root = root.prev
  session.enter(root.key)
  return session
}

/** What every resolver that does work begins with. */
export function requireScope(context: GraphQLContext, scope: Scope): void {
  if (context.deadline.isOver) throw new GatewayError('query_too_large', 'the time of the operation is over')
  if (context.principal.scopes.includes(scope)) return
  throw new GatewayError('forbidden', `the API key lacks the scope ${scope}`, { details: { scope } })
}

/** `cost`: as many queries as the work is worth. */
export function takeQuery(context: GraphQLContext, cost = 1): void {
  if (context.budget.queriesLeft < cost) {
    const max = context.limits.queriesMax
    throw new GatewayError('query_too_large', `one request may run at most ${max} queries`, { details: { max } })
  }
  context.budget.queriesLeft -= cost
}
