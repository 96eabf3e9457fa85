import type { FastifyReply } from 'fastify'

/** Adds names to the header `Vary`, which several parts of one response contribute to. */
export function addVary(reply: FastifyReply, names: readonly string[]): FastifyReply {
  const before = reply.getHeader('vary')
  const known = before === undefined ? [] : String(before).split(', ')
  const lowerCase = new Set(known.map((name) => name.toLowerCase()))
  const added = names.filter((name) => !lowerCase.has(name.toLowerCase()))
  return reply.header('vary', [...known, ...added].join(', '))
}
