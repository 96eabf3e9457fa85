import { GraphQLError, GraphQLID, type ValueNode } from 'graphql'
import type { CanonicalTags } from '../../model/series.ts'
import { formatInstant } from '../../model/time.ts'
import { builder } from '../builder.ts'
import { literalToJson } from './literal.ts'

/**
 * Scalars such as `Tags` accept any JSON. Resolvers validate it with the code that serves REST, so that a bad value
 * rejects one item of a batch and not the whole request.
 */
const anyJson = {
  parseValue: (value: unknown) => value,
  parseLiteral: literalToJson,
}

builder.scalarType('DateTime', {
  ...anyJson,
  description:
    'A point in time. Output is RFC 3339 in UTC, such as "2024-01-15T10:30:00Z". Input may be RFC 3339, by default in UTC or the `timezone` of the query; a UNIX time in s, ms, µs or ns, recognised by magnitude; or, in queries, relative to now, such as "-6h".',
  specifiedByURL: 'https://www.rfc-editor.org/rfc/rfc3339',
  serialize: formatInstant,
})

builder.scalarType('MetricValue', {
  ...anyJson,
  description: 'A finite number, or a string (the member) for a SET. Example: 145.2 or "user-42".',
  serialize: (value) => value,
})

builder.scalarType('Tags', {
  ...anyJson,
  description:
    'A flat map of tag keys to strings. Numbers and booleans become text, null counts as absent. Example: {"endpoint": "/users", "status": "200"}.',
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
    'A filter: a map of tag keys to one value or a list of alternatives. All keys must match; "" also matches a missing tag. Example: {"endpoint": ["/users", "/orders"], "region": "eu"}.',
})

builder.scalarType('Duration', {
  ...textScalar('Duration'),
  description: 'A duration: "90s", "15m", "1h30m", "7d", "2w", or ISO 8601 such as "PT6H".',
})

builder.scalarType('Interval', {
  ...textScalar('Interval'),
  description:
    'The width of a bucket: "10s", "5m", "1h", "1d", "1w", "1mo", or any multiple of the base resolution; "auto" chooses the finest that gives at most 300 buckets.',
})

builder.scalarType('TimeZone', {
  ...textScalar('TimeZone'),
  description: 'An IANA time zone such as "Europe/Berlin", an offset such as "+02:00", or "UTC".',
})

/** Converts tags to an object. It has no prototype, so a key such as `__proto__` is an ordinary key. */
function tagsObject(tags: CanonicalTags): Record<string, string> {
  const object: Record<string, string> = Object.create(null)
  for (const [key, value] of tags) object[key] = value
  return object
}

function textScalar(name: string) {
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
 * An id may be an integer; in variables it is a bigint when a double would lose digits. This patches the parser of the
 * built-in type, because the schema builder accepts no other scalar named `ID`.
 */
const parseId = GraphQLID.parseValue
GraphQLID.parseValue = (value) => parseId(typeof value === 'bigint' ? String(value) : value)
