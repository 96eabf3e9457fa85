import { builder } from '../builder.ts'

export const FillEnum = builder.enumType('Fill', {
  description:
    'How buckets without points are returned. With `compare`, a bucket is empty when both ranges have no points.',
  values: {
    NONE: { value: 'none', description: 'Empty buckets are left out.' },
    NULL: { value: 'null', description: 'Empty buckets are null.' },
    ZERO: { value: 'zero', description: 'Empty buckets are 0.' },
    PREVIOUS: { value: 'previous', description: 'Empty buckets repeat the previous value; null when there is none.' },
  } as const,
})
