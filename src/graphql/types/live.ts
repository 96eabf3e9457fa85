import { builder } from '../builder.ts'
import { LiveUpdateRef } from './live-update.ts'
import { queryArguments, queryInputOf } from './query-arguments.ts'

builder.subscriptionType({ description: 'Live updates. Needs a key with the scope `query`.' })

builder.subscriptionField('live', (t) =>
  t.field({
    type: LiveUpdateRef,
    description:
      'A live query: its result, then what changed, at most once a second, late points included. Over `text/event-stream` or `multipart/mixed;subscriptionSpec=1.0`.',
    args: {
      metric: t.arg.string({ required: true, description: 'Name of the metric. Example: "api.response_time".' }),
      ...queryArguments,
    },
    subscribe: (_root, args, context, info) =>
      context.gateway.live(context.principal, queryInputOf(args.metric, args, context, info)),
    // Each update is a response of its own, so it starts with a full budget.
    resolve: (update, _args, { responseFieldBudget, limits }) => {
      responseFieldBudget.fieldsLeft = limits.responseFieldsMax
      responseFieldBudget.isExceeded = false
      return update
    },
  }),
)
