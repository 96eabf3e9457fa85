import type { FastifyReply } from 'fastify'

/** Adds header names to `Vary`, unless it has them, and keeps those that other parts of the gateway have added. */
export function addVary(reply: FastifyReply, names: readonly string[]): FastifyReply {
  const currentHeader = reply.getHeader('vary')
  const currentNames = currentHeader === undefined ? [] : String(currentHeader).split(', ')
  const lowerCase = new Set(currentNames.map((name) => name.toLowerCase()))
  const added = names.filter((name) => !lowerCase.has(name.toLowerCase()))
  return reply.header('vary', [...currentNames, ...added].join(', '))
}
