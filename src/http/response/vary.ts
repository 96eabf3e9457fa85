import type { FastifyReply } from 'fastify'

/** Adds header names to `Vary` and keeps those that other parts of the gateway have added. */
export function addVary(reply: FastifyReply, names: readonly string[]): FastifyReply {
  const before = reply.getHeader('vary')
  const known = before === undefined ? [] : String(before).split(', ')
  const lowerCase = new Set(known.map((name) => name.toLowerCase()))
  const added = names.filter((name) => !lowerCase.has(name.toLowerCase()))
  return reply.header('vary', [...known, ...added].join(', '))
}
