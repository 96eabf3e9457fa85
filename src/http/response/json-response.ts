import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'

/**
 * Sends JSON text, with the same headers as `sendJsonStream`. OTLP and GraphQL do not use these functions, because
 * their content types differ.
 */
export function sendJson(reply: FastifyReply, status: number, json: string): FastifyReply {
  return setJsonHeaders(reply, status).send(json)
}

/**
 * Sends JSON text in chunks, of which there is at least one. Applies backpressure: after the first two chunks, the next
 * one is produced only when the connection accepts more data. A single chunk is sent with `Content-Length`. An error
 * before the second chunk becomes an error response; a later error closes the connection. When the client disconnects,
 * the iteration ends.
 */
export async function sendJsonStream(
  reply: FastifyReply,
  status: number,
  chunks: AsyncGenerator<string>,
): Promise<FastifyReply> {
  const first = await chunks.next()
  const second = await chunks.next()
  if (second.done === true) return sendJson(reply, status, first.value)
  const allChunks = async function* () {
    try {
      yield first.value
      yield second.value
      yield* chunks
    } finally {
      await chunks.return(undefined)
    }
  }
  return setJsonHeaders(reply, status).send(Readable.from(allChunks(), { objectMode: true, highWaterMark: 1 }))
}

/** Sends a success without a body: status 204. */
export function sendNoContent(reply: FastifyReply): FastifyReply {
  return reply.code(204).header('cache-control', 'no-store').send()
}

const CONTENT_TYPE = 'application/json; charset=utf-8'
const CACHE_CONTROL = 'no-store'

/** Names and values, in turn, of the headers of the JSON responses above. */
export const JSON_HEADERS: readonly string[] = ['content-type', CONTENT_TYPE, 'cache-control', CACHE_CONTROL]

function setJsonHeaders(reply: FastifyReply, status: number): FastifyReply {
  return reply.code(status).header('content-type', CONTENT_TYPE).header('cache-control', CACHE_CONTROL)
}
