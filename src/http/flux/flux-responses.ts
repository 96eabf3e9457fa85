import { assert } from '../../model/errors.ts'
import { EVENT_TEXT_FIELDS, type Event } from '../../model/event.ts'
import { formatId } from '../../model/id.ts'
import { writeJson } from '../../model/json.ts'
import type { CanonicalTags } from '../../model/series.ts'
import { StepBudget, type Steps } from '../../model/steps.ts'
import { formatDuration, formatInstant } from '../../model/time.ts'
import type { QueryResult, ResultGroup } from '../../query/compute/result.ts'
import { fillLine } from '../../query/compute/result.ts'
import type { EventPage } from '../../query/events.ts'
import type { MetricRow } from '../../store/catalog.ts'
import type { StoredPoint } from '../../wire/flux-point.ts'

/**
 * Writes the response bodies of the Flux API, as JSON text. The groups of a query result are not put into an object: it
 * would move a group named `200` to the front, and an assignment to its key `__proto__` would add no group.
 */

export function writeStoredPoint({ nameJson, typeJson, value, timeMs }: StoredPoint): string {
  const valueJson = typeof value === 'number' ? value : JSON.stringify(value)
  return `{"data":{"name":${nameJson},"type":${typeJson},"value":${valueJson},"timestamp":"${formatInstant(timeMs)}"}}`
}

/** Writes `data`, the counts of accepted and rejected items, and `errors` only if items were rejected. */
export function writeBatchResult(data: object, errors: readonly object[]): string {
  return JSON.stringify(errors.length === 0 ? { data } : { data, errors })
}

/** Writes a list of metrics, in chunks of at least `CHUNK_CHARS_MIN` characters; the last may be shorter. */
export async function* writeMetrics(pages: AsyncIterable<readonly MetricRow[]>): AsyncGenerator<string> {
  let text = '{"data":['
  let separator = ''
  for await (const page of pages) {
    for (const metric of page) {
      text += separator + JSON.stringify(metricFields(metric))
      separator = ','
      if (text.length < CHUNK_CHARS_MIN) continue
      yield text
      text = ''
    }
  }
  yield `${text}]}`
}

const CHUNK_CHARS_MIN = 65_536

export function writeMetric(metric: MetricRow): string {
  return JSON.stringify({ data: { ...metricFields(metric), data_points: metric.points } })
}

function metricFields({ name, type, tagKeys, firstSeenMs, lastSeenMs }: MetricRow) {
  return { name, type, tags: tagKeys, first_seen: instantOrNull(firstSeenMs), last_seen: instantOrNull(lastSeenMs) }
}

function instantOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : formatInstant(ms)
}

/** Writes the widths of the stored buckets that the plan reads, finest first: `10s,1m`. Empty if it reads none. */
export function formatResolutions(result: QueryResult): string {
  return result.meta.resolutionsMs.map(formatDuration).join(',')
}

/** Units of work (`StepBudget`) of a value of a query result: it takes about 100 nanoseconds. */
const VALUE_STEP_UNITS = 64

export function* writeQueryResult(result: QueryResult, grouping: 'none' | 'tags' | 'series'): Steps<string> {
  // The end of the object before a bucket and the beginning of the object of the bucket, with the name of the first
  // value. They are written once for all groups, because formatting instants is most of the work.
  const rowStarts: string[] = []
  const budget = new StepBudget()
  const firstField = result.aggregations.length === 1 ? 'value' : result.aggregations[0]!.name
  const afterInstant = `",${JSON.stringify(firstField)}:`
  for (let bucket = 0; bucket < result.startMs.length; bucket++) {
    rowStarts.push(`},{"timestamp":"${formatInstant(result.startMs[bucket]!)}${afterInstant}`)
    if (budget.spend(VALUE_STEP_UNITS)) yield
  }
  if (grouping === 'none') {
    const [group] = result.groups
    assert(group !== undefined && result.groups.length === 1, 'a query without grouping has one group')
    const [aggregation] = result.aggregations
    const aggregationField =
      result.aggregations.length === 1 ? `"aggregation":${JSON.stringify(aggregation!.name)},` : ''
    const { metric, interval } = result
    const rows = yield* writeRows(result, group, rowStarts, budget)
    return `{"data":{"name":${JSON.stringify(metric.name)},${aggregationField}"interval":${JSON.stringify(interval)},"series":${rows}}}`
  }
  const keyOf = grouping === 'series' ? groupKeyOfSeries : groupKeyOfTags
  let groups = ''
  let series = ''
  let separator = ''
  for (const group of result.groups) {
    groups += `${separator}${JSON.stringify(keyOf(group))}:${yield* writeRows(result, group, rowStarts, budget)}`
    if (grouping === 'series') series += separator + writeSeries(group)
    separator = ','
  }
  return `{"data":{"groups":{${groups}}}${grouping === 'series' ? `,"series":{${series}}` : ''}}`
}

/**
 * Writes the buckets of a group: `[{"timestamp","value"}]`. With several aggregations, each object has a field with the
 * name of each aggregation instead of `value`.
 */
function* writeRows(
  result: QueryResult,
  group: ResultGroup,
  rowStarts: readonly string[],
  budget: StepBudget,
): Steps<string> {
  const { aggregations, fill } = result
  const lines = aggregations.map(({ name }) => fillLine(group, name, fill))
  const laterFields = aggregations.map(({ name }) => `,${JSON.stringify(name)}:`)
  // The group decides which buckets are shown, not the aggregation. All lines of a group show the same ones.
  const { bucketIndexes, values } = lines[0]!
  if (bucketIndexes.length === 0) return '[]'
  let rows = ''
  for (let row = 0; row < bucketIndexes.length; row++) {
    const rowStart = rowStarts[bucketIndexes[row]!]!
    rows += `${row === 0 ? rowStart.slice('},'.length) : rowStart}${values[row]!}`
    for (let line = 1; line < lines.length; line++) rows += `${laterFields[line]!}${lines[line]!.values[row]!}`
    if (budget.spend(VALUE_STEP_UNITS * lines.length)) yield
  }
  return `[${rows}}]`
}

/**
 * Returns the key of a group in the response: the values of the `group_by` tags, joined by commas. With several tags,
 * commas and backslashes in a value are escaped, so that keys are unique.
 */
function groupKeyOfTags({ tags }: ResultGroup): string {
  if (tags.length === 1) return tags[0]![1]
  return tags.map(([, value]) => value.replaceAll(/[\\,]/g, '\\$&')).join(',')
}

/** Returns the key of a group with a single series: the id of the series. */
function groupKeyOfSeries({ series }: ResultGroup): string {
  assert(series !== undefined, 'groups by series have a series')
  return formatId(series.seriesId)
}

/** Writes `"SERIES_ID":{tags}`. */
function writeSeries(group: ResultGroup): string {
  return `${JSON.stringify(groupKeyOfSeries(group))}:${writeTags(group.series?.tags ?? [])}`
}

export function writeTrackedEvent({ id, name, timeMs, user_id, value }: Event): string {
  return JSON.stringify({ data: { id, name, timestamp: formatInstant(timeMs), user_id, value } })
}

/** Writes a page of events. The field `next` is present if another page may follow. */
export function writeEvents({ events, nextCursor }: EventPage): string {
  const nextField = nextCursor === undefined ? '' : `,"next":${JSON.stringify(nextCursor)}`
  return `{"data":[${events.map(writeEvent).join(',')}]${nextField}}`
}

function writeEvent(event: Event): string {
  const { id, name, timeMs, value, tags, properties } = event
  const texts = EVENT_TEXT_FIELDS.map((field) => `,"${field}":${JSON.stringify(event[field])}`).join('')
  return `{"id":"${id}","name":${JSON.stringify(name)},"timestamp":"${formatInstant(timeMs)}","value":${value},"tags":${writeTags(tags)},"properties":${writeJson(properties)}${texts}}`
}

/** Writes tags as a JSON object. A JavaScript object would move a tag key such as `200` to the front. */
function writeTags(tags: CanonicalTags): string {
  return `{${tags.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`
}
