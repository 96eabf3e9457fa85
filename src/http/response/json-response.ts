import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'

/** Every JSON response is sent by one of these functions, so that all have the same headers. `json` is JSON text. */
export function sendJson(reply: FastifyReply, status: number, json: string): FastifyReply {
  return setJsonHeaders(reply, status).send(json)
}

/**
 * Sends JSON text in parts; the next part is produced only after the client has read the previous ones. A single part
 * is sent as a whole. An error after the first part closes the connection. When the client disconnects, the iteration
 * ends.
 */
export async function sendJsonStream(
  reply: FastifyReply,
  status: number,
  parts: AsyncGenerator<string>,
): Promise<FastifyReply> {
  const first = await parts.next()
  const second = await parts.next()
  if (second.done === true) return sendJson(reply, status, first.value)
  const all = async function* () {
    try {
      yield first.value
      yield second.value
      yield* parts
    } finally {
      await parts.return(undefined)
    }
  }
  return setJsonHeaders(reply, status).send(Readable.from(all(), { objectMode: true, highWaterMark: 1 }))
}

/** A success without a body. */
export function sendNoContent(reply: FastifyReply): FastifyReply {
  return reply.code(204).header('cache-control', 'no-store').send()
}

const CONTENT_TYPE = 'application/json; charset=utf-8'
const CACHE_CONTROL = 'no-store'

/** Names and values, in turn, of the headers of every JSON response. */
export const JSON_HEADERS: readonly string[] = ['content-type', CONTENT_TYPE, 'cache-control', CACHE_CONTROL]

function setJsonHeaders(reply: FastifyReply, status: number): FastifyReply {
  return reply.code(status).header('content-type', CONTENT_TYPE).header('cache-control', CACHE_CONTROL)
}
