import { GatewayError, shorten } from '../../model/errors.ts'
import { describe, scalarText } from '../../model/point.ts'
import type { TagFilter, TagFilters } from '../../query/plan/tag-filter.ts'
import { builder } from '../builder.ts'

export const TagFilterRef = builder.inputType('TagFilter', {
  description:
    'A condition on one tag; of several given at once all must hold. A missing tag counts as the empty text: {key: "region", eq: ""} finds series without a region.',
  fields: (t) => ({
    key: t.string({ required: true, description: 'The tag key. Example: "endpoint".' }),
    eq: t.string({ description: 'The value is this. Example: "/users".' }),
    neq: t.string({
      description: 'The value is not this; a missing tag passes unless this is "". Example: "/health".',
    }),
    in: t.stringList({ description: 'The value is one of these. Example: ["/users", "/orders"].' }),
    notIn: t.stringList({ description: 'The value is none of these. Example: ["200", "204"].' }),
    startsWith: t.string({ description: 'The value begins with this. Example: "/api/".' }),
    glob: t.string({
      description:
        'The whole value fits this pattern: `*` is any text, `?` one character, a backslash takes the next character as it is. Example: "/users/*/orders".',
    }),
    exists: t.boolean({
      description: 'Whether the series has the tag at all, with a value that is not "". Example: true.',
    }),
  }),
})

type TagFilterInput = typeof TagFilterRef.$inferInput

/** Null means absent, as everywhere in GraphQL. */
export function readTagFilter(filter: TagFilterInput): TagFilter {
  return {
    key: filter.key,
    ...(filter.eq != null && { eq: filter.eq }),
    ...(filter.neq != null && { neq: filter.neq }),
    ...(filter.in != null && { in: filter.in }),
    ...(filter.notIn != null && { notIn: filter.notIn }),
    ...(filter.startsWith != null && { startsWith: filter.startsWith }),
    ...(filter.glob != null && { glob: filter.glob }),
    ...(filter.exists != null && { exists: filter.exists }),
  }
}

/** Throws `invalid_tags`. Null is refused: it could mean any value or none. */
export function readTagSelector(selector: unknown): TagFilters {
  if (typeof selector !== 'object' || selector === null || Array.isArray(selector)) {
    throw new GatewayError('invalid_tags', `tags must be an object of tag keys, not ${describe(selector)}`)
  }
  const filters = new Map<string, readonly string[]>()
  for (const [key, wanted] of Object.entries(selector)) {
    const values: readonly unknown[] = Array.isArray(wanted) ? wanted : [wanted]
    if (values.length === 0) {
      throw new GatewayError('invalid_tags', `tags.${shorten(key)} lists no value; leave the key out to match all`)
    }
    filters.set(
      key,
      values.map((value) => {
        const text = scalarText(value)
        if (text !== undefined) return text
        throw new GatewayError(
          'invalid_tags',
          `tags.${shorten(key)} must be a string, number or boolean, not ${describe(value)}`,
        )
      }),
    )
  }
  return filters
}
