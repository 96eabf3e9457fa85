import { Writable } from 'node:stream'
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { pino } from 'pino'
import type { ServerLimits, ServerOptions } from '../../src/http/create-server.ts'
import { createServer } from '../../src/http/create-server.ts'
import { DEFAULT_SERVER_LIMITS } from './default-limits.ts'
import type { FakeGateway, FakeGatewayOptions } from './fake-gateway.ts'
import { createFakeGateway } from './fake-gateway.ts'
import { NO_TELEMETRY } from './no-telemetry.ts'

export const NOW_MS = Date.UTC(2024, 0, 15, 12)

export interface FakeServer {
  readonly app: FastifyInstance
  readonly gateway: FakeGateway
  /** Everything logged so far, at every level. */
  logged(): string
  get(path: string, headers?: Readonly<Record<string, string>>): Promise<LightMyRequestResponse>
  /** With a key that may do everything; a body that is no text or bytes is sent as JSON. */
  post(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<LightMyRequestResponse>
}

/** The HTTP server over a gateway in memory; nothing listens. */
export function createFakeServer(
  options: FakeGatewayOptions = {},
  limits: Partial<ServerLimits> = {},
  server: Partial<Omit<ServerOptions, 'gateway' | 'log' | 'now' | 'limits'>> = {},
): FakeServer {
  let logged = ''
  const destination = new Writable({
    write(chunk, _encoding, done) {
      logged += String(chunk)
      done()
    },
  })
  const gateway = createFakeGateway(options)
  const app = createServer({
    gateway,
    log: pino({ level: 'trace' }, destination),
    now: () => NOW_MS,
    telemetry: NO_TELEMETRY,
    ...server,
    limits: { ...DEFAULT_SERVER_LIMITS, ...limits },
  })
  const authorized = { authorization: 'Bearer test-key' }
  return {
    app,
    gateway,
    logged: () => logged,
    get: (url, headers = {}) => app.inject({ method: 'GET', url, headers: { ...authorized, ...headers } }),
    post: (url, body, headers = {}) => {
      const payload = typeof body === 'string' || body instanceof Buffer ? body : JSON.stringify(body)
      const request: InjectOptions = { method: 'POST', url, payload }
      return app.inject({ ...request, headers: { ...authorized, 'content-type': 'application/json', ...headers } })
    },
  }
}

export function errorOf(response: LightMyRequestResponse): { code: string; message: string; details?: unknown } {
  return response.json<{ error: { code: string; message: string } }>().error
}
