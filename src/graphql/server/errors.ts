import { type ExecutionResult, GraphQLError } from 'graphql'
import { asGatewayError, retryAfterSecondsOf, statusOf } from '../../http/server/error-table.ts'
import type { GatewayError } from '../../model/errors.ts'
import type { ErrorLog } from '../context.ts'

/** Error codes of yoga's own checks, and the names they have in this gateway. */
const CODES_OF_YOGA: Readonly<Record<string, string>> = { BAD_REQUEST: 'INVALID_BODY' }

/**
 * The errors of a result as clients may see them: the gateway's with their code in upper case and their details in
 * `extensions`; those of GraphQL itself with a code; all others as INTERNAL with the request id, logged with their
 * cause. Errors that leave the result without data carry the HTTP status and headers of the response in
 * `extensions.http`.
 */
export function presentErrors(
  { errors = [], data }: ExecutionResult,
  requestId: string,
  log: ErrorLog,
): readonly GraphQLError[] {
  return errors.map((error) => {
    const cause = causeOf(error)
    if (cause === undefined) return data === undefined ? requestFault(error) : error
    const known = asGatewayError(cause)
    if (known.code === 'internal') log.error({ err: cause, requestId, path: error.path }, 'graphql field failed')
    return new GraphQLError(known.message, {
      nodes: error.nodes ?? null,
      source: error.source ?? null,
      positions: error.positions ?? null,
      path: error.path ?? null,
      extensions: extensionsOf(known, requestId, error.path === undefined),
    })
  })
}

/** An error outside of any field. */
export function requestError(error: GatewayError, requestId: string): GraphQLError {
  return new GraphQLError(error.message, { extensions: extensionsOf(error, requestId, true) })
}

/** What a resolver or a plugin threw; undefined when the error is one of GraphQL's own. */
export function causeOf(error: GraphQLError): Error | undefined {
  let cause: Error | undefined = error
  while (cause instanceof GraphQLError) cause = cause.originalError
  return cause
}

/** GraphQL's own refusal of a request: 400, or 200 for clients that ask for `application/json`. */
function requestFault(error: GraphQLError): GraphQLError {
  const { extensions } = error
  const code = String(extensions['code'] ?? 'BAD_USER_INPUT')
  extensions['code'] = CODES_OF_YOGA[code] ?? code
  extensions.http ??= { spec: true, status: 400 }
  return error
}

function extensionsOf(error: GatewayError, requestId: string, isOfRequest: boolean): Record<string, unknown> {
  const { code, details } = error
  return {
    ...details,
    code: code.toUpperCase(),
    ...(code === 'internal' && { requestId }),
    ...(isOfRequest && { http: { status: statusOf(code), headers: headersOf(error) } }),
  }
}

function headersOf({ code }: GatewayError): Record<string, string> {
  const retryAfterSeconds = retryAfterSecondsOf(code)
  return {
    ...(statusOf(code) === 401 && { 'www-authenticate': 'Bearer' }),
    ...(retryAfterSeconds !== undefined && { 'retry-after': String(retryAfterSeconds) }),
  }
}
