import { GraphQLError, GraphQLID, type ValueNode } from 'graphql'
import type { CanonicalTags } from '../../model/series.ts'
import { formatInstant } from '../../model/time.ts'
import { builder } from '../builder.ts'
import { literalToJson } from './literal.ts'

/**
 * JSON-like scalars let any JSON in: a bad value of one item of a batch must be reported for that item, by the code that
 * serves REST, and not refuse the request.
 */
const anyJson = {
  parseValue: (value: unknown) => value,
  parseLiteral: literalToJson,
}

builder.scalarType('DateTime', {
  ...anyJson,
  description:
    'An instant. Answers are RFC 3339 in UTC, such as "2024-01-15T10:30:00Z". Input may also carry an offset (without one it is in UTC, in a query with `timezone` by the clock of that zone), be a UNIX time in s, ms, µs or ns (told apart by magnitude), or in a query be relative to now, such as "-6h".',
  specifiedByURL: 'https://www.rfc-editor.org/rfc/rfc3339',
  serialize: formatInstant,
})

builder.scalarType('MetricValue', {
  ...anyJson,
  description: 'A finite number; for a SET a string, the member. Example: 145.2 or "user-42".',
  serialize: (value) => value,
})

builder.scalarType('Tags', {
  ...anyJson,
  description:
    'A flat map of tag keys to values. Values are strings; numbers and booleans are taken as their text, null as absent. Example: {"endpoint": "/users", "status": "200"}.',
  serialize: tagsObject,
})

builder.scalarType('Properties', {
  ...anyJson,
  description:
    'A JSON object of any shape, at most 64 levels deep. Example: {"items": ["lamp", "desk"], "total": {"eur": 99.99}}.',
  serialize: (value) => value,
})

builder.scalarType('TagSelector', {
  ...anyJson,
  description:
    'Which series to read: a map of tag key to one value or a list of values, of which any may match. Keys are combined with AND; "" also matches a missing tag. Example: {"endpoint": ["/users", "/orders"], "region": "eu"}.',
})

builder.scalarType('Duration', {
  ...text('Duration'),
  description: 'A length of time: "90s", "15m", "1h30m", "7d", "2w", or ISO 8601 such as "PT6H".',
})

builder.scalarType('Interval', {
  ...text('Interval'),
  description:
    'The width of a bucket: "10s", "5m", "1h", "1d", "1w", "1mo", any multiple of the finest kept resolution, or "auto" for the finest that gives at most 300 buckets.',
})

builder.scalarType('TimeZone', {
  ...text('TimeZone'),
  description: 'An IANA time zone such as "Europe/Berlin", an offset such as "+02:00", or "UTC".',
})

/** Without a prototype, so that every key is ordinary. */
function tagsObject(tags: CanonicalTags): Record<string, string> {
  const object: Record<string, string> = Object.create(null)
  for (const [key, value] of tags) object[key] = value
  return object
}

function text(name: string) {
  const parseValue = (value: unknown): string => {
    if (typeof value === 'string') return value
    throw new GraphQLError(`${name} must be a string`)
  }
  return {
    serialize: (value: string) => value,
    parseValue,
    parseLiteral: (node: ValueNode) => parseValue(literalToJson(node)),
  }
}

/**
 * An id may be an integer, in variables a bigint where a double would lose digits. Set on the built-in type itself: the schema builder
 * takes no other scalar of that name.
 */
const parseId = GraphQLID.parseValue
GraphQLID.parseValue = (value) => parseId(typeof value === 'bigint' ? String(value) : value)
