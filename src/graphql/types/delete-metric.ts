import { builder } from '../builder.ts'
import { requireScope } from '../context.ts'

builder.mutationField('deleteMetric', (t) =>
  t.boolean({
    nullable: true,
    description:
      'Deletes a metric with its series and all its points, for good; the name may be tracked anew at once, with any type. False: there is none of this name. Needs a key with the scope `admin`.',
    args: { name: t.arg.string({ required: true, description: 'Name of the metric. Example: "api.response_time".' }) },
    resolve: (_root, { name }, context) => {
      requireScope(context, 'admin')
      return context.gateway.deleteMetric(context.principal.project, name)
    },
  }),
)
