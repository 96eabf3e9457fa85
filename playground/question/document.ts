import type { Filter, Question, Top } from './question.ts'

/**
 * Writes the GraphQL operation of a question: a query, or a subscription for a live question. The explorer shows this
 * text as code and sends the same text.
 */
export function documentOf(question: Question): string {
  const field = question.isLive ? 'live' : 'query'
  const fields = question.isLive ? LIVE_FIELDS : QUERY_FIELDS
  const lines = [
    question.isLive ? 'subscription Explore {' : 'query Explore {',
    `  ${field}(`,
    ...argumentsOf(question).map((argument) => `    ${argument}`),
    '  ) {',
    ...[...fields, ...seriesFields(question)].map((line) => `    ${line}`),
    '  }',
    '}',
  ]
  return `${lines.join('\n')}\n`
}

/** Writes the same operation on one line. */
export function compactDocumentOf(question: Question): string {
  // Line breaks in strings are escaped, so each line break is white space.
  return documentOf(question)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join(' ')
}

/** Writes a GraphQL string literal: its escapes are those of JSON. */
export const graphqlString = (text: string): string => JSON.stringify(text)

const QUERY_FIELDS = ['interval', 'metric { unit }', 'meta { exact bucketsUnavailable durationMs }']
const LIVE_FIELDS = ['kind', 'dropBefore', 'at']

function seriesFields({ groupBy, top, compare }: Question): readonly string[] {
  const comparison = compare === '' ? [] : ['  comparison { label total timestamps values }']
  // The tags of the remainder are null. Only they tell it from a group whose label is the same.
  const tags = top?.other === true && groupBy.length > 0 ? ' tags' : ''
  return ['series {', `  id label${tags} aggregation total`, '  timestamps values', ...comparison, '}']
}

function argumentsOf(question: Question): readonly string[] {
  const { metric, aggregations, groupBy, filters, top, compare, range, interval, timezone } = question
  return [
    `metric: ${graphqlString(metric)}`,
    ...Object.entries(range).map(([name, value]) => `${name}: ${graphqlString(value)}`),
    `interval: ${graphqlString(interval)}`,
    `timezone: ${graphqlString(timezone)}`,
    ...(aggregations.length === 0 ? [] : [`aggregations: [${aggregations.join(', ')}]`]),
    ...(filters.length === 0 ? [] : ['where: [', ...filters.map((filter) => `  ${filterLiteral(filter)}`), ']']),
    ...(groupBy.length === 0 ? [] : [`groupBy: [${groupBy.map(graphqlString).join(', ')}]`]),
    ...(top === undefined || groupBy.length === 0 ? [] : [`top: ${topLiteral(top)}`]),
    ...(compare === '' ? [] : [`compare: ${compareLiteral(compare)}`]),
    'fill: NULL',
  ]
}

function filterLiteral({ key, operator, values }: Filter): string {
  const [first = ''] = values
  const value =
    operator === 'in' || operator === 'notIn'
      ? `[${values.map(graphqlString).join(', ')}]`
      : operator === 'exists'
        ? String(first !== 'false')
        : graphqlString(first)
  return `{ key: ${graphqlString(key)}, ${operator}: ${value} }`
}

function topLiteral({ n, by, direction, other }: Top): string {
  const parts = [`n: ${n}`]
  if (by !== '') parts.push(`by: ${by}`)
  if (direction === 'ASC') parts.push('direction: ASC')
  if (other) parts.push('other: true')
  return `{ ${parts.join(', ')} }`
}

function compareLiteral(compare: string): string {
  return compare === 'previous' ? '{ previousPeriod: true }' : `{ offset: ${graphqlString(compare)} }`
}
