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
import { isObject } from '../../model/is-object.ts'

/** Returns undefined when a variable does not match its type. */
export type CoerceVariables = (given: Readonly<Record<string, unknown>>) => Record<string, unknown> | undefined

/** Throws when the value does not match the type. */
type Coerce = (value: unknown) => unknown

/** A variable, or a field of an input object. */
interface InputField {
  readonly name: string
  readonly coerce: Coerce
  readonly isRequired: boolean
  readonly defaultValue: unknown
}

/** Thrown without details, because graphql-js writes the error message: see `plugins/compiled-variables.ts`. */
const MISMATCH = new Error('the value does not match its type')

/**
 * Builds one closure per input type. The closures coerce values exactly as graphql-js does, without walking through the
 * type for each value. A test compares both on random types and values.
 */
export class InputCoercion {
  readonly #schema: GraphQLSchema
  /** By nullable type. A recursive input object finds its own closure here. */
  readonly #closures = new Map<GraphQLInputType, Coerce>()

  constructor(schema: GraphQLSchema) {
    this.#schema = schema
  }

  compile(definitions: readonly VariableDefinitionNode[]): CoerceVariables {
    const variables = definitions.map((definition) => this.#variable(definition))
    return (given) => {
      const coerced: Record<string, unknown> = Object.create(null)
      try {
        for (const { name, coerce, isRequired, defaultValue } of variables) {
          if (Object.hasOwn(given, name)) coerced[name] = coerce(given[name])
          else if (defaultValue !== undefined) coerced[name] = defaultValue
          else if (isRequired) throw MISMATCH
        }
      } catch {
        return undefined
      }
      return coerced
    }
  }

  #variable({ variable, type: typeNode, defaultValue }: VariableDefinitionNode): InputField {
    const type = typeFromAST(this.#schema, typeNode)
    assert(isInputType(type), 'validation requires input types for variables')
    return {
      name: variable.name.value,
      coerce: this.#closure(type),
      isRequired: isNonNullType(type),
      defaultValue: defaultValue === undefined ? undefined : valueFromAST(defaultValue, type),
    }
  }

  #closure(type: GraphQLInputType): Coerce {
    if (isNonNullType(type)) {
      const coerce = this.#closure(type.ofType)
      return (value) => {
        if (value === null || value === undefined) throw MISMATCH
        return coerce(value)
      }
    }
    let closure = this.#closures.get(type)
    if (closure === undefined) {
      if (isListType(type)) closure = this.#list(type)
      else if (isInputObjectType(type)) closure = this.#inputObject(type)
      else closure = coerceLeaf(type)
      this.#closures.set(type, closure)
    }
    return closure
  }

  #list(type: GraphQLList<GraphQLInputType>): Coerce {
    const coerce = this.#closure(type.ofType)
    return (value) => {
      if (value === null || value === undefined) return null
      if (Array.isArray(value)) return value.map(coerce)
      // graphql-js accepts any iterable as a list. JSON has only arrays.
      if (typeof value === 'object' && Symbol.iterator in value) throw MISMATCH
      return [coerce(value)]
    }
  }

  #inputObject(type: GraphQLInputObjectType): Coerce {
    const fields: InputField[] = []
    const names = new Set<string>()
    const coerceObject: Coerce = (value) => {
      if (value === null || value === undefined) return null
      if (!isObject(value)) throw MISMATCH
      const coerced: Record<string, unknown> = {}
      for (const { name, coerce, isRequired, defaultValue } of fields) {
        const fieldValue = value[name]
        if (fieldValue !== undefined) coerced[name] = coerce(fieldValue)
        else if (defaultValue !== undefined) coerced[name] = defaultValue
        else if (isRequired) throw MISMATCH
      }
      for (const name of Object.keys(value)) if (!names.has(name)) throw MISMATCH
      if (type.isOneOf) requireOneValue(coerced)
      return coerced
    }
    this.#closures.set(type, coerceObject)
    for (const { name, type: fieldType, defaultValue } of Object.values(type.getFields())) {
      names.add(name)
      fields.push({ name, coerce: this.#closure(fieldType), isRequired: isNonNullType(fieldType), defaultValue })
    }
    return coerceObject
  }
}

function coerceLeaf(type: GraphQLLeafType): Coerce {
  return (value) => {
    if (value === null || value === undefined) return null
    const parsed: unknown = type.parseValue(value)
    if (parsed === undefined) throw MISMATCH
    return parsed
  }
}

function requireOneValue(coerced: Record<string, unknown>): void {
  const values = Object.values(coerced)
  if (values.length !== 1 || values[0] === null) throw MISMATCH
}
