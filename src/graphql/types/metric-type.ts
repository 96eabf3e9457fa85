import { builder } from '../builder.ts'

export const MetricTypeEnum = builder.enumType('MetricType', {
  description: 'What the points of a metric mean. The type of a metric never changes.',
  values: {
    GAUGE: {
      value: 'gauge',
      description: 'A current value, such as a temperature or a queue length. Default aggregation: LAST.',
    },
    COUNTER: {
      value: 'counter',
      description: 'An amount to add, such as requests served. Default aggregation: SUM.',
    },
    DISTRIBUTION: {
      value: 'distribution',
      description: 'An observation, such as a latency; supports percentiles. Default aggregation: AVG.',
    },
    SET: {
      value: 'set',
      description: 'A member, such as a user id; distinct members are counted. Default aggregation: COUNT.',
    },
    HISTOGRAM: {
      value: 'histogram',
      description:
        'Counts per bucket, sent by Better Stack, OTLP or remote-write clients; cannot be tracked here. Default aggregation: SUM.',
    },
    SUMMARY: {
      value: 'summary',
      description:
        'Quantiles, sent by Better Stack, OTLP or remote-write clients; cannot be tracked here. Default aggregation: LAST.',
    },
  } as const,
})
