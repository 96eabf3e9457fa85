import type { FastifyInstance } from 'fastify'
import type { Gateway } from '../../gateway.ts'
import { GatewayError } from '../../model/errors.ts'
import type { Telemetry } from '../../telemetry/telemetry.ts'
import { sendJson } from './answer.ts'

export interface HealthOptions {
  readonly gateway: Gateway
  readonly telemetry: Telemetry
  /** How long the store may take to answer before the gateway counts as not ready. */
  readonly readyWaitMs: number
  /** The process is about to end: whoever spreads the load sends no more here. */
  readonly isDraining: () => boolean
}

/**
 * `/health`: the process lives. `/ready`: it can serve, because the store answers. `/metrics`: how it is doing, for Prometheus.
 * None needs a key nor tells of data.
 */
export function registerHealthRoutes(app: FastifyInstance, options: HealthOptions): void {
  const { gateway, telemetry, readyWaitMs, isDraining } = options
  app.get('/health', async (_request, reply) => sendJson(reply, 200, '{"status":"ok"}'))

  app.get('/ready', async (_request, reply) => {
    if (isDraining()) throw new GatewayError('overloaded', 'the gateway is shutting down')
    try {
      await within(readyWaitMs, gateway.ping())
    } catch (cause) {
      const reason = cause instanceof GatewayError ? cause.message : 'the store does not answer'
      throw new GatewayError('store_unavailable', reason, { cause })
    }
    return sendJson(reply, 200, '{"status":"ready"}')
  })

  // A HEAD of this path belongs to the Better Stack dialect.
  app.get('/metrics', { exposeHeadRoute: false }, async (_request, reply) =>
    reply.headers(METRICS_HEADERS).send(await telemetry.read()),
  )
}

const METRICS_HEADERS = {
  'content-type': 'text/plain; version=0.0.4; charset=utf-8',
  'cache-control': 'no-store',
}

/** Rejects when the work takes longer. */
async function within(waitMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${waitMs} ms`)), waitMs)
  })
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
