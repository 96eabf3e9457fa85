import { GatewayError, quote } from '../../model/errors.ts'
import type { CanonicalTags } from '../../model/series.ts'
import { countChars } from '../../model/text.ts'
import { compileGlob } from './glob.ts'

/** The accepted values of each tag. An empty value also accepts a missing tag. A series must match all tags. */
export type AcceptedTagValues = ReadonlyMap<string, readonly string[]>

/**
 * Conditions on one tag, as clients state them. All must hold. A missing tag has the empty text as its value. `exists`
 * says whether the value must be non-empty (true) or empty (false).
 */
export interface TagFilter {
  readonly key: string
  readonly eq?: string
  readonly neq?: string
  readonly in?: readonly string[]
  readonly notIn?: readonly string[]
  readonly startsWith?: string
  readonly glob?: string
  readonly exists?: boolean
}

/** Maximum number of values in `tags` and in all `in` and `notIn` of a query together. */
const QUERY_TAG_VALUES_MAX = 1_000
/** Maximum number of filters in `where`: each is evaluated for each series. */
export const QUERY_WHERE_MAX = 20
/**
 * Maximum number of characters in all globs of a query together: matching time is proportional to them, for each
 * series.
 */
const QUERY_GLOB_CHARS_MAX = 256

/** Returns whether a series with these tags matches. */
export type SeriesFilter = (tags: CanonicalTags) => boolean

interface Condition {
  readonly key: string
  readonly holds: (value: string) => boolean
}

/** Compiles all filters of a query to one function. Returns undefined if there are none. Throws `invalid_tags`. */
export function compileFilters(tags: AcceptedTagValues, where: readonly TagFilter[]): SeriesFilter | undefined {
  requireAtMost(where.length, QUERY_WHERE_MAX, 'filters')
  const conditions: Condition[] = []
  let valueCount = 0
  let globCharCount = 0
  for (const [key, acceptedValues] of tags) {
    const values = new Set(acceptedValues)
    valueCount += acceptedValues.length
    conditions.push({ key, holds: (value) => values.has(value) })
  }
  for (const filter of where) {
    const { key, eq, neq, startsWith, glob, exists } = filter
    const previousConditionCount = conditions.length
    const add = (holds: Condition['holds']): void => {
      conditions.push({ key, holds })
    }
    if (key === '') throw new GatewayError('invalid_tags', 'the key of a filter is empty')
    if (exists !== undefined) add((value) => (value !== '') === exists)
    if (eq !== undefined) add((value) => value === eq)
    if (neq !== undefined) add((value) => value !== neq)
    if (filter.in !== undefined) {
      const values = new Set(filter.in)
      valueCount += filter.in.length
      add((value) => values.has(value))
    }
    if (filter.notIn !== undefined) {
      const values = new Set(filter.notIn)
      valueCount += filter.notIn.length
      add((value) => !values.has(value))
    }
    if (startsWith !== undefined) add((value) => value.startsWith(startsWith))
    if (glob !== undefined) {
      globCharCount += countChars(glob)
      requireAtMost(globCharCount, QUERY_GLOB_CHARS_MAX, 'characters of globs')
      add(compileGlob(glob))
    }
    if (conditions.length === previousConditionCount) {
      throw new GatewayError('invalid_tags', `the filter on ${quote(key)} has no condition; it takes ${OPERATORS}`)
    }
  }
  requireAtMost(valueCount, QUERY_TAG_VALUES_MAX, 'tag values to filter by')
  if (conditions.length === 0) return undefined
  return (seriesTags) => conditions.every(({ key, holds }) => holds(tagValueOrEmpty(seriesTags, key)))
}

const OPERATORS = 'eq, neq, in, notIn, startsWith, glob or exists'

/** The value of a tag; the empty text if the tag is missing. */
export function tagValueOrEmpty(tags: CanonicalTags, key: string): string {
  for (const [name, value] of tags) if (name === key) return value
  return ''
}

function requireAtMost(count: number, max: number, noun: string): void {
  if (count <= max) return
  throw new GatewayError('invalid_tags', `${count} ${noun}, at most ${max} are allowed`, { details: { max } })
}
