import { builder } from '../builder.ts'

export const CompareInputRef = builder.inputType('CompareInput', {
  description:
    'What to hold the answer against, bucket for bucket: `Series.comparison` and `Bucket.previous`. One of both. Days, weeks, months and years are those of the time zone: an hour is held against the hour of the same clock reading, across clock changes too.',
  isOneOf: true,
  fields: (t) => ({
    previousPeriod: t.boolean({
      description: 'The range right before, of as many buckets. Example: true; false compares with nothing.',
    }),
    offset: t.field({
      type: 'Duration',
      description:
        'The range so far back; calendar units "1d", "1w", "1mo", "1q", "1y", or a length of time. Example: "1w".',
    }),
  }),
})
