import { builder } from '../builder.ts'
import { MetricTypeEnum } from './metric-type.ts'

export const MetricInputRef = builder.inputType('MetricInput', {
  description: 'One point. Equal to an item of the REST API, but with `type` in upper case.',
  fields: (t) => ({
    name: t.string({
      required: true,
      description: 'Name of the metric, by default at most 255 characters. Example: "api.response_time".',
    }),
    type: t.field({ type: MetricTypeEnum, required: true, description: 'GAUGE, COUNTER, DISTRIBUTION or SET.' }),
    value: t.field({
      type: 'MetricValue',
      description: 'Required: a finite number, or a string for a SET. Example: 145.2.',
    }),
    timestamp: t.field({
      type: 'DateTime',
      description:
        'When it was measured: in the past, or at most 24 h ahead. Default: now. Example: "2024-01-15T10:30:00Z".',
    }),
    tags: t.field({
      type: 'Tags',
      description: 'By default at most 32. Example: {endpoint: "/users", status: "200"}.',
    }),
    unit: t.string({ description: 'Unit of the values; set by the request that creates the metric. Example: "ms".' }),
    description: t.string({ description: 'What the metric measures; set by the request that creates the metric.' }),
  }),
})
