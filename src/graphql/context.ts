import { type GraphQLResolveInfo, OperationTypeNode } from 'graphql'
import type { Gateway, Principal } from '../gateway.ts'
import { GatewayError } from '../model/errors.ts'
import type { QuerySession } from '../query/session.ts'
import type { Scope } from '../store/api-keys.ts'
import type { GraphQLLimits, QueryBudget, ResponseFieldBudget } from './operation-cost.ts'

/**
 * The context that GraphQL resolvers receive: the data of one request. This file also has the check with which every
 * resolver starts that calls the gateway.
 */
export interface GraphQLContext {
  readonly requestId: string
  /** Whether the client can read the results of a subscription. */
  readonly acceptsStreams: boolean
  readonly gateway: Gateway
  readonly principal: Principal
  readonly limits: GraphQLLimits
  readonly now: () => number
  readonly queryBudget: QueryBudget
  readonly responseFieldBudget: ResponseFieldBudget
  /** Shared by all queries of the request. Read it with {@link querySessionOf}. */
  readonly session: QuerySession
  /** `hasPassed` becomes true when the operation has timed out. From then on, no resolver calls the gateway. */
  readonly deadline: { hasPassed: boolean }
}

/** The part of a pino logger that logs internal errors. */
export interface InternalErrorLog {
  error(details: object, message: string): void
}

/**
 * Returns the query session of the request. The root fields of a mutation run one after another, and each must see what
 * earlier ones wrote, so each begins a new step of the session, which drops the results of earlier steps.
 */
export function querySessionOf({ session }: GraphQLContext, { operation, path }: GraphQLResolveInfo): QuerySession {
  if (operation.operation !== OperationTypeNode.MUTATION) return session
  let root = path
  while (root.prev !== undefined) root = root.prev
  session.beginStep(root.key)
  return session
}

/**
 * Every resolver that calls the gateway must call this function first. Throws `forbidden` if the API key lacks the
 * scope, and `query_too_large` if the operation has timed out.
 */
export function requireScopeAndTime(context: GraphQLContext, scope: Scope): void {
  if (context.deadline.hasPassed) throw new GatewayError('query_too_large', 'the operation ran out of time')
  if (context.principal.scopes.includes(scope)) return
  throw new GatewayError('forbidden', `the API key lacks the scope ${scope}`, { details: { scope } })
}
