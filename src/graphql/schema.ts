import type { GraphQLSchema } from 'graphql'
import './types/scalars.ts'
import './types/query.ts'
import './types/viewer.ts'
import './types/event-connection.ts'
import './types/track.ts'
import './types/live.ts'
import './types/track-event.ts'
import './types/delete-metric.ts'
import { builder } from './builder.ts'
import { boundAnswers } from './resolve/answer-size.ts'

/** Each imported file adds its types and fields to the builder; they are printed in that order. */
export const schema: GraphQLSchema = boundAnswers(builder.toSchema({ sortSchema: false }))
