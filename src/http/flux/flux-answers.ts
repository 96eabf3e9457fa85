import { assert } from '../../model/errors.ts'
import { formatId } from '../../model/id.ts'
import { formatDuration, formatInstant } from '../../model/time.ts'
import type { AnswerGroup, QueryAnswer } from '../../query/compute/result.ts'
import { fillLine } from '../../query/compute/result.ts'
import type { MetricRow } from '../../store/store.ts'
import type { TrackedPoint } from '../../wire/flux.ts'

/**
 * Answers of the Flux dialect as JSON text. Query answers are written by hand: an object would put a group named `200`
 * before the others and lose one named `__proto__`.
 */

export function writeTrackedPoint({ name, type, value, timeMs }: TrackedPoint): string {
  return `{"data":{"name":${JSON.stringify(name)},"type":"${type}","value":${JSON.stringify(value)},"timestamp":"${formatInstant(timeMs)}"}}`
}

/** In parts of some `PART_CHARS`. */
export async function* writeMetrics(pages: AsyncIterable<readonly MetricRow[]>): AsyncGenerator<string> {
  let text = '{"data":['
  let separator = ''
  for await (const page of pages) {
    for (const metric of page) {
      text += separator + JSON.stringify(definitionOf(metric))
      separator = ','
      if (text.length < PART_CHARS) continue
      yield text
      text = ''
    }
  }
  yield `${text}]}`
}

const PART_CHARS = 65_536

export function writeMetric(metric: MetricRow): string {
  return JSON.stringify({ data: { ...definitionOf(metric), data_points: metric.points } })
}

function definitionOf({ name, type, tagKeys, firstSeenMs, lastSeenMs }: MetricRow) {
  return { name, type, tags: tagKeys, first_seen: instantOrNull(firstSeenMs), last_seen: instantOrNull(lastSeenMs) }
}

function instantOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : formatInstant(ms)
}

/** Widths of the stored buckets that were read, finest first: `10s,1m`. Empty when nothing was. */
export function resolutionsOf(answer: QueryAnswer): string {
  return answer.meta.resolutionsMs.map(formatDuration).join(',')
}

export function writeQueryAnswer(answer: QueryAnswer, grouping: 'none' | 'tags' | 'series'): string {
  // Groups share their buckets, and formatting an instant is most of the work.
  const rowStarts = Array.from(answer.startMs, (ms) => `{"timestamp":"${formatInstant(ms)}"`)
  if (grouping === 'none') {
    const [group] = answer.groups
    assert(group !== undefined && answer.groups.length === 1, 'a query without grouping has one group')
    const [aggregation] = answer.aggregations
    const spelt = answer.aggregations.length === 1 ? `"aggregation":${JSON.stringify(aggregation!.name)},` : ''
    const { metric, interval } = answer
    return `{"data":{"name":${JSON.stringify(metric.name)},${spelt}"interval":${JSON.stringify(interval)},"series":${writeRows(answer, group, rowStarts)}}}`
  }
  const keyOf = grouping === 'series' ? seriesKeyOf : tagsKeyOf
  const groups = answer.groups.map((group) => `${JSON.stringify(keyOf(group))}:${writeRows(answer, group, rowStarts)}`)
  const series = grouping === 'series' ? `,"series":{${answer.groups.map(writeSeries).join(',')}}` : ''
  return `{"data":{"groups":{${groups.join(',')}}}${series}}`
}

/** `[{"timestamp","value"}]`, or with several aggregations a field each. */
function writeRows(answer: QueryAnswer, group: AnswerGroup, rowStarts: readonly string[]): string {
  const { aggregations, fill } = answer
  const lines = aggregations.map(({ name }) => fillLine(group, name, fill))
  const fields = aggregations.length === 1 ? [',"value":'] : aggregations.map(({ name }) => `,${JSON.stringify(name)}:`)
  // The rows that are shown depend on the group alone: every line has the same.
  const buckets = lines[0]?.bucket ?? []
  let rows = ''
  for (let row = 0; row < buckets.length; row++) {
    rows += (row === 0 ? '' : ',') + rowStarts[buckets[row]!]!
    for (let line = 0; line < lines.length; line++) rows += `${fields[line]!}${lines[line]!.values[row]!}`
    rows += '}'
  }
  return `[${rows}]`
}

/** The values of the tags grouped by. Several are joined by commas; those inside a value are escaped, so no two groups meet. */
function tagsKeyOf({ tags }: AnswerGroup): string {
  if (tags.length === 1) return tags[0]![1]
  return tags.map(([, value]) => value.replaceAll(/[\\,]/g, '\\$&')).join(',')
}

function seriesKeyOf({ series }: AnswerGroup): string {
  assert(series !== undefined, 'groups of a query by series are series')
  return formatId(series.seriesId)
}

/** `"id":{tags}` */
function writeSeries(group: AnswerGroup): string {
  const tags = group.series?.tags.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`) ?? []
  return `${JSON.stringify(seriesKeyOf(group))}:{${tags.join(',')}}`
}
