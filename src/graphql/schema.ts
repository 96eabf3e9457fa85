import type { GraphQLSchema } from 'graphql'
import './scalars.ts'
import './query.ts'
import './viewer.ts'
import './event-connection.ts'
import './track.ts'
import './live.ts'
import './track-event.ts'
import './delete-metric.ts'
import { boundAnswers } from './answer-size.ts'
import { builder } from './builder.ts'

/** Each imported file adds its types and fields to the builder; they are printed in that order. */
export const schema: GraphQLSchema = boundAnswers(builder.toSchema({ sortSchema: false }))
