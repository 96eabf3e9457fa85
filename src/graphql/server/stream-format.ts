/** How results are written to the body of a streamed response. */
export interface StreamFormat {
  readonly contentType: string
  /** Sent before the first result. */
  readonly opening: string
  /** Returns the text of one result, given as JSON text. */
  formatResult(json: string): string
  /** Sent regularly, so that the client and proxies see that the connection is alive. */
  readonly keepAlive: string
  /** Sent after the last result, unless the client should connect again. */
  readonly closing: string
}

/**
 * Server-sent events in the "distinct connections mode" of the GraphQL over SSE protocol:
 * https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md
 */
export const SERVER_SENT_EVENTS: StreamFormat = {
  contentType: 'text/event-stream; charset=utf-8',
  opening: ':\n\n',
  formatResult: (json) => `event: next\ndata: ${json}\n\n`,
  keepAlive: ':\n\n',
  closing: 'event: complete\ndata:\n\n',
}

/**
 * Apollo's subscriptions over multipart HTTP:
 * https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/multipart-protocol
 */
export const MULTIPART: StreamFormat = {
  contentType: 'multipart/mixed;boundary="graphql";subscriptionSpec="1.0"',
  opening: '\r\n--graphql',
  formatResult: (json) => multipartPart(`{"payload":${json}}`),
  keepAlive: multipartPart('{}'),
  closing: '--\r\n',
}

/** Each part ends with the boundary, because clients parse a part only at its end. */
function multipartPart(json: string): string {
  return `\r\ncontent-type: application/json\r\n\r\n${json}\r\n--graphql`
}
