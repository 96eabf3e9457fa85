import { builder } from '../builder.ts'
import { AggregationEnum } from './aggregation.ts'

const DirectionEnum = builder.enumType('Direction', {
  description: 'Order of the ranking.',
  values: {
    DESC: { value: 'desc', description: 'Highest value first.' },
    ASC: { value: 'asc', description: 'Lowest value first.' },
  } as const,
})

export const TopInputRef = builder.inputType('TopInput', {
  description:
    'Ranks groups by an aggregation of the whole range and returns the first ones. Ties are sorted by tags; groups without a value come last. Example: {n: 5, by: P95, other: true}.',
  fields: (t) => ({
    n: t.int({ required: true, description: 'How many groups, at least 1. Example: 10.' }),
    by: t.field({
      type: AggregationEnum,
      description: 'The aggregation to rank by. Default: the first requested one. Example: COUNT.',
    }),
    direction: t.field({ type: DirectionEnum, description: 'Default: DESC.' }),
    other: t.boolean({
      description:
        'Whether to merge the other groups into a remainder: a last group whose `tags` are null. It is computed from their data, so its percentiles and distinct counts are correct. Default: false.',
    }),
  }),
})
