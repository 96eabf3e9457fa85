import { type ClientRequest, type OutgoingHttpHeaders, request } from 'node:http'
import { text } from 'node:stream/consumers'

export interface RawResponse {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[]>
  readonly body: string
}

export interface RawRequest {
  readonly sent: ClientRequest
  /** Resolves with whatever is answered; rejects when the connection ends without. */
  readonly response: Promise<RawResponse>
  /** Hangs up. */
  end(): Promise<void>
}

/**
 * A request of which the test sends as much as it likes, on a connection of its own. Without a length it is chunked.
 */
export function openRequest(url: string, headers: OutgoingHttpHeaders, method = 'POST'): RawRequest {
  const sent = request(url, { method, headers, agent: false })
  const response = new Promise<RawResponse>((resolve, reject) => {
    sent.once('response', (message) => {
      text(message).then((body) => resolve({ status: message.statusCode ?? 0, headers: message.headers, body }), reject)
    })
    sent.on('error', reject)
  })
  response.catch(() => {})
  sent.flushHeaders()
  return {
    sent,
    response,
    end: () =>
      new Promise((resolve) => {
        if (sent.closed) return resolve()
        sent.once('close', resolve)
        sent.destroy()
      }),
  }
}
