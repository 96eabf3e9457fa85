import { builder } from '../builder.ts'
import { MetricTypeEnum } from './metric-type.ts'

export const MetricInputRef = builder.inputType('MetricInput', {
  description: 'One point to track: the item that REST takes, with the type in upper case.',
  fields: (t) => ({
    name: t.string({
      required: true,
      description: 'Name of the metric, at most 255 characters. Example: "api.response_time".',
    }),
    type: t.field({ type: MetricTypeEnum, required: true, description: 'GAUGE, COUNTER, DISTRIBUTION or SET.' }),
    value: t.field({
      type: 'MetricValue',
      description: 'A finite number, of a SET a string; required. Example: 145.2.',
    }),
    timestamp: t.field({
      type: 'DateTime',
      description:
        'When it was measured: any time in the past, at most 24 h ahead. Default: now. Example: "2024-01-15T10:30:00Z".',
    }),
    tags: t.field({ type: 'Tags', description: 'At most 32. Example: {endpoint: "/users", status: "200"}.' }),
    unit: t.string({ description: 'Unit of the values, kept from the first point. Example: "ms".' }),
    description: t.string({ description: 'What the metric measures, kept from the first point.' }),
  }),
})
