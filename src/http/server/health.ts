import type { FastifyInstance } from 'fastify'
import type { Gateway } from '../../gateway.ts'
import { GatewayError } from '../../model/errors.ts'
import { withTimeout } from '../../model/with-timeout.ts'
import type { Telemetry } from '../../telemetry/telemetry-interface.ts'
import { jsonContent, type Operation, STRING_SCHEMA } from '../openapi/operation.ts'
import { objectOf } from '../openapi/schemas.ts'
import { sendJson } from '../response/json-response.ts'

/** How long `/ready` waits for the store. */
export const READY_WAIT_MS = 2_000

interface HealthOptions {
  readonly gateway: Gateway
  readonly telemetry: Telemetry
  /** `/ready` fails when the store takes longer than this to respond. */
  readonly readyWaitMs: number
  /** Whether shutdown has begun. `/ready` then fails, so that load balancers send no more requests. */
  readonly isDraining: () => boolean
}

/**
 * `/health`: the process runs. `/ready`: it can serve requests, because `Gateway.ping` finds no fault of the store and
 * shutdown has not begun. `/metrics`: the gateway's own metrics, for Prometheus. These routes need no key and reveal no
 * project data.
 */
export function registerHealthRoutes(app: FastifyInstance, options: HealthOptions): void {
  const { gateway, telemetry, readyWaitMs, isDraining } = options
  app.get('/health', { config: { openapi: HEALTH_OPERATION } }, async (_request, reply) =>
    sendJson(reply, 200, '{"status":"ok"}'),
  )

  app.get('/ready', { config: { openapi: READY_OPERATION } }, async (_request, reply) => {
    if (isDraining()) throw new GatewayError('overloaded', 'the gateway is shutting down')
    try {
      await withTimeout(readyWaitMs, () => gateway.ping())
    } catch (cause) {
      const reason = cause instanceof GatewayError ? cause.message : 'the store does not respond'
      throw new GatewayError('store_unavailable', reason, { cause })
    }
    return sendJson(reply, 200, '{"status":"ready"}')
  })

  // HEAD of this path is a route of the Better Stack API.
  app.get('/metrics', { exposeHeadRoute: false, config: { openapi: OWN_METRICS_OPERATION } }, async (_request, reply) =>
    reply.headers(METRICS_HEADERS).send(await telemetry.readMetricsText()),
  )
}

const METRICS_HEADERS = {
  'content-type': 'text/plain; version=0.0.4; charset=utf-8',
  'cache-control': 'no-store',
}

const statusSchema = (status: string) => objectOf({ status: { type: 'string', const: status } })

const HEALTH_OPERATION: Operation = {
  id: 'health',
  tag: 'Operations',
  summary: 'Checks that the process runs',
  response: { status: 200, description: 'The process runs.', content: jsonContent(statusSchema('ok')) },
  errors: [],
}

const READY_OPERATION: Operation = {
  id: 'ready',
  tag: 'Operations',
  summary: 'Checks that the store responds and that the process is not shutting down',
  response: {
    status: 200,
    description: 'The gateway can serve requests.',
    content: jsonContent(statusSchema('ready')),
  },
  errors: ['store_unavailable', 'overloaded'],
}

const OWN_METRICS_OPERATION: Operation = {
  id: 'ownMetrics',
  tag: 'Operations',
  summary: "Returns the gateway's own metrics, for Prometheus",
  response: {
    status: 200,
    description: 'Metrics in the Prometheus text format, without project data.',
    content: { 'text/plain': STRING_SCHEMA },
  },
  errors: ['internal', 'overloaded'],
}
