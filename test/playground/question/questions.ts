import fc from 'fast-check'
import { type Filter, OPERATORS, type Question } from '../../../playground/question/question.ts'

/** Any question that the page can show, for properties. */

export const QUESTION: Question = {
  metric: 'api.response_time',
  aggregations: ['P50', 'P95'],
  groupBy: ['endpoint'],
  filters: [
    { key: 'status', operator: 'in', values: ['200', '201'] },
    { key: 'endpoint', operator: 'glob', values: ['/users/*'] },
    { key: 'region', operator: 'exists', values: ['true'] },
  ],
  top: { n: 3, by: 'P95', direction: 'DESC', other: true },
  compare: '1w',
  range: { last: '6h' },
  interval: '5m',
  timezone: 'Europe/Berlin',
  isLive: false,
}

/** Texts that quoting may get wrong. */
const text = fc.oneof(
  fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' }),
  fc.constantFrom(
    `'`,
    '"',
    '`',
    '$' + '{key}',
    '\\',
    '\\n',
    '\n',
    "'; rm -rf /; '",
    '$(date)',
    'a&b=c#d%2F',
    '{{',
    '世界',
    '#',
  ),
)
const name = fc.constantFrom('SUM', 'AVG', 'P50', 'P95', 'P999', 'COUNT')

const filter: fc.Arbitrary<Filter> = fc.constantFrom(...OPERATORS).chain((operator) =>
  fc.record({
    key: text,
    operator: fc.constant(operator),
    values:
      operator === 'in' || operator === 'notIn'
        ? fc.uniqueArray(text, { minLength: 1, maxLength: 3 })
        : operator === 'exists'
          ? fc.constantFrom(['true'], ['false'])
          : text.map((value) => [value]),
  }),
)

export const anyQuestion: fc.Arbitrary<Question> = fc.record({
  metric: text,
  aggregations: fc.uniqueArray(name, { maxLength: 4 }),
  groupBy: fc.uniqueArray(text, { maxLength: 3 }),
  filters: fc.uniqueArray(filter, { maxLength: 4, selector: ({ key, operator }) => `${operator}.${key}` }),
  top: fc.option(
    fc.record({
      n: fc.integer({ min: 1, max: 100 }),
      by: fc.oneof(fc.constant(''), name),
      direction: fc.constantFrom('DESC' as const, 'ASC' as const),
      other: fc.boolean(),
    }),
    { nil: undefined },
  ),
  compare: fc.constantFrom('', 'previous', '1d', '1w', '1mo'),
  range: fc.oneof(
    fc.record({ last: fc.constantFrom('15m', '6h', '90d') }),
    fc.constant({ from: '2026-11-28T01:00:00Z', to: '2026-11-29T01:00:00+01:00' }),
  ),
  interval: fc.constantFrom('auto', '10s', '1h', '1d'),
  timezone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', '+02:00'),
  isLive: fc.boolean(),
})
