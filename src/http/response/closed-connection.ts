import type { ServerResponse } from 'node:http'
import { GatewayError } from '../../model/errors.ts'

/** Aborts the queries of a request if the client closes the connection before the response is complete. */
export function abortWhenClosed(response: ServerResponse, queries: { abort(reason: GatewayError): void }): void {
  response.once('close', () => {
    if (!response.writableEnded)
      queries.abort(new GatewayError('request_timeout', 'the client has closed the connection'))
  })
}
