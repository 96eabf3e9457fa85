import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'

/** Every answer in JSON ends here. `json` is JSON text. */
export function sendJson(reply: FastifyReply, status: number, json: string): FastifyReply {
  return reply
    .code(status)
    .header('content-type', 'application/json; charset=utf-8')
    .header('cache-control', 'no-store')
    .send(json)
}

/**
 * JSON text in parts, each made when the client has taken those before it. What fits into one part is sent whole. A failure after
 * the first part closes the connection; a client that goes away ends the iteration.
 */
export async function sendJsonParts(
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
  return reply
    .code(status)
    .header('content-type', 'application/json; charset=utf-8')
    .header('cache-control', 'no-store')
    .send(Readable.from(all(), { objectMode: true, highWaterMark: 1 }))
}

/** It is done, and there is nothing to say about it. */
export function sendNothing(reply: FastifyReply): FastifyReply {
  return reply.code(204).header('cache-control', 'no-store').send()
}
