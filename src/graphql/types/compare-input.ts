import { builder } from '../builder.ts'

export const CompareInputRef = builder.inputType('CompareInput', {
  description:
    "An earlier range to compare with, bucket by bucket; results are in `Series.comparison` and `Bucket.previous`. Calendar units follow the time zone: ten o'clock is compared with ten o'clock, across clock changes too.",
  isOneOf: true,
  fields: (t) => ({
    previousPeriod: t.boolean({
      description: 'Compares with the range of equal length right before. Example: true.',
    }),
    offset: t.field({
      type: 'Duration',
      description:
        'Compares with the range this far back: a calendar unit ("1d", "1w", "1mo", "1q", "1y") or a duration. Example: "1w".',
    }),
  }),
})
