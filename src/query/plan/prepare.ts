import { GatewayError } from '../../model/errors.ts'
import { fixedInterval, formatInterval, parseInterval } from '../../model/interval.ts'
import type { MetricType } from '../../model/metric.ts'
import { parseInstant, parseTimeArgument } from '../../model/parse-instant.ts'
import { describeValue } from '../../model/point.ts'
import { clampToInstantRange, DAY_MS, parseDuration, validInstant } from '../../model/time.ts'
import { instantOfReading, type TimeZone, timeZone, UTC_ZONE } from '../../model/zone-offsets.ts'
import {
  type Aggregation,
  appliesToType,
  defaultAggregation,
  invalidAggregationError,
  parseAggregation,
  quantileAggregation,
  requireAppliesToType,
} from '../aggregations.ts'
import {
  type Compare,
  type CompareInput,
  FILLS,
  type Fill,
  type QueryInput,
  type QueryRequest,
  type Top,
  type TopInput,
} from './request.ts'
import { compileFilters } from './tag-filter.ts'

/** Maximum number of aggregations in one query. Each is a column of the result. More are probably a mistake. */
const QUERY_AGGREGATIONS_MAX = 20
/** Maximum number of tag keys to group by. Each further key can multiply the number of groups. */
const QUERY_GROUP_BY_MAX = 8

const DEFAULT_RANGE_MS = DAY_MS

/** Validates a query of a metric of the given type. Throws a `GatewayError` for the first invalid argument. */
export function prepareQuery(input: QueryInput, type: MetricType, nowMs: number): QueryRequest {
  const interval = parseInterval(input.interval ?? 'auto')
  if (interval === undefined) {
    throw new GatewayError(
      'invalid_interval',
      `interval ${describeValue(input.interval)} is not an interval such as 10s, 5m, 1h, 1d, 1w or auto`,
    )
  }
  const zone = timeZone(input.timezone ?? 'UTC')
  if (zone === undefined) {
    throw new GatewayError('invalid_interval', `timezone ${describeValue(input.timezone)} is not an IANA time zone`, {
      details: { argument: 'timezone' },
    })
  }
  const { fromMs, toMs } = parseRange(input, nowMs, zone)
  const aggregations = parseAggregations(input, type)
  const optionalAggregations = (input.optionalAggregations ?? []).filter((aggregation) =>
    appliesToType(aggregation, type),
  )
  const computedAggregations = [
    ...new Map(
      [...aggregations, ...optionalAggregations].map((aggregation) => [aggregation.name, aggregation]),
    ).values(),
  ]
  requireAggregationsAtMost(computedAggregations.length)
  const groupBy = [...new Set(input.groupBy ?? [])]
  if (groupBy.length > QUERY_GROUP_BY_MAX) {
    throw new GatewayError(
      'invalid_group_by',
      `${groupBy.length} keys to group by, at most ${QUERY_GROUP_BY_MAX} are allowed`,
    )
  }
  if (groupBy.includes('')) throw new GatewayError('invalid_group_by', 'a key to group by is empty')
  const bySeries = input.bySeries ?? false
  if (bySeries && groupBy.length > 0)
    throw new GatewayError('invalid_group_by', 'a query cannot group by series and by tags')
  const top = input.top && parseTop(input.top, aggregations[0]!, type)
  const compare = input.compare && parseCompare(input.compare)
  const selectionKey = JSON.stringify([[...(input.tags ?? [])], input.where ?? [], groupBy, bySeries])
  const executionKey = JSON.stringify([fromMs, toMs, formatInterval(interval), zone.name, selectionKey, top, compare])
  return {
    fromMs,
    toMs,
    nowMs,
    interval,
    zone,
    aggregations,
    computedAggregations,
    filter: compileFilters(input.tags ?? new Map(), input.where ?? []),
    groupBy,
    bySeries,
    top,
    compare,
    fill: parseFill(input.fill),
    selectionKey,
    executionKey,
  }
}

/**
 * Reads the range of a query. Both ends are inclusive; by default it ends now and starts 24 h before its end. A date or
 * date-time without an offset or zone is local time in `zone`. Throws `invalid_range`.
 */
export function parseRange(
  input: Pick<QueryInput, 'from' | 'to' | 'last'>,
  nowMs: number,
  zone: TimeZone = UTC_ZONE,
): { readonly fromMs: number; readonly toMs: number } {
  const toMs = input.to === undefined || input.to === null ? nowMs : parseRangeBound('to', input.to, nowMs, zone)
  if (input.last !== undefined && input.last !== null) {
    if (input.from !== undefined && input.from !== null)
      throw new GatewayError('invalid_range', 'from and last cannot be combined')
    const lengthMs = parseDuration(input.last)
    if (lengthMs === undefined || lengthMs <= 0) {
      throw new GatewayError('invalid_range', `last ${describeValue(input.last)} is not a length such as 30m, 6h or 7d`)
    }
    const fromMs = validInstant(toMs - lengthMs)
    if (fromMs !== undefined) return { fromMs, toMs }
    throw new GatewayError('invalid_range', `last ${describeValue(input.last)} begins before the year 1`)
  }
  const fromMs =
    input.from === undefined || input.from === null
      ? clampToInstantRange(toMs - DEFAULT_RANGE_MS)
      : parseRangeBound('from', input.from, nowMs, zone)
  if (fromMs > toMs) throw new GatewayError('invalid_range', 'from is after to')
  return { fromMs, toMs }
}

function parseRangeBound(argument: string, value: unknown, nowMs: number, zone: TimeZone): number {
  const instantOfLocalTime = (readingMs: number): number => instantOfReading(zone, readingMs)
  const timeMs = typeof value === 'string' ? parseTimeArgument(value, nowMs, instantOfLocalTime) : parseInstant(value)
  if (timeMs === undefined) {
    throw new GatewayError(
      'invalid_range',
      `${argument} ${describeValue(value)} is not a date-time, UNIX time or relative time such as -6h`,
      { details: { argument } },
    )
  }
  return timeMs
}

function parseAggregations(input: QueryInput, type: MetricType): readonly Aggregation[] {
  const names = input.aggregations ?? []
  const quantiles = input.quantiles ?? []
  requireAggregationsAtMost(names.length + quantiles.length)
  const requested = names.map((name) => {
    const aggregation = parseAggregation(name)
    if (aggregation === undefined) throw invalidAggregationError(name, type)
    return aggregation
  })
  for (const q of quantiles) {
    if (!(q >= 0 && q <= 1))
      throw new GatewayError('invalid_aggregation', `quantile ${describeValue(q)} is not between 0 and 1`)
    requested.push(quantileAggregation(q))
  }
  for (const aggregation of requested) requireAppliesToType(aggregation, type)
  if (requested.length === 0) return [defaultAggregation(type)]
  return [...new Map(requested.map((aggregation) => [aggregation.name, aggregation])).values()]
}

function requireAggregationsAtMost(count: number): void {
  if (count <= QUERY_AGGREGATIONS_MAX) return
  throw new GatewayError('query_too_large', `${count} aggregations, at most ${QUERY_AGGREGATIONS_MAX} are allowed`)
}

function parseTop({ n, by, direction, other }: TopInput, defaultRanking: Aggregation, type: MetricType): Top {
  if (!(Number.isInteger(n) && n >= 1)) {
    throw new GatewayError('invalid_group_by', `top.n must be a whole number from 1, not ${describeValue(n)}`, {
      details: { argument: 'top' },
    })
  }
  const ranking = by === undefined ? defaultRanking : parseAggregation(by)
  if (ranking === undefined) throw invalidAggregationError(by ?? '', type)
  requireAppliesToType(ranking, type)
  return { n, by: ranking, isAscending: direction === 'asc', withRemainder: other ?? false }
}

/** Reads the argument `compare`. Undefined if the query has no comparison. Throws `invalid_range`. */
function parseCompare({ previousPeriod, offset }: CompareInput): Compare | undefined {
  if (offset === undefined) return previousPeriod === true ? 'previousPeriod' : undefined
  // A text with mixed units such as 1d12h is a fixed length of time.
  const offsetInterval = parseInterval(offset) ?? fixedInterval(parseDuration(offset) ?? 0)
  if (offsetInterval !== undefined && offsetInterval.kind !== 'auto') return offsetInterval
  throw new GatewayError(
    'invalid_range',
    `compare.offset ${describeValue(offset)} is neither a length of time such as 6h nor calendar units such as 1d, 1w or 1mo`,
    { details: { argument: 'compare' } },
  )
}

function parseFill(fill: string | undefined): Fill {
  const validFill = FILLS.find((name) => name === (fill ?? 'none'))
  if (validFill === undefined) {
    throw new GatewayError('invalid_range', `fill ${describeValue(fill)} is not one of ${FILLS.join(', ')}`, {
      details: { argument: 'fill' },
    })
  }
  return validFill
}
