/** How the results of one operation are written into the body of a response. */
export interface StreamFormat {
  readonly contentType: string
  readonly opening: string
  /** `json`: one result. */
  next(json: string): string
  /** Shows the client, and proxies on the way, that the connection is alive. */
  readonly keepAlive: string
  readonly closing: string
}

/**
 * Server-sent events in the "distinct connections mode" of the GraphQL over SSE protocol:
 * https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md
 */
export const SERVER_SENT_EVENTS: StreamFormat = {
  contentType: 'text/event-stream; charset=utf-8',
  opening: ':\n\n',
  next: (json) => `event: next\ndata: ${json}\n\n`,
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
  next: (json) => multipart(`{"payload":${json}}`),
  keepAlive: multipart('{}'),
  closing: '--\r\n',
}

/** Each part ends with the boundary: a client reads a part only when it has seen the end. */
function multipart(json: string): string {
  return `\r\ncontent-type: application/json\r\n\r\n${json}\r\n--graphql`
}
