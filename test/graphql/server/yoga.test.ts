import { type DocumentNode, GraphQLError, NoUnusedVariablesRule, parse } from 'graphql'
import { createSchema } from 'graphql-yoga'
import { describe, expect, test } from 'vitest'
import type { GraphQLContext } from '../../../src/graphql/context.ts'
import {
  createOperationEngine,
  isAsyncIterable,
  mapResults,
  type OperationEngine,
  type OperationParams,
  type OperationPlugin,
  type OperationResult,
} from '../../../src/graphql/server/yoga.ts'

/** The behaviour of graphql-yoga that the gateway relies on: run these tests before an upgrade. */

let closed = 0
async function* ticks(): AsyncGenerator<{ tick: number }, void> {
  try {
    for (let tick = 1; tick <= 3; tick++) yield { tick }
    throw new Error('the clock broke')
  } finally {
    closed++
  }
}
const schema = createSchema({
  typeDefs: `
    type Query { now: Int later: Int fails: Int }
    type Mutation { set(to: Int): Int }
    type Subscription { tick: Int none: Int }`,
  resolvers: {
    Query: { now: () => 1, later: async () => 2, fails: () => Promise.reject(new Error('secret')) },
    Mutation: { set: (_root, { to }) => to },
    Subscription: { tick: { subscribe: ticks }, none: { subscribe: () => Promise.reject(new Error('secret')) } },
  },
})

const context = (): GraphQLContext => Object.create(null)
const run = (engine: OperationEngine, params: OperationParams, method: 'GET' | 'POST' = 'POST') =>
  engine.run(params, method, context())
const engineOf = (...plugins: readonly OperationPlugin[]): OperationEngine => createOperationEngine(schema, plugins)

const readAll = async (result: OperationResult): Promise<unknown[]> => {
  if (!isAsyncIterable(result)) throw new Error('no stream')
  const results: unknown[] = []
  for await (const next of result) results.push(next)
  return results
}
const errorsOf = async (result: OperationResult | Promise<OperationResult>): Promise<readonly GraphQLError[]> => {
  const outcome = await result
  return isAsyncIterable(outcome) ? [] : (outcome.errors ?? [])
}

describe('run', () => {
  test('is synchronous unless a resolver waits', async () => {
    expect(run(engineOf(), { query: '{ now }' })).toMatchObject({ data: { now: 1 } })
    const later = run(engineOf(), { query: '{ later }' })
    expect(later).toBeInstanceOf(Promise)
    expect(await later).toMatchObject({ data: { later: 2 } })
  })

  test.each([
    ['{', 'GRAPHQL_PARSE_FAILED'],
    ['{ nothing }', 'GRAPHQL_VALIDATION_FAILED'],
  ])('refuses %s with the code %s, marked so that plain JSON gets 200', async (query, code) => {
    const [error] = await errorsOf(run(engineOf(), { query }))
    expect(error?.extensions).toMatchObject({ code, http: { spec: true, status: 400 } })
  })

  test('refuses a mutation by GET with 405 and names the method', async () => {
    const [error] = await errorsOf(run(engineOf(), { query: 'mutation { set(to: 1) }' }, 'GET'))
    expect(error?.extensions).toMatchObject({ code: 'BAD_REQUEST', http: { status: 405, headers: { Allow: 'POST' } } })
    expect(await run(engineOf(), { query: 'mutation { set(to: 1) }' })).toMatchObject({ data: { set: 1 } })
  })

  test('runs the operation that is named, with its variables', async () => {
    const query = 'query A { now } mutation B($to: Int) { set(to: $to) }'
    expect(await run(engineOf(), { query, operationName: 'B', variables: { to: 7 } })).toMatchObject({
      data: { set: 7 },
    })
  })
})

describe('onParams', () => {
  test('replaces the parameters of the request', async () => {
    const engine = engineOf({ onParams: ({ setParams }) => setParams({ query: '{ now }' }) })
    expect(await run(engine, { documentId: 'x' })).toMatchObject({ data: { now: 1 } })
  })

  test('can set a result without execution, which the result hook still sees', async () => {
    const seen: unknown[] = []
    const refused = { errors: [new GraphQLError('no')] }
    const engine = engineOf({
      onParams({ setParams, setResult }) {
        setParams({ query: '' })
        setResult(refused)
      },
      onExecutionResult: ({ result }) => {
        seen.push(result)
      },
    })
    expect(await run(engine, { documentId: 'x' })).toBe(refused)
    expect(seen).toEqual([refused])
  })
})

describe('onParse', () => {
  const counting = () => {
    let parsed = 0
    const plugin: OperationPlugin = {
      onParse: ({ setParseFn }) =>
        setParseFn((source: string): DocumentNode => {
          parsed++
          return parse(source)
        }),
    }
    return { engine: engineOf(plugin), parsed: () => parsed }
  }

  test('replaces the parser, and repeated documents are not parsed again', () => {
    const { engine, parsed } = counting()
    for (let i = 0; i < 3; i++) run(engine, { query: '{ now }' })
    expect(parsed()).toBe(1)
    for (let i = 0; i < 3; i++) run(engine, { query: '{' })
    expect(parsed()).toBe(2)
  })

  test('long documents are not cached, and others within a total length', () => {
    const { engine, parsed } = counting()
    const long = `{ now } #${'x'.repeat(16 * 1024)}`
    for (let i = 0; i < 3; i++) run(engine, { query: long })
    expect(parsed()).toBe(3)
    const texts = Array.from({ length: 40 }, (_, i) => `{ now } #${i}${'x'.repeat(10_000)}`)
    for (const query of texts) run(engine, { query })
    for (const query of texts.slice(-20)) run(engine, { query })
    expect(parsed()).toBe(43)
    run(engine, { query: texts[0]! })
    expect(parsed()).toBe(44)
  })

  test('an error that the parser throws is in the result, cached or not', async () => {
    const failure = new Error('too large')
    const engine = engineOf({
      onParse: ({ setParseFn }) =>
        setParseFn(() => {
          throw failure
        }),
    })
    for (let i = 0; i < 2; i++) {
      const [error] = await errorsOf(run(engine, { query: '{ now }' }))
      expect(error?.originalError).toBe(failure)
    }
  })

  test('the function it returns runs for every document and can refuse it', async () => {
    const engine = engineOf({
      onParse: () => () => {
        throw new GraphQLError('no')
      },
    })
    for (let i = 0; i < 2; i++)
      expect(await errorsOf(run(engine, { query: '{ now }' }))).toMatchObject([{ message: 'no' }])
  })
})

describe('onValidate', () => {
  test('adds a rule to those of the specification', async () => {
    const engine = engineOf({
      onValidate: ({ addValidationRule, params }) => {
        expect(params.rules).toContain(NoUnusedVariablesRule)
        addValidationRule((validation: { reportError(error: GraphQLError): void }) => ({
          Field: () => validation.reportError(new GraphQLError('no')),
        }))
      },
    })
    for (let i = 0; i < 2; i++)
      expect(await errorsOf(run(engine, { query: '{ now }' }))).toMatchObject([{ message: 'no' }])
  })
})

describe('onExecute', () => {
  test('plugins wrap the executor in their order, and see the result in their order', async () => {
    const order: string[] = []
    const wrap = (name: string): OperationPlugin => ({
      onExecute({ executeFn, setExecuteFn }) {
        setExecuteFn((args) => {
          order.push(name)
          return executeFn(args)
        })
        return { onExecuteDone: () => void order.push(`${name} done`) }
      },
    })
    await run(engineOf(wrap('a'), wrap('b')), { query: '{ later }' })
    expect(order).toEqual(['b', 'a', 'a done', 'b done'])
  })

  test('an error of a hook, before or after, is the only one of the result', async () => {
    const failure = new Error('no')
    const fail = () => {
      throw failure
    }
    for (const onExecute of [fail, () => ({ onExecuteDone: fail })]) {
      const result = await run(engineOf({ onExecute }), { query: '{ now }' })
      expect(result).toMatchObject({ errors: [{ originalError: failure }] })
      expect(result).not.toHaveProperty('data')
    }
  })

  test('the context is the one of the request, with its method', async () => {
    let seen: unknown
    const engine = engineOf({ onExecute: ({ context: given }) => void (seen = given) })
    const given = context()
    await engine.run({ query: '{ now }' }, 'GET', given)
    expect(seen).toBe(given)
    expect(given).toMatchObject({ request: { method: 'GET' }, params: { query: '{ now }' } })
  })
})

describe('onSubscribe', () => {
  test('a subscription returns a stream; an error in it is its last result', async () => {
    const results = await readAll(await run(engineOf(), { query: 'subscription { tick }' }))
    expect(results).toMatchObject([
      { data: { tick: 1 } },
      { data: { tick: 2 } },
      { data: { tick: 3 } },
      { errors: [{ originalError: { message: 'the clock broke' } }] },
    ])
  })

  test('closing the stream closes its source, through a result hook that maps it', async () => {
    const engine = engineOf({
      onExecutionResult({ result, setResult }) {
        if (isAsyncIterable(result))
          setResult(mapResults(result, (next) => ({ ...next, extensions: { mapped: true } })))
      },
    })
    const stream = await run(engine, { query: 'subscription { tick }' })
    if (!isAsyncIterable(stream)) throw new Error('no stream')
    const before = closed
    const results = stream[Symbol.asyncIterator]()
    expect(await results.next()).toMatchObject({ value: { data: { tick: 1 }, extensions: { mapped: true } } })
    await results.return?.()
    expect(closed).toBe(before + 1)
  })

  test('an error of the mapping function rejects, and closes the source', async () => {
    const engine = engineOf({
      onExecutionResult({ result, setResult }) {
        if (!isAsyncIterable(result)) return
        setResult(
          mapResults(result, () => {
            throw new Error('cut')
          }),
        )
      },
    })
    const before = closed
    await expect(readAll(await run(engine, { query: 'subscription { tick }' }))).rejects.toThrow('cut')
    expect(closed).toBe(before + 1)
  })

  test('a subscription that cannot begin is a result, which onSubscribeResult may make a stream', async () => {
    expect(await run(engineOf(), { query: 'subscription { none }' })).toMatchObject({ errors: [{ path: ['none'] }] })
    const engine = engineOf({
      onSubscribe: () => ({
        onSubscribeResult({ result, setResult }) {
          if (!isAsyncIterable(result)) {
            setResult(
              (async function* () {
                yield result
              })(),
            )
          }
        },
      }),
    })
    expect(await readAll(await run(engine, { query: 'subscription { none }' }))).toMatchObject([
      { errors: [{ path: ['none'] }] },
    ])
  })
})

test.each(['onRequest', 'onRequestParse', 'onResponse', 'onResultProcess'])(
  'a plugin with the hook %s is refused at start: it would never run',
  (hook) => {
    const plugin = { onParse: () => {}, [hook]: () => {} }
    expect(() => engineOf({}, plugin)).toThrow(`GraphQL plugin 1 cannot work: its hooks ${hook}`)
  },
)

describe('respond', () => {
  const respond = async (result: object, type = 'application/json') => {
    const { status, headers, body } = await engineOf().respond(result, type)
    return { status, headers, body: JSON.parse(body) }
  }
  const error = (http: object | undefined) =>
    new GraphQLError('no', { extensions: { code: 'X', ...(http && { http }) } })

  test('data is 200 in the requested media type', async () => {
    expect(await respond({ data: { a: 1 } }, 'application/graphql-response+json')).toEqual({
      status: 200,
      headers: { 'content-type': 'application/graphql-response+json; charset=utf-8' },
      body: { data: { a: 1 } },
    })
  })

  test.each([
    ['application/json', 200],
    ['application/graphql-response+json', 400],
  ])('a request error of GraphQL is for %s %d', async (type, status) => {
    expect(await respond({ errors: [error({ spec: true, status: 400 })] }, type)).toMatchObject({ status })
  })

  test('status and headers of an error count for both, and are not in the body', async () => {
    for (const type of ['application/json', 'application/graphql-response+json']) {
      const http = { status: 503, headers: { 'retry-after': '5' } }
      expect(await respond({ errors: [error(http)] }, type)).toEqual({
        status: 503,
        headers: { 'content-type': `${type}; charset=utf-8`, 'retry-after': '5' },
        body: { errors: [{ message: 'no', extensions: { code: 'X' } }] },
      })
    }
  })

  test('errors beside data are 200', async () => {
    expect(await respond({ data: { a: null }, errors: [error(undefined)] })).toMatchObject({ status: 200 })
  })
})
