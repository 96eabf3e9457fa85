import { GatewayError, shorten } from '../../model/errors.ts'
import { describeValue, scalarText } from '../../model/point.ts'
import type { AcceptedTagValues } from '../../query/plan/tag-filter.ts'
import { builder } from '../builder.ts'

export const TagFilterRef = builder.inputType('TagFilter', {
  description:
    'Conditions on one tag; all must match. A missing tag equals "": {key: "region", eq: ""} matches series without a region.',
  fields: (t) => ({
    key: t.string({ required: true, description: 'The tag key. Example: "endpoint".' }),
    eq: t.string({ description: 'Equal to this value. Example: "/users".' }),
    neq: t.string({
      description: 'Not equal to this value; a missing tag matches unless this is "". Example: "/health".',
    }),
    in: t.stringList({ description: 'One of these values. Example: ["/users", "/orders"].' }),
    notIn: t.stringList({ description: 'None of these values. Example: ["200", "204"].' }),
    startsWith: t.string({ description: 'Starts with this text. Example: "/api/".' }),
    glob: t.string({
      description:
        'The whole value matches this pattern: `*` is any text, `?` one character, a backslash escapes the next character. Example: "/users/*/orders".',
    }),
    exists: t.boolean({
      description: 'Whether the tag exists with a value other than "". Example: true.',
    }),
  }),
})

/** Reads a `TagSelector`. Throws `invalid_tags`, also for a value null, which could mean any value or none. */
export function parseTagSelector(selector: unknown): AcceptedTagValues {
  if (typeof selector !== 'object' || selector === null || Array.isArray(selector)) {
    throw new GatewayError('invalid_tags', `tags must be an object, not ${describeValue(selector)}`)
  }
  const filters = new Map<string, readonly string[]>()
  for (const [key, oneOrMoreValues] of Object.entries(selector)) {
    const values: readonly unknown[] = Array.isArray(oneOrMoreValues) ? oneOrMoreValues : [oneOrMoreValues]
    if (values.length === 0) {
      throw new GatewayError(
        'invalid_tags',
        `tags.${shorten(key)} must have at least one value; omit the key to match all`,
      )
    }
    filters.set(
      key,
      values.map((value) => {
        const text = scalarText(value)
        if (text !== undefined) return text
        throw new GatewayError(
          'invalid_tags',
          `tags.${shorten(key)} must be a string, number or boolean, not ${describeValue(value)}`,
        )
      }),
    )
  }
  return filters
}
