import { isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { networkOf } from '../../model/network.ts'

/**
 * Matches an IP address in brackets or with a port, as some proxies report it: `[2001:db8::1]`, `[2001:db8::1]:443`,
 * `192.0.2.1:443`.
 */
const ADDRESS_WITH_PORT = /^(?:\[([^\]]+)\](?::\d+)?|([\d.]+):\d+)$/

/**
 * Returns the client address that trusted proxies report; without such proxies, the address of the connection. A proxy
 * may pass on any text of the client, and limits per client are counted by this address. So a text that is no IP
 * address is ignored, and the address of the connection is returned; empty if the connection is lost.
 */
export function clientAddressOf({ ip, raw }: FastifyRequest): string {
  if (isIP(ip) !== 0) return ip
  const [, bracketed, plain] = ADDRESS_WITH_PORT.exec(ip) ?? []
  const address = bracketed ?? plain ?? ''
  return isIP(address) === 0 ? (raw.socket.remoteAddress ?? '') : address
}

/**
 * Returns the network of the client address. Limits per client are counted by network, because one client may use all
 * addresses of an IPv6 /64 network.
 */
export function clientNetworkOf(request: FastifyRequest): string {
  return networkOf(clientAddressOf(request))
}
