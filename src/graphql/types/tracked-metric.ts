import type { MetricType } from '../../model/metric.ts'
import type { CanonicalTags } from '../../model/series.ts'
import { builder } from '../builder.ts'
import { findMetric, MetricRef } from './metric.ts'
import { MetricTypeEnum } from './metric-type.ts'

/** A point as it was stored. */
export interface TrackedPoint {
  readonly name: string
  readonly type: MetricType
  readonly value: number | string
  readonly timeMs: number
  readonly tags: CanonicalTags
}

export const TrackedMetricRef = builder.objectRef<TrackedPoint>('TrackedMetric').implement({
  description: 'A point as it was stored.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Name of the metric.' }),
    type: t.expose('type', { type: MetricTypeEnum, description: 'Type of the metric.' }),
    value: t.expose('value', { type: 'MetricValue', description: 'The stored value.' }),
    timestamp: t.expose('timeMs', {
      type: 'DateTime',
      description: 'When it was measured. Default: when it was received.',
    }),
    tags: t.expose('tags', {
      type: 'Tags',
      description: 'The tags of the series, sorted by key, without empty values.',
    }),
    metric: t.field({
      type: MetricRef,
      nullable: true,
      description: 'Its metric, this point included. Needs the scope `query`.',
      resolve: (point, _args, context) => findMetric(point.name, context),
    }),
  }),
})
