import type { GraphQLSchema } from 'graphql'
import './types/scalars.ts'
import './types/metric-connection.ts'
import './types/query.ts'
import './types/viewer.ts'
import './types/event-connection.ts'
import './types/track.ts'
import './types/live.ts'
import './types/track-event.ts'
import './types/delete-metric.ts'
import { builder } from './builder.ts'
import { addResponseLimit } from './resolve/response-size.ts'

/**
 * The executable schema. Each file of `types/` adds its types and fields to the builder when it is imported. The order
 * of the imports above decides the order of root fields, and of types of the same kind, in `schema/schema.graphql`.
 */
export const schema: GraphQLSchema = addResponseLimit(builder.toSchema({ sortSchema: false }))
