import {
  type GraphQLInputObjectType,
  type GraphQLInputType,
  type GraphQLLeafType,
  type GraphQLList,
  type GraphQLSchema,
  isInputObjectType,
  isInputType,
  isListType,
  isNonNullType,
  typeFromAST,
  type VariableDefinitionNode,
  valueFromAST,
} from 'graphql'
import { assert } from '../../model/errors.ts'

/** The coerced variables; undefined when one of them does not fit its type. */
export type CoerceVariables = (given: Readonly<Record<string, unknown>>) => Record<string, unknown> | undefined

/** Returns the coerced value. Throws when the value does not fit. */
type Coerce = (value: unknown) => unknown

/** Carries no message: graphql-js words the error, see `plugins/compiled-variables.ts`. */
const MISFIT = new Error('the value does not fit its type')

/**
 * Coerces variables exactly as graphql-js does, by one closure per input type instead of a walk through the type for
 * each value. A test compares the two on random types and values.
 */
export class InputCoercion {
  readonly #schema: GraphQLSchema
  /** Nullable types. Recursive input objects find themselves here. */
  readonly #byType = new Map<GraphQLInputType, Coerce>()

  constructor(schema: GraphQLSchema) {
    this.#schema = schema
  }

  ofVariables(definitions: readonly VariableDefinitionNode[]): CoerceVariables {
    const variables = definitions.map((definition) => this.#variable(definition))
    return (given) => {
      const coerced: Record<string, unknown> = Object.create(null)
      try {
        for (const { name, coerce, isRequired, defaultValue } of variables) {
          if (Object.hasOwn(given, name)) coerced[name] = coerce(given[name])
          else if (defaultValue !== undefined) coerced[name] = defaultValue
          else if (isRequired) throw MISFIT
        }
      } catch {
        return undefined
      }
      return coerced
    }
  }

  #variable({ variable, type: typeNode, defaultValue }: VariableDefinitionNode) {
    const type = typeFromAST(this.#schema, typeNode)
    assert(isInputType(type), 'validation allows input types alone for variables')
    return {
      name: variable.name.value,
      coerce: this.#of(type),
      isRequired: isNonNullType(type),
      defaultValue: defaultValue === undefined ? undefined : valueFromAST(defaultValue, type),
    }
  }

  #of(type: GraphQLInputType): Coerce {
    if (isNonNullType(type)) {
      const coerce = this.#of(type.ofType)
      return (value) => {
        if (value === null || value === undefined) throw MISFIT
        return coerce(value)
      }
    }
    let known = this.#byType.get(type)
    if (known === undefined) {
      if (isListType(type)) known = this.#list(type)
      else if (isInputObjectType(type)) known = this.#inputObject(type)
      else known = leaf(type)
      this.#byType.set(type, known)
    }
    return known
  }

  #list(type: GraphQLList<GraphQLInputType>): Coerce {
    const coerce = this.#of(type.ofType)
    return (value) => {
      if (value === null || value === undefined) return null
      if (Array.isArray(value)) return value.map(coerce)
      // graphql-js takes any iterable object as a list; JSON has none.
      if (typeof value === 'object' && Symbol.iterator in value) throw MISFIT
      return [coerce(value)]
    }
  }

  #inputObject(type: GraphQLInputObjectType): Coerce {
    interface Field {
      readonly name: string
      readonly coerce: Coerce
      readonly isRequired: boolean
      readonly defaultValue: unknown
    }
    const fields: Field[] = []
    const names = new Set<string>()
    const coerceObject: Coerce = (value) => {
      if (value === null || value === undefined) return null
      if (!isObject(value)) throw MISFIT
      const coerced: Record<string, unknown> = {}
      for (const { name, coerce, isRequired, defaultValue } of fields) {
        const fieldValue = value[name]
        if (fieldValue !== undefined) coerced[name] = coerce(fieldValue)
        else if (defaultValue !== undefined) coerced[name] = defaultValue
        else if (isRequired) throw MISFIT
      }
      for (const name of Object.keys(value)) if (!names.has(name)) throw MISFIT
      if (type.isOneOf) requireOne(coerced)
      return coerced
    }
    this.#byType.set(type, coerceObject)
    for (const { name, type: fieldType, defaultValue } of Object.values(type.getFields())) {
      names.add(name)
      fields.push({ name, coerce: this.#of(fieldType), isRequired: isNonNullType(fieldType), defaultValue })
    }
    return coerceObject
  }
}

function leaf(type: GraphQLLeafType): Coerce {
  return (value) => {
    if (value === null || value === undefined) return null
    const parsed: unknown = type.parseValue(value)
    if (parsed === undefined) throw MISFIT
    return parsed
  }
}

function requireOne(coerced: Record<string, unknown>): void {
  const values = Object.values(coerced)
  if (values.length !== 1 || values[0] === null) throw MISFIT
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
