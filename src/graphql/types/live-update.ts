import type { LiveUpdate } from '../../query/live/live-patch.ts'
import { builder } from '../builder.ts'
import { GroupRef, groupSource } from './group.ts'
import { SeriesRef, seriesSourcesOf } from './series.ts'

const LiveUpdateKindEnum = builder.enumType('LiveUpdateKind', {
  description: 'How to apply an update of a live query.',
  values: {
    SNAPSHOT: { value: 'snapshot', description: 'The whole result: replace what you have.' },
    PATCH: {
      value: 'patch',
      description: 'Only new and changed buckets: replace the buckets with the same start.',
    },
  } as const,
})

export const LiveUpdateRef = builder.objectRef<LiveUpdate>('LiveUpdate').implement({
  description:
    'An update of a live query. The first is a SNAPSHOT, then PATCHes follow. Another SNAPSHOT comes when a patch cannot express the change, such as a new ranking of `top`.',
  fields: (t) => ({
    kind: t.expose('kind', {
      type: LiveUpdateKindEnum,
      description: 'Whether this update replaces the result or patches it.',
    }),
    series: t.field({
      type: [SeriesRef],
      description:
        'Changed lines; match them by `id`. In a PATCH they have only new and changed buckets, while `total` covers the whole range.',
      resolve: ({ result }) => seriesSourcesOf(result),
    }),
    groups: t.field({
      type: [GroupRef],
      description: 'Changed groups; match them by `tags`. In a PATCH they have only new and changed buckets.',
      resolve: ({ result }) => result.groups.map((group) => groupSource(result, group)),
    }),
    dropBefore: t.expose('dropBeforeMs', {
      type: 'DateTime',
      nullable: true,
      description:
        'Remove buckets that start before this time, then lines and groups without buckets. Null when the range did not move.',
    }),
    at: t.field({
      type: 'DateTime',
      description: 'Gateway time of this update.',
      resolve: ({ result }) => result.meta.nowMs,
    }),
  }),
})
