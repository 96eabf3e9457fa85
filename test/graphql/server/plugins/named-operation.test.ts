import { execute, parse } from 'graphql'
import { createSchema } from 'graphql-yoga'
import { expect, test } from 'vitest'
import type { GraphQLContext } from '../../../../src/graphql/context.ts'
import { useNamedOperation } from '../../../../src/graphql/server/plugins/named-operation.ts'
import { createOperationEngine, isAsyncIterable } from '../../../../src/graphql/server/yoga.ts'

const schema = createSchema({ typeDefs: 'type Query { now: Int }', resolvers: { Query: { now: () => 1 } } })

const FRAGMENT = 'fragment F on Query { now }'

test.each([
  ['query A { now } query B { now }', undefined, /^Must provide operation name/],
  ['query A { now } query B { now }', 'C', /^Unknown operation named "C"\.$/],
  ['query A { now }', 'C', /^Unknown operation named "C"\.$/],
  [FRAGMENT, undefined, /^Must provide an operation\.$/],
  [FRAGMENT, 'C', /^Unknown operation named "C"\.$/],
])('%s with the operation name %s is refused with the message of graphql-js', async (query, operationName, message) => {
  const engine = createOperationEngine(schema, [useNamedOperation()])
  const params = { query, ...(operationName !== undefined && { operationName }) }
  const context: GraphQLContext = Object.create(null)
  const result = await engine.run(params, 'POST', context)
  const errors = isAsyncIterable(result) ? undefined : result.errors
  expect(errors).toMatchObject([{ message: expect.stringMatching(message), extensions: { code: 'BAD_USER_INPUT' } }])
  expect(execute({ schema, document: parse(query), operationName })).toMatchObject({
    errors: [{ message: errors?.[0]?.message }],
  })
})
