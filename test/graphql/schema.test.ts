import { readdirSync, readFileSync } from 'node:fs'
import {
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
  isScalarType,
  isSpecifiedScalarType,
  parse,
  printSchema,
  validate,
} from 'graphql'
import { expect, test } from 'vitest'
import { readTabOperations } from '../../src/graphql/playground/tabs.ts'
import { schema } from '../../src/graphql/schema.ts'

test('schema/schema.graphql is the schema that is served', async () => {
  await expect(`${printSchema(schema)}\n`).toMatchFileSnapshot('../../schema/schema.graphql')
})

test('every type, field, argument and enum value has a description', () => {
  const silent: string[] = []
  const check = (name: string, description: string | null | undefined): void => {
    if (!description?.trim()) silent.push(name)
  }
  for (const type of Object.values(schema.getTypeMap())) {
    if (type.name.startsWith('__') || isSpecifiedScalarType(type)) continue
    check(type.name, type.description)
    if (isEnumType(type)) {
      for (const value of type.getValues()) check(`${type.name}.${value.name}`, value.description)
    }
    if (isInputObjectType(type)) {
      for (const field of Object.values(type.getFields())) check(`${type.name}.${field.name}`, field.description)
    }
    if (isObjectType(type) || isInterfaceType(type)) {
      for (const field of Object.values(type.getFields())) {
        check(`${type.name}.${field.name}`, field.description)
        for (const arg of field.args) check(`${type.name}.${field.name}(${arg.name})`, arg.description)
      }
    }
  }
  expect(silent).toEqual([])
})

test('root fields are nullable, so that an error in one leaves the others', () => {
  const roots = [schema.getQueryType(), schema.getMutationType()]
  const fields = roots.flatMap((type) => Object.values(type?.getFields() ?? {}))
  expect(fields.length).toBeGreaterThan(0)
  expect(fields.filter((field) => field.type.toString().endsWith('!')).map((field) => field.name)).toEqual([])
})

const EXAMPLES = new URL('../../schema/examples/', import.meta.url)

test.each(readdirSync(EXAMPLES))('example %s is valid', (name) => {
  const document = parse(readFileSync(new URL(name, EXAMPLES), 'utf8'))
  expect(validate(schema, document)).toEqual([])
})

test('the playground opens with every example, each in its own tab, a chart first', async () => {
  const examples = await readTabOperations()
  expect(examples).toHaveLength(readdirSync(EXAMPLES).length)
  const names = examples.map((text) => /^(?:mutation|query|subscription) (\w+)/m.exec(text)?.[1])
  expect(names.slice(0, 4)).toEqual(['Chart', 'Top', 'Live', 'Compare'])
  expect(new Set(names).size).toBe(names.length)
  // Says what to look at, in lines that need no scrolling.
  for (const text of examples) {
    expect(text).toMatch(/^# (?:Run it and look|Look) at /)
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(56)
  }
})

test('docs/clients.md maps every scalar for code generators', () => {
  const page = readFileSync(new URL('../../docs/clients.md', import.meta.url), 'utf8')
  const mapped = /scalars: \{\n([\s\S]*?)\n {4}\}/.exec(page)?.[1] ?? ''
  const names = [...mapped.matchAll(/^ +(\w+):/gm)].map((match) => match[1])
  const scalars = Object.values(schema.getTypeMap()).filter(
    (type) => isScalarType(type) && !isSpecifiedScalarType(type),
  )
  expect(names.toSorted()).toEqual(scalars.map(({ name }) => name).toSorted())
})
