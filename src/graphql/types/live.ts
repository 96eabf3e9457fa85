import { builder } from '../builder.ts'
import { requireScope, takeQuery } from '../context.ts'
import { selectedAggregations, selectsTotals } from '../resolve/look-ahead.ts'
import { LiveUpdateRef } from './live-update.ts'
import { queryArguments, toQueryInput } from './query-arguments.ts'

builder.subscriptionType({ description: 'Watching; needs a key with the scope `query`.' })

builder.subscriptionFields((t) => ({
  live: t.field({
    type: LiveUpdateRef,
    description:
      'A query that is kept up to date: its answer, then at most once a second what has changed in it, late points included. Over `text/event-stream` or `multipart/mixed;subscriptionSpec=1.0`.',
    args: {
      metric: t.arg.string({ required: true, description: 'Name of the metric. Example: "api.response_time".' }),
      ...queryArguments,
    },
    subscribe: (_root, args, context, info) => {
      requireScope(context, 'query')
      const input = { ...toQueryInput(args.metric, args, selectedAggregations(info)), totals: selectsTotals(info) }
      takeQuery(context)
      return context.gateway.live(context.principal, input)
    },
    resolve: (update, _args, { answer, limits }) => {
      answer.fieldsLeft = limits.answerFieldsMax
      answer.isOver = false
      return update
    },
  }),
}))
