/**
 * The state of the explorer: the chosen metric, aggregations, groups, filters and time range. It is stored in the
 * address of the page (`address.ts`) and converted to the GraphQL operation that the page runs (`document.ts`).
 */
export interface Question {
  /** Name of the metric; empty if none is chosen. */
  readonly metric: string
  /** GraphQL enum values such as `P95`. Empty: those of {@link defaultAggregations}. */
  readonly aggregations: readonly string[]
  readonly groupBy: readonly string[]
  readonly filters: readonly Filter[]
  readonly top: Top | undefined
  readonly compare: Compare
  readonly range: Range
  readonly interval: string
  readonly timezone: string
  readonly isLive: boolean
}

export interface Filter {
  readonly key: string
  readonly operator: Operator
  /** At least one value for `in` and `notIn`, exactly one for other operators; `true` or `false` for `exists`. */
  readonly values: readonly string[]
}

/** The operators of the GraphQL input `TagFilter`. */
export const OPERATORS = ['in', 'notIn', 'eq', 'neq', 'startsWith', 'glob', 'exists'] as const
export type Operator = (typeof OPERATORS)[number]

export interface Top {
  readonly n: number
  /** The aggregation to rank by; empty for the first one of the question. */
  readonly by: string
  readonly direction: 'DESC' | 'ASC'
  readonly other: boolean
}

/**
 * The earlier range to compare with: none, the range right before, or one that lies back by a duration such as `1w`.
 */
export type Compare = '' | 'previous' | (string & {})

export type Range = { readonly last: string } | { readonly from: string; readonly to: string }

export const RANGES = ['15m', '1h', '6h', '24h', '7d', '30d', '90d'] as const
export const INTERVALS = ['auto', '10s', '1m', '5m', '15m', '1h', '6h', '1d', '1w', '1mo'] as const
export const COMPARE_OFFSETS = ['1d', '1w', '1mo', '1y'] as const

/** A metric with the fields that the explorer selects. */
export interface MetricInfo {
  readonly name: string
  readonly type: string
  readonly unit: string | null
  readonly description: string | null
  readonly tagKeys: readonly string[]
  readonly aggregations: readonly string[]
  readonly seriesCount: number
  readonly dataPoints: number
  readonly lastSeen: string | null
}

export const DEFAULT_TOP: Top = { n: 5, by: '', direction: 'DESC', other: true }

/** Returns the question of an address without parameters. */
export function defaultQuestion(timezone: string): Question {
  return {
    metric: '',
    aggregations: [],
    groupBy: [],
    filters: [],
    top: undefined,
    compare: '',
    range: { last: '24h' },
    interval: 'auto',
    timezone,
    isLive: false,
  }
}

/** Returns the aggregations that a metric of this type shows by default. */
export function defaultAggregations(type: string): readonly string[] {
  switch (type) {
    case 'DISTRIBUTION':
      return ['P50', 'P95']
    case 'COUNTER':
    case 'HISTOGRAM':
      return ['SUM']
    case 'SET':
      return ['COUNT']
    default:
      return ['LAST']
  }
}

/** Replaces empty aggregations by the defaults of the metric's type. */
export function resolveQuestion(question: Question, { type }: Pick<MetricInfo, 'type'>): Question {
  return question.aggregations.length > 0 ? question : { ...question, aggregations: defaultAggregations(type) }
}

/**
 * Changes the metric. Keeps the settings of time; resets groups, filters and aggregations, which depend on the metric.
 */
export function chooseMetric({ range, interval, timezone, compare, isLive }: Question, metric: string): Question {
  return { ...defaultQuestion(timezone), metric, range, interval, compare, isLive }
}

/** Adds or removes an aggregation, and sorts all by `order`. The only aggregation of a question cannot be removed. */
export function toggleAggregation(question: Question, name: string, order: readonly string[]): Question {
  const chosen = toggle(question.aggregations, name)
  if (chosen.length === 0) return question
  const aggregations = order.filter((aggregation) => chosen.includes(aggregation))
  const { top } = question
  // If the ranking aggregation was removed, groups are ranked by the first aggregation.
  const keepsRank = top === undefined || top.by === '' || aggregations.includes(top.by)
  return { ...question, aggregations, top: keepsRank ? top : { ...top, by: '' } }
}

/** Adds or removes a tag key to group by. Adding the first key limits the result to five groups and the remainder. */
export function toggleGrouping(question: Question, key: string): Question {
  const groupBy = toggle(question.groupBy, key)
  if (groupBy.length === 0) return { ...question, groupBy, top: undefined }
  return { ...question, groupBy, top: question.groupBy.length === 0 ? DEFAULT_TOP : question.top }
}

export function setTop(question: Question, change: Partial<Top>): Question {
  return { ...question, top: { ...(question.top ?? DEFAULT_TOP), ...change } }
}

/** Adds a value to the values that the `in` filter of a tag accepts, or removes it. */
export function toggleFilterValue(question: Question, key: string, value: string): Question {
  const before = question.filters.find((filter) => filter.key === key && filter.operator === 'in')
  const others = question.filters.filter((filter) => filter !== before)
  const values = toggle(before?.values ?? [], value)
  return { ...question, filters: values.length === 0 ? others : [...others, { key, operator: 'in', values }] }
}

export function isFilteredTo({ filters }: Question, key: string, value: string): boolean {
  return filters.some((filter) => filter.key === key && filter.operator === 'in' && filter.values.includes(value))
}

/** Adds a filter. Values of `in` and `notIn` are added to an existing filter with the same key and operator. */
export function addFilter(question: Question, added: Filter): Question {
  const takesSeveral = added.operator === 'in' || added.operator === 'notIn'
  const existing = question.filters.find(({ key, operator }) => key === added.key && operator === added.operator)
  if (!takesSeveral || existing === undefined) return { ...question, filters: [...question.filters, added] }
  const values = [...new Set([...existing.values, ...added.values])]
  return {
    ...question,
    filters: question.filters.map((filter) => (filter === existing ? { ...filter, values } : filter)),
  }
}

export function removeFilter(question: Question, removed: Filter): Question {
  return { ...question, filters: question.filters.filter((filter) => filter !== removed) }
}

function toggle(list: readonly string[], item: string): readonly string[] {
  return list.includes(item) ? list.filter((other) => other !== item) : [...list, item]
}
