import { builder } from '../builder.ts'

export const MetricTypeEnum = builder.enumType('MetricType', {
  description: 'What the points of a metric mean. A metric has one type for life.',
  values: {
    GAUGE: {
      value: 'gauge',
      description: 'The value now, such as a temperature or a queue length. Default aggregation: LAST.',
    },
    COUNTER: {
      value: 'counter',
      description: 'An amount to add, such as requests served. Default aggregation: SUM.',
    },
    DISTRIBUTION: {
      value: 'distribution',
      description: 'One observation, such as a latency in ms; answers percentiles. Default aggregation: AVG.',
    },
    SET: {
      value: 'set',
      description: 'One member, such as a user id; counts distinct members. Default aggregation: COUNT.',
    },
    HISTOGRAM: {
      value: 'histogram',
      description: 'Bucket counts sent ready-made; a type of the catalog, not one to track. Default aggregation: SUM.',
    },
    SUMMARY: {
      value: 'summary',
      description: 'Quantiles sent ready-made; a type of the catalog, not one to track. Default aggregation: LAST.',
    },
  } as const,
})
