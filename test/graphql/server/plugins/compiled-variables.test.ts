import fc from 'fast-check'
import {
  buildSchema,
  type ExecutionArgs,
  execute,
  type GraphQLInputType,
  getNamedType,
  getNullableType,
  getOperationAST,
  getVariableValues,
  isEnumType,
  isInputObjectType,
  isInputType,
  isListType,
  parse,
  parseType,
  printSchema,
  typeFromAST,
  validate,
} from 'graphql'
import { expect, test } from 'vitest'
import { schema as gatewaySchema } from '../../../../src/graphql/schema.ts'
import { createVariablesCoercion } from '../../../../src/graphql/server/plugins/compiled-variables.ts'

/** A differential test: compiled variables against those of graphql-js. */

const oddSchema = buildSchema(`
  enum Colour { RED GREEN }
  input Tree { name: String! = "leaf" size: Int colour: Colour = GREEN children: [Tree!] parent: Tree weights: [[Float]!] id: ID }
  input Choice @oneOf { number: Int tree: Tree list: [Int!] }
  input Empty { flag: Boolean }
  type Query { echo(tree: Tree, ids: [ID!], size: Int): String }`)

const anyJson = fc.oneof(fc.jsonValue(), fc.constantFrom('RED', 'P95', 'GAUGE', 1.5, -0, 2 ** 31, '', null))

/** Values that mostly fit a type: wrong ones are rare, so that deep values stay right often enough. */
function arbitraryOf(type: GraphQLInputType, depth = 0): fc.Arbitrary<unknown> {
  const odd = { weight: 1, arbitrary: anyJson }
  const nothing = { weight: 1, arbitrary: fc.constantFrom<unknown>(null, undefined) }
  const some = fittingArbitraryOf(getNullableType(type), depth)
  return fc.oneof({ weight: 30, arbitrary: some }, odd, ...(type === getNullableType(type) ? [nothing] : []))
}

function fittingArbitraryOf(type: GraphQLInputType, depth: number): fc.Arbitrary<unknown> {
  if (isListType(type)) {
    const item = arbitraryOf(type.ofType, depth + 1)
    return fc.oneof(
      { weight: 5, arbitrary: fc.array(item, { maxLength: depth > 3 ? 1 : 3 }) },
      { weight: 1, arbitrary: item },
    )
  }
  if (isEnumType(type)) return fc.constantFrom(...type.getValues().map(({ name }) => name))
  if (isInputObjectType(type)) {
    const fields = Object.values(type.getFields()).filter(
      (field) => depth < 3 || !isInputObjectType(getNamedType(field.type)),
    )
    const known = fc.record(
      Object.fromEntries(fields.map((field) => [field.name, arbitraryOf(field.type, depth + 1)])),
      {
        requiredKeys: [],
      },
    )
    const single = fc
      .constantFrom(...fields)
      .chain((field) => arbitraryOf(field.type, depth + 1).map((value) => ({ [field.name]: value })))
    const unknown = fc.constantFrom<object>({}, {}, {}, {}, {}, {}, { extra: 1 }, JSON.parse('{"__proto__":1}'), {
      toString: 1,
    })
    const whole = fc.tuple(known, unknown).map(([object, more]) => JSON.parse(mergedText(object, more)))
    return type.isOneOf ? fc.oneof(single, whole) : whole
  }
  const byName: Record<string, fc.Arbitrary<unknown>> = {
    Int: fc.integer({ min: -(2 ** 31), max: 2 ** 31 }),
    Float: fc.oneof(fc.double({ noNaN: true }), fc.integer()),
    String: fc.string(),
    Boolean: fc.boolean(),
    ID: fc.oneof(fc.string(), fc.integer()),
  }
  return byName['name' in type ? type.name : ''] ?? anyJson
}

/** Keys such as `__proto__` become own properties, as in a body. */
function mergedText(object: object, more: object): string {
  const entries = [...Object.entries(object), ...Object.entries(more)].filter(([, value]) => value !== undefined)
  return `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`
}

const compilers = new Map([gatewaySchema, oddSchema].map((schema) => [schema, createVariablesCoercion(schema)]))

const types = [gatewaySchema, oddSchema].flatMap((schema) =>
  Object.values(schema.getTypeMap())
    .filter((type) => isInputType(type) && !type.name.startsWith('__'))
    .flatMap(({ name }) => [name, `${name}!`, `[${name}!]!`, `[[${name}]]`])
    .map((text) => ({ schema, text })),
)

const DEFAULTS: Readonly<Record<string, readonly string[]>> = {
  Int: ['7', 'null'],
  'Int!': ['7'],
  '[Int!]!': ['[1, 2]', '3'],
  Colour: ['RED'],
  Tree: ['{ size: 1 }', '{ name: "a", children: [{ id: 5 }] }'],
  '[[Tree]]': ['[[{ colour: RED }]]'],
  Choice: ['{ number: 1 }'],
  'MetricType!': ['GAUGE'],
}

const instances = fc.constantFrom(...types).chain(({ schema, text }) => {
  const type = typeFromAST(schema, parseType(text))
  if (!isInputType(type)) throw new Error(`${text} is no input type`)
  const given = arbitraryOf(type).map((v): Record<string, unknown> => ({ v }))
  return fc.record({
    schema: fc.constant(schema),
    text: fc.constant(text),
    variables: fc.oneof({ weight: 8, arbitrary: given }, { weight: 1, arbitrary: fc.constant({}) }),
    fallback: fc.constantFrom(undefined, ...(DEFAULTS[text] ?? [])),
  })
})

function coercedByGraphQL({ schema, document, variableValues }: ExecutionArgs): Record<string, unknown> | undefined {
  const operation = getOperationAST(document)
  return getVariableValues(schema, operation?.variableDefinitions ?? [], variableValues ?? {}).coerced
}

test('variables are coerced to the same values as by graphql-js, which gets exactly those that it refuses', () => {
  let fitting = 0
  fc.assert(
    fc.property(instances, ({ schema, text, variables, fallback }) => {
      const document = parse(`query ($v: ${text}${fallback === undefined ? '' : ` = ${fallback}`}) { __typename }`)
      const args = { schema, document, variableValues: variables }
      const expected = coercedByGraphQL(args)
      const compiled = compilers.get(schema)!(args)
      if (expected === undefined) {
        expect(compiled).toBe(args)
        return
      }
      fitting++
      expect(compiled).not.toBe(args)
      const coerced = coercedByGraphQL(compiled)
      expect(coerced).toStrictEqual(expected)
      // The order of keys too: input is hashed for idempotency.
      expect(JSON.stringify(coerced)).toBe(JSON.stringify(expected))
    }),
    { numRuns: 1_500 },
  )
  // The property says little when hardly any value fits.
  expect(fitting).toBeGreaterThan(300)
})

test('resolvers get the same arguments and clients the same messages', () => {
  const document = parse(`query A { echo }
    query B($tree: Tree!, $ids: [ID!], $absent: Int) { echo(tree: $tree, ids: $ids, size: $absent) ...F }
    fragment F on Query { again: echo(tree: { parent: $tree }, size: $absent) }`)
  const seen: unknown[] = []
  const args = (variableValues: Record<string, unknown>): ExecutionArgs => ({
    schema: oddSchema,
    document,
    operationName: 'B',
    variableValues,
    rootValue: { echo: (given: unknown) => void seen.push(given) },
  })
  const compile = compilers.get(oddSchema)!
  for (const variables of [
    { tree: { size: 1, children: [{ name: 'x' }] }, ids: 7, unused: 1 },
    { tree: { size: 'large' } },
    { tree: { naem: 'x' } },
    {},
  ]) {
    const expected = execute(args(variables))
    const expectedArguments = seen.splice(0)
    expect(execute(compile(args(variables)))).toEqual(expected)
    expect(seen.splice(0)).toStrictEqual(expectedArguments)
  }
})

test('an operation is compiled once, and its selection sets stay the nodes they were', () => {
  const document = parse('query A($v: Int) { echo(size: $v) }')
  const compile = compilers.get(oddSchema)!
  const [first, second] = [1, 2].map((v) => compile({ schema: oddSchema, document, variableValues: { v } }).document)
  expect(second).toBe(first)
  expect(getOperationAST(first!)?.selectionSet).toBe(getOperationAST(document)?.selectionSet)
})

test('the type that stands for coerced variables is not part of the schema', () => {
  const args = { schema: oddSchema, document: parse('query ($v: Int) { echo(size: $v) }'), variableValues: { v: 1 } }
  const { schema } = compilers.get(oddSchema)!(args)
  expect(printSchema(schema)).toBe(printSchema(oddSchema))
  const misuse = parse('query ($v: Coerced) { echo(size: $v) }')
  expect(validate(oddSchema, misuse)[0]?.message).toContain('Unknown type "Coerced"')
})

test('introspection by name does not find the type that stands for coerced variables', () => {
  const document = parse('query ($name: String!) { __type(name: $name) { name } }')
  const args = { schema: oddSchema, document, variableValues: { name: 'Coerced' } }
  expect(execute(compilers.get(oddSchema)!(args))).toMatchObject({ data: { __type: null } })
})
