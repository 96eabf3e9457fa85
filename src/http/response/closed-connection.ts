import type { ServerResponse } from 'node:http'
import { GatewayError } from '../../model/errors.ts'

/**
 * Aborts the queries of a request if the client closes the connection before the response is complete, or has already
 * closed it.
 */
export function abortWhenClosed(response: ServerResponse, queries: { abort(reason: GatewayError): void }): void {
  const abort = (): void => queries.abort(new GatewayError('request_timeout', 'the client has closed the connection'))
  if (response.destroyed) abort()
  response.once('close', () => {
    if (!response.writableEnded) abort()
  })
}
