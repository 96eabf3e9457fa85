import { GraphQLError } from 'graphql'
import { asGatewayError } from '../http/error-table.ts'
import type { GatewayError } from '../model/errors.ts'
import type { ErrorLog } from './context.ts'

/**
 * Errors as clients may see them: those of GraphQL itself as they are, the gateway's with their code in upper case and their
 * details in `extensions`, anything else as INTERNAL under the id by which the log knows it.
 */
export function presentErrors(
  errors: readonly GraphQLError[],
  requestId: string,
  log: ErrorLog,
): readonly GraphQLError[] {
  return errors.map((error) => {
    const cause = causeOf(error)
    if (cause === undefined) return error
    const known = asGatewayError(cause)
    if (known.code === 'internal') log.error({ err: cause, requestId, path: error.path }, 'graphql field failed')
    return new GraphQLError(known.message, {
      nodes: error.nodes ?? null,
      source: error.source ?? null,
      positions: error.positions ?? null,
      path: error.path ?? null,
      extensions: { ...extensionsOf(known), ...(known.code === 'internal' && { requestId }) },
    })
  })
}

/** Of a request that is refused before it reaches GraphQL: as an error whose status HTTP answers with. */
export function refusal(error: GatewayError, status: number): GraphQLError {
  return new GraphQLError(error.message, { extensions: { ...extensionsOf(error), http: { status } } })
}

function extensionsOf(error: GatewayError): Record<string, unknown> {
  return { ...error.details, code: error.code.toUpperCase() }
}

/** What a resolver threw; undefined when the error is one of GraphQL's own. */
function causeOf(error: GraphQLError): Error | undefined {
  let cause: Error | undefined = error
  while (cause instanceof GraphQLError) cause = cause.originalError
  return cause
}
