import type { MetricFilter } from '../../gateway.ts'
import { GatewayError } from '../../model/errors.ts'
import { isMetricType, METRIC_TYPES, validateListCursor } from '../../model/metric.ts'
import { describeValue } from '../../model/point.ts'
import type { EventQueryInput } from '../../query/events.ts'
import type { QueryInput } from '../../query/plan/request.ts'

/**
 * Parses query strings of the Flux API, which are encoded like forms (`+` is a space). The syntax is checked here, and
 * the values of metric lists; the gateway validates the values of queries, as for every API. Unknown parameters are
 * ignored, and so are empty ones, except tag filters: `tags[key]=` filters by the empty value. If a parameter with a
 * single value is repeated, the last value that is not empty is used.
 */

/** Maximum number of parameters. A real query has far fewer. */
const QUERY_PARAMETERS_MAX = 1_000

export function parseMetricQuery(metric: string, url: string): QueryInput {
  const parameters = readParameters(url)
  const groupBy = parseGroupBy(listParameter(parameters, 'group_by'))
  const aggregations = listParameter(parameters, 'aggregation')
  return {
    metric,
    from: lastParameter(parameters, 'from'),
    to: lastParameter(parameters, 'to'),
    ...fieldIfDefined('interval', lastParameter(parameters, 'interval')),
    ...fieldIfDefined('fill', lastParameter(parameters, 'fill')),
    // Form decoding has turned the plus sign of `Etc/GMT+5` into a space. No zone name has a space, so each space is
    // read as a plus sign.
    ...fieldIfDefined('timezone', lastParameter(parameters, 'timezone')?.replaceAll(' ', '+')),
    ...fieldIfDefined('aggregations', aggregations),
    ...fieldIfDefined('tags', parseTags(parameters)),
    ...groupBy,
  }
}

/** Returns the parameter `format`; the caller validates it. Undefined if it is absent or empty: `Accept` decides. */
export function parseFormat(url: string): string | undefined {
  return lastParameter(readParameters(url), 'format')
}

export function parseMetricFilter(url: string): MetricFilter {
  const parameters = readParameters(url)
  const type = lastParameter(parameters, 'type')
  if (type !== undefined && !isMetricType(type)) {
    throw new GatewayError('invalid_type', `type must be one of ${METRIC_TYPES.join(', ')}, not ${describeValue(type)}`)
  }
  const after = lastParameter(parameters, 'after')
  return {
    ...fieldIfDefined('search', lastParameter(parameters, 'search')),
    ...fieldIfDefined('after', after === undefined ? undefined : validateListCursor(after)),
    ...fieldIfDefined('limit', parseLimit(lastParameter(parameters, 'limit'))),
    ...fieldIfDefined('type', type),
  }
}

export function parseEventQuery(url: string): EventQueryInput {
  const parameters = readParameters(url)
  return {
    from: lastParameter(parameters, 'from'),
    to: lastParameter(parameters, 'to'),
    ...fieldIfDefined('name', lastParameter(parameters, 'name')),
    ...fieldIfDefined('tags', parseTags(parameters)),
    ...fieldIfDefined('limit', parseLimit(lastParameter(parameters, 'limit'))),
    ...fieldIfDefined('after', lastParameter(parameters, 'after')),
  }
}

function parseLimit(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9]\d{0,8}$/.test(text)) {
    throw new GatewayError('invalid_value', `limit must be a whole number of at least 1, not ${describeValue(text)}`)
  }
  return Number(text)
}

/** Parses the terms of `group_by`: `tags.a,tags.b`, or `series` alone. */
function parseGroupBy(terms: readonly string[] | undefined): Pick<QueryInput, 'groupBy' | 'bySeries'> {
  if (terms === undefined) return {}
  if (terms.length === 1 && terms[0] === 'series') return { bySeries: true }
  const groupBy: string[] = []
  for (const term of terms) {
    if (!term.startsWith('tags.') || term === 'tags.') {
      throw new GatewayError(
        'invalid_group_by',
        `group_by must be tags.KEY (several separated by commas) or series, not ${describeValue(term)}`,
      )
    }
    groupBy.push(term.slice('tags.'.length))
  }
  return { groupBy }
}

/** Parses `tags[key]=value`. If a key is repeated, any of its values matches. */
function parseTags(parameters: QueryParameters): ReadonlyMap<string, readonly string[]> | undefined {
  let tags: Map<string, string[]> | undefined
  for (const [name, value] of parameters) {
    if (name !== 'tags' && !name.startsWith('tags[')) continue
    const key = name.endsWith(']') ? name.slice('tags['.length, -1) : ''
    // Some clients write a list as `tags[a][]`. The key would then be `a][`, so such parameters are rejected.
    if (key === '' || key.includes('][')) {
      throw new GatewayError(
        'invalid_tags',
        `a tag filter must have the form tags[KEY]=VALUE, not ${describeValue(name)}`,
      )
    }
    tags ??= new Map()
    const values = tags.get(key)
    if (values === undefined) tags.set(key, [value])
    else values.push(value)
  }
  return tags
}

type QueryParameters = readonly (readonly [name: string, value: string])[]

function readParameters(url: string): QueryParameters {
  const start = url.indexOf('?')
  if (start < 0) return []
  const parameters = [...new URLSearchParams(url.slice(start + 1))]
  if (parameters.length > QUERY_PARAMETERS_MAX) {
    throw new GatewayError(
      'query_too_large',
      `the query string has ${parameters.length} parameters; at most ${QUERY_PARAMETERS_MAX} are allowed`,
    )
  }
  return parameters
}

/** Returns the last value of a parameter that is not the empty text. Undefined: no such value. */
function lastParameter(parameters: QueryParameters, name: string): string | undefined {
  return parameters.findLast((parameter) => parameter[0] === name && parameter[1] !== '')?.[1]
}

/**
 * Returns the comma-separated terms of all values of a parameter in their order, without duplicates. Undefined: all
 * values are empty or absent.
 */
function listParameter(parameters: QueryParameters, name: string): readonly string[] | undefined {
  const texts = parameters.filter((parameter) => parameter[0] === name && parameter[1] !== '')
  if (texts.length === 0) return undefined
  return [...new Set(texts.flatMap(([, text]) => text.split(',').map((term) => term.trim())))]
}

function fieldIfDefined<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  if (value === undefined) return {}
  const fields: { [P in K]?: V } = {}
  fields[key] = value
  return fields
}
