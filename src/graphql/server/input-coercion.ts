import {
  type GraphQLInputObjectType,
  type GraphQLInputType,
  type GraphQLLeafType,
  type GraphQLList,
  type GraphQLSchema,
  getNullableType,
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
import { MetricInputList } from '../../wire/metric-input-list.ts'

/**
 * Returns the coerced variables; undefined when a variable does not match its type. A `MetricInputList` stays as it is
 * if the variable has the type `[MetricInput!]`; otherwise it is parsed and coerced.
 */
export type VariablesCoercer = (variables: Readonly<Record<string, unknown>>) => Record<string, unknown> | undefined

/** Throws when the value does not match the type. */
type Coercer = (value: unknown) => unknown

/** A variable, or a field of an input object. */
interface InputField {
  readonly name: string
  readonly coerce: Coercer
  readonly isRequired: boolean
  readonly defaultValue: unknown
}

/**
 * Thrown if a value does not match its type. It has no details, because graphql-js then coerces the variables again and
 * writes the error message: see `plugins/compiled-variables.ts`.
 */
const TYPE_MISMATCH = new Error('the value does not match its type')

/**
 * Coerces variables by one function per input type, which is built once. graphql-js instead inspects the type again for
 * each value. For JSON values the results are equal; a test compares both on random types and values.
 */
export class InputCoercion {
  readonly #schema: GraphQLSchema
  /** The functions by nullable type. A recursive input object finds its own function here. */
  readonly #coercers = new Map<GraphQLInputType, Coercer>()

  constructor(schema: GraphQLSchema) {
    this.#schema = schema
  }

  /** Returns a function that coerces the variables with these definitions. */
  compile(definitions: readonly VariableDefinitionNode[]): VariablesCoercer {
    const inputFields = definitions.map((definition) => this.#compileVariable(definition))
    return (variables) => {
      const coerced: Record<string, unknown> = Object.create(null)
      try {
        for (const { name, coerce, isRequired, defaultValue } of inputFields) {
          if (Object.hasOwn(variables, name)) coerced[name] = coerce(variables[name])
          else if (defaultValue !== undefined) coerced[name] = defaultValue
          else if (isRequired) throw TYPE_MISMATCH
        }
      } catch {
        return undefined
      }
      return coerced
    }
  }

  #compileVariable({ variable, type: typeNode, defaultValue }: VariableDefinitionNode): InputField {
    const type = typeFromAST(this.#schema, typeNode)
    assert(isInputType(type), 'validation requires input types for variables')
    const coerce = this.#coercerOf(type)
    const acceptsMetricInputs = isListOfMetricInputs(type)
    return {
      name: variable.name.value,
      coerce: (value) => {
        if (!(value instanceof MetricInputList)) return coerce(value)
        return acceptsMetricInputs ? value : coerce(value.parse())
      },
      isRequired: isNonNullType(type),
      defaultValue: defaultValue === undefined ? undefined : valueFromAST(defaultValue, type),
    }
  }

  #coercerOf(type: GraphQLInputType): Coercer {
    if (isNonNullType(type)) {
      const coerce = this.#coercerOf(type.ofType)
      return (value) => {
        if (value === null || value === undefined) throw TYPE_MISMATCH
        return coerce(value)
      }
    }
    let coercer = this.#coercers.get(type)
    if (coercer === undefined) {
      if (isListType(type)) coercer = this.#listCoercer(type)
      else if (isInputObjectType(type)) coercer = this.#inputObjectCoercer(type)
      else coercer = leafCoercer(type)
      this.#coercers.set(type, coercer)
    }
    return coercer
  }

  #listCoercer(type: GraphQLList<GraphQLInputType>): Coercer {
    const coerce = this.#coercerOf(type.ofType)
    return (value) => {
      if (value === null || value === undefined) return null
      if (Array.isArray(value)) return value.map(coerce)
      // graphql-js accepts any iterable as a list. JSON has only arrays.
      if (typeof value === 'object' && Symbol.iterator in value) throw TYPE_MISMATCH
      return [coerce(value)]
    }
  }

  #inputObjectCoercer(type: GraphQLInputObjectType): Coercer {
    const fields: InputField[] = []
    const names = new Set<string>()
    const coerceObject: Coercer = (value) => {
      if (value === null || value === undefined) return null
      if (!isObject(value)) throw TYPE_MISMATCH
      const coerced: Record<string, unknown> = {}
      for (const { name, coerce, isRequired, defaultValue } of fields) {
        const fieldValue = value[name]
        if (fieldValue !== undefined) coerced[name] = coerce(fieldValue)
        else if (defaultValue !== undefined) coerced[name] = defaultValue
        else if (isRequired) throw TYPE_MISMATCH
      }
      for (const name of Object.keys(value)) if (!names.has(name)) throw TYPE_MISMATCH
      if (type.isOneOf) requireOneValue(coerced)
      return coerced
    }
    this.#coercers.set(type, coerceObject)
    for (const { name, type: fieldType, defaultValue } of Object.values(type.getFields())) {
      names.add(name)
      fields.push({ name, coerce: this.#coercerOf(fieldType), isRequired: isNonNullType(fieldType), defaultValue })
    }
    return coerceObject
  }
}

/** Whether graphql-js can coerce each `MetricInputList` to this type. */
function isListOfMetricInputs(type: GraphQLInputType): boolean {
  const listType = getNullableType(type)
  return isListType(listType) && String(getNullableType(listType.ofType)) === 'MetricInput'
}

function leafCoercer(type: GraphQLLeafType): Coercer {
  return (value) => {
    if (value === null || value === undefined) return null
    const parsed: unknown = type.parseValue(value)
    if (parsed === undefined) throw TYPE_MISMATCH
    return parsed
  }
}

function requireOneValue(coerced: Record<string, unknown>): void {
  const values = Object.values(coerced)
  if (values.length !== 1 || values[0] === null) throw TYPE_MISMATCH
}
