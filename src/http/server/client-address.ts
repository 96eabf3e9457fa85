import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { networkOf } from '../../model/network.ts'

/** `[2001:db8::1]:443`, `[2001:db8::1]` and `192.0.2.1:443`: some proxies write the client's port too. */
const WITH_PORT = /^(?:\[([^\]]+)\](?::\d+)?|([\d.]+):\d+)$/

/**
 * The address of the client, as trusted proxies report it. What they report is text of the client's choice in the worst case, and it
 * becomes part of keys: where it is no address, the address of the connection counts.
 */
export function clientAddressOf({ ip, raw }: FastifyRequest): string {
  if (isIP(ip) !== 0) return ip
  const [, bracketed, plain] = WITH_PORT.exec(ip) ?? []
  const address = bracketed ?? plain ?? ''
  return isIP(address) === 0 ? (raw.socket.remoteAddress ?? '') : address
}

/** What budgets of a client address are counted by. */
export function clientNetworkOf(request: FastifyRequest): string {
  return networkOf(clientAddressOf(request))
}
