import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Answer, Gateway, TrackOptions } from '../../gateway.ts'
import { sendJson } from './answer.ts'
import { projectOf } from './auth.ts'
import { idempotencyOf } from './idempotency.ts'

/** Has a request served, with an idempotency key once, and sends the answer. `options` are for what it tracks. */
export async function sendOnce(
  gateway: Gateway,
  request: FastifyRequest,
  reply: FastifyReply,
  serve: (options: TrackOptions) => Promise<Answer>,
): Promise<FastifyReply> {
  const idempotent = idempotencyOf(request)
  const { status, body } =
    idempotent === undefined
      ? await serve({})
      : await gateway.once(projectOf(request), idempotent, () => serve({ idempotencyKey: idempotent.key }))
  return sendJson(reply, status, body)
}
