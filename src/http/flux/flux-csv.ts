import { EVENT_TEXT_FIELDS } from '../../model/event.ts'
import { writeJson } from '../../model/json.ts'
import { StepBudget, type Steps } from '../../model/steps.ts'
import { formatInstant } from '../../model/time.ts'
import { fillLine, type QueryResult, type ResultGroup } from '../../query/compute/result.ts'
import type { EventPage } from '../../query/events.ts'
import { csvNumber, csvRow, csvText } from '../response/csv.ts'

/** Writes the response bodies of the Flux API (the REST API under `/api/v1`) as CSV. */

/** Units of work (`StepBudget`) of a value of a query result: it takes about 100 nanoseconds. */
const VALUE_STEP_UNITS = 64

/**
 * Writes a column for each group and aggregation, and a row for each bucket that at least one column shows. A cell
 * without a value is empty.
 */
export function* writeQueryCsv(result: QueryResult): Steps<string> {
  const { aggregations, groups, fill, startMs } = result
  const budget = new StepBudget()
  const columns: { readonly title: string; readonly cells: ReadonlyMap<number, number | null> }[] = []
  const isBucketShown = new Uint8Array(startMs.length)
  for (const group of groups) {
    for (const { name } of aggregations) {
      const cells = new Map<number, number | null>()
      const line = fillLine(group, name, fill)
      for (const [lineIndex, bucketIndex] of line.bucketIndexes.entries()) {
        cells.set(bucketIndex, line.values[lineIndex] ?? null)
        isBucketShown[bucketIndex] = 1
      }
      columns.push({ title: columnTitleOf(group, name, aggregations.length), cells })
      if (budget.spend(VALUE_STEP_UNITS * line.values.length)) yield
    }
  }
  let csv = csvRow(['timestamp', ...columns.map(({ title }) => csvText(title))])
  for (const [bucketIndex, bucketStartMs] of startMs.entries()) {
    if (isBucketShown[bucketIndex] === 0) continue
    csv += csvRow([
      formatInstant(bucketStartMs),
      ...columns.map(({ cells }) => csvNumber(cells.get(bucketIndex) ?? null)),
    ])
    if (budget.spend(VALUE_STEP_UNITS * columns.length)) yield
  }
  return csv
}

/** Returns a column title: `p95` without groups, `host=a` with a single aggregation, otherwise `host=a p95`. */
function columnTitleOf({ tags }: ResultGroup, aggregation: string, aggregationCount: number): string {
  const group = tags.map(([key, value]) => `${key}=${value}`).join(', ')
  if (group === '') return aggregation
  return aggregationCount === 1 ? group : `${group} ${aggregation}`
}

/** Writes a row for each event. Tags and properties are JSON texts; the cell of absent properties is empty. */
export function writeEventsCsv({ events }: EventPage): string {
  let csv = csvRow(['timestamp', 'name', 'value', 'tags', 'properties', ...EVENT_TEXT_FIELDS, 'id'])
  for (const event of events) {
    const { id, name, timeMs, value, tags, properties } = event
    csv += csvRow([
      formatInstant(timeMs),
      csvText(name),
      csvNumber(value),
      csvText(`{${tags.map(([key, tag]) => `${JSON.stringify(key)}:${JSON.stringify(tag)}`).join(',')}}`),
      csvText(properties === null ? '' : writeJson(properties)),
      ...EVENT_TEXT_FIELDS.map((field) => csvText(event[field] ?? '')),
      id,
    ])
  }
  return csv
}
