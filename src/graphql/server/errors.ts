import { type ExecutionResult, GraphQLError } from 'graphql'
import { asGatewayError, retryAfterSecondsOf, statusOf } from '../../http/response/error-status.ts'
import type { GatewayError } from '../../model/errors.ts'
import type { InternalErrorLog } from '../context.ts'

/** The gateway's codes for errors that yoga creates. */
const GATEWAY_CODE_OF_YOGA_CODE: Readonly<Record<string, string>> = { BAD_REQUEST: 'INVALID_BODY' }

/**
 * Converts the errors of a result to errors for clients. Gateway errors get their code in upper case and their details
 * in `extensions`. Errors of graphql-js get a code if they refuse the whole request, as validation errors do; those of
 * a field stay as they are. An error of another kind is logged and becomes INTERNAL with the request id. For an error
 * of the whole request, `extensions.http` has the status of the response.
 */
export function toClientErrors(
  { errors = [], data }: ExecutionResult,
  requestId: string,
  log: InternalErrorLog,
): readonly GraphQLError[] {
  return errors.map((error) => {
    const cause = causeOf(error)
    if (cause === undefined) return data === undefined ? setCodeAndStatus(error) : error
    const gatewayError = asGatewayError(cause)
    if (gatewayError.code === 'internal') log.error({ err: cause, requestId, path: error.path }, 'graphql field failed')
    return new GraphQLError(gatewayError.message, {
      nodes: error.nodes ?? null,
      source: error.source ?? null,
      positions: error.positions ?? null,
      path: error.path ?? null,
      extensions: extensionsOf(gatewayError, requestId, error.path === undefined),
    })
  })
}

/** Converts an error of the whole request, which belongs to no field. */
export function toRequestError(error: GatewayError, requestId: string): GraphQLError {
  return new GraphQLError(error.message, { extensions: extensionsOf(error, requestId, true) })
}

/** Returns the error that a GraphQL error wraps; undefined if it wraps none, as the errors of graphql-js itself. */
export function causeOf(error: GraphQLError): Error | undefined {
  let cause: Error | undefined = error
  while (cause instanceof GraphQLError) cause = cause.originalError
  return cause
}

/**
 * Sets the code of an error that refuses a whole request and, unless it has one, the status of the response: 400, or
 * 200 for clients that accept `application/json`.
 */
function setCodeAndStatus(error: GraphQLError): GraphQLError {
  const { extensions } = error
  const code = String(extensions['code'] ?? 'BAD_USER_INPUT')
  extensions['code'] = GATEWAY_CODE_OF_YOGA_CODE[code] ?? code
  extensions.http ??= { spec: true, status: 400 }
  return error
}

function extensionsOf(error: GatewayError, requestId: string, isRequestError: boolean): Record<string, unknown> {
  const { code, details } = error
  return {
    ...details,
    code: code.toUpperCase(),
    ...(code === 'internal' && { requestId }),
    ...(isRequestError && { http: { status: statusOf(code), headers: headersOf(error) } }),
  }
}

function headersOf({ code }: GatewayError): Record<string, string> {
  const retryAfterSeconds = retryAfterSecondsOf(code)
  return {
    ...(statusOf(code) === 401 && { 'www-authenticate': 'Bearer' }),
    ...(retryAfterSeconds !== undefined && { 'retry-after': String(retryAfterSeconds) }),
  }
}
