import {
  defaultQuestion,
  type Filter,
  OPERATORS,
  type Operator,
  type Question,
  type Range,
  type Top,
} from './question.ts'

/**
 * Converts a question to the query string of an address and back: `?metric=orders&show=SUM&by=payment&last=7d`. A
 * filter is `OPERATOR.KEY=VALUE`, repeated for several values. Invariant: for each question that the explorer can
 * build, parsing the formatted address gives the same question.
 */

const LIST_SEPARATOR = ','

export function formatAddress(question: Question): string {
  const { metric, aggregations, groupBy, filters, top, compare, range, interval, timezone, isLive } = question
  const params = new URLSearchParams()
  if (metric !== '') params.set('metric', metric)
  if (aggregations.length > 0) params.set('show', aggregations.join(LIST_SEPARATOR))
  for (const key of groupBy) params.append('by', key)
  for (const { key, operator, values } of filters) {
    for (const value of values) params.append(`${operator}.${key}`, value)
  }
  if (top !== undefined) {
    params.set('top', String(top.n))
    if (top.by !== '') params.set('rank', top.by)
    if (top.direction === 'ASC') params.set('order', 'asc')
    if (top.other) params.set('other', '1')
  }
  if (compare !== '') params.set('compare', compare)
  for (const [name, value] of Object.entries(range)) params.set(name, value)
  if (interval !== 'auto') params.set('interval', interval)
  params.set('zone', timezone)
  if (isLive) params.set('live', '1')
  // These characters need no encoding in a query string, and tag values are often paths.
  return `?${params.toString().replaceAll('%2F', '/').replaceAll('%2C', ',').replaceAll('%3A', ':')}`
}

/**
 * Parses an address. A part that is absent or cannot be parsed takes its default; for the time zone, this is
 * `timezone`. Names, intervals, durations and zones are not validated: the gateway does that.
 */
export function parseAddress(search: string, timezone: string): Question {
  const params = new URLSearchParams(search)
  const text = (name: string): string => params.get(name) ?? ''
  return {
    metric: text('metric'),
    aggregations: text('show').split(LIST_SEPARATOR).filter(isEnumName),
    groupBy: [...new Set(params.getAll('by'))],
    filters: filtersOf(params),
    top: topOf(params),
    compare: text('compare'),
    range: rangeOf(params) ?? defaultQuestion(timezone).range,
    interval: text('interval') || 'auto',
    timezone: text('zone') || timezone,
    isLive: text('live') === '1',
  }
}

/**
 * Whether a text is a GraphQL name in upper case. Aggregations are enum values, which a document contains without
 * quotes, so any other text could change the document.
 */
function isEnumName(text: string): boolean {
  return /^[A-Z][A-Z0-9_]*$/.test(text)
}

function filtersOf(params: URLSearchParams): readonly Filter[] {
  const filters: Filter[] = []
  for (const [name, value] of params) {
    const dot = name.indexOf('.')
    const operator = OPERATORS.find((known): known is Operator => known === name.slice(0, dot))
    const key = name.slice(dot + 1)
    if (dot < 0 || operator === undefined || key === '') continue
    const takesSeveral = operator === 'in' || operator === 'notIn'
    const index = filters.findIndex((filter) => filter.key === key && filter.operator === operator)
    const existing = takesSeveral ? filters[index] : undefined
    if (existing === undefined) filters.push({ key, operator, values: [value] })
    else filters[index] = { ...existing, values: [...new Set([...existing.values, value])] }
  }
  return filters
}

function topOf(params: URLSearchParams): Top | undefined {
  const n = Number(params.get('top'))
  if (!Number.isInteger(n) || n < 1) return undefined
  const by = params.get('rank') ?? ''
  const direction = params.get('order') === 'asc' ? 'ASC' : 'DESC'
  return { n, by: isEnumName(by) ? by : '', direction, other: params.get('other') === '1' }
}

function rangeOf(params: URLSearchParams): Range | undefined {
  const [last, from, to] = ['last', 'from', 'to'].map((name) => params.get(name) ?? '')
  if (from && to) return { from, to }
  return last ? { last } : undefined
}
