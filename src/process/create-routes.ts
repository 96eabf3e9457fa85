import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import type { Gateway } from '../gateway.ts'
import { GRAPHQL_SENT_DOCUMENT_CHARS_MAX } from '../graphql/documents/persisted-operations.ts'
import { registerGraphQL } from '../graphql/server/graphql-routes.ts'
import { STREAM_SETTINGS } from '../graphql/server/streams.ts'
import { createServer } from '../http/create-server.ts'
import { createPageAssets } from '../http/pages/page-assets.ts'
import type { Telemetry } from '../telemetry/telemetry-interface.ts'
import { graphqlLimitsOf, serverLimitsOf } from './combined-limits.ts'

interface RouteOptions {
  readonly gateway: Gateway
  readonly log: Logger
  readonly now: () => number
  readonly telemetry: Telemetry
  /** Registered GraphQL documents, by id. */
  readonly registeredDocuments: ReadonlyMap<string, string>
  readonly isDraining: () => boolean
}

/** Creates the HTTP server with all routes of a gateway. The server does not listen yet. */
export function createServerWithRoutes(config: Config, options: RouteOptions): FastifyInstance {
  const { gateway, log, now, registeredDocuments } = options
  const readAssets = createPageAssets()
  const server = createServer({ ...options, ...config.http, limits: serverLimitsOf(config), readAssets })
  registerGraphQL(server, {
    gateway,
    log,
    now,
    limits: graphqlLimitsOf(config),
    readAssets,
    streams: STREAM_SETTINGS,
    persisted: {
      mode: config.persisted.mode,
      registeredDocuments,
      sentDocumentCharsMax: GRAPHQL_SENT_DOCUMENT_CHARS_MAX,
    },
  })
  return server
}
