import { GraphQLError } from 'graphql'
import { asGatewayError } from '../../http/error-table.ts'
import { GatewayError } from '../../model/errors.ts'
import type { ErrorLog } from '../context.ts'

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

/** An error outside of any field, with its code. */
export function requestError(error: GatewayError, requestId: string): GraphQLError {
  const extensions = extensionsOf(error)
  return new GraphQLError(error.message, {
    extensions: error.code === 'internal' ? { ...extensions, requestId } : extensions,
  })
}

/** GraphQL's own errors by the names that tools know them by. */
export function withCode(errors: readonly GraphQLError[], code: string): readonly GraphQLError[] {
  for (const error of errors) {
    if (causeOf(error) === undefined) error.extensions['code'] ??= code
  }
  return errors
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

/** Of the caller, with its code; undefined: we are wrong. */
export function callersError(error: unknown): GraphQLError | undefined {
  if (error instanceof GraphQLError) return error
  return error instanceof GatewayError
    ? new GraphQLError(error.message, { extensions: extensionsOf(error) })
    : undefined
}
