import { builder } from '../builder.ts'

export const FillEnum = builder.enumType('Fill', {
  description: 'What becomes of buckets that hold no point; of a query that compares, none in either period.',
  values: {
    NONE: { value: 'none', description: 'They are left out.' },
    NULL: { value: 'null', description: 'They are listed with null.' },
    ZERO: { value: 'zero', description: 'They are listed with 0.' },
    PREVIOUS: { value: 'previous', description: 'They repeat the last value before them; null where there is none.' },
  } as const,
})
