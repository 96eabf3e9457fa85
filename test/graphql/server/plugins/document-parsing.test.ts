import { parse } from 'graphql'
import { expect, test } from 'vitest'
import { parseDocument } from '../../../../src/graphql/server/plugins/document-parsing.ts'
import { DEFAULT_GRAPHQL_LIMITS } from '../../../support/default-limits.ts'

test('a document within the limits is parsed as graphql-js parses it', () => {
  const source =
    'query ($q: [Float!] = [0.5]) { a: query(metric: "m", quantiles: $q) { ...F } } fragment F on QueryResult { interval }'
  expect(parseDocument(source, DEFAULT_GRAPHQL_LIMITS)).toEqual(parse(source))
})
