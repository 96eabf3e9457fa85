import type { FastifyReply } from 'fastify'

/** Every answer in JSON ends here. `json` is JSON text. */
export function sendJson(reply: FastifyReply, status: number, json: string): FastifyReply {
  return reply
    .code(status)
    .header('content-type', 'application/json; charset=utf-8')
    .header('cache-control', 'no-store')
    .send(json)
}
