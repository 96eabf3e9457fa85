import { builder } from '../builder.ts'
import { requireScopeAndTime } from '../context.ts'

builder.mutationField('deleteMetric', (t) =>
  t.boolean({
    nullable: true,
    description:
      'Permanently deletes a metric with all its points; false when there is none. The name can be reused at once, with any type. Needs a key with the scope `admin`.',
    args: { name: t.arg.string({ required: true, description: 'Name of the metric. Example: "api.response_time".' }) },
    resolve: (_root, { name }, context) => {
      requireScopeAndTime(context, 'admin')
      return context.gateway.deleteMetric(context.principal.project, name)
    },
  }),
)
