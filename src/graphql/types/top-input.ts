import { builder } from '../builder.ts'
import { AggregationEnum } from './aggregation.ts'

const DirectionEnum = builder.enumType('Direction', {
  description: 'Which groups come first.',
  values: {
    DESC: { value: 'desc', description: 'Those with the greatest number.' },
    ASC: { value: 'asc', description: 'Those with the least number.' },
  } as const,
})

export const TopInputRef = builder.inputType('TopInput', {
  description:
    'The first groups by one number over the whole range, in that order. Equal groups stand in the order of their tags; groups without the number come last. Example: {n: 5, by: P95, other: true}.',
  fields: (t) => ({
    n: t.int({ required: true, description: 'How many groups, from 1. Example: 10.' }),
    by: t.field({
      type: AggregationEnum,
      description: 'The number that ranks. Default: the first of the aggregations asked. Example: COUNT.',
    }),
    direction: t.field({ type: DirectionEnum, description: 'Default: DESC.' }),
    other: t.boolean({
      description:
        'Whether all other groups are merged into one more, the last, whose `tags` are null. It is merged from their data: its percentiles and distinct counts are those of all its points together. Default: false, they are left out.',
    }),
  }),
})
