import { GraphQLError, Kind, type ValueNode } from 'graphql'
import { shorten } from '../../model/errors.ts'
import { exactIntegerOf } from '../../model/json-parser.ts'

/**
 * Converts a literal of a document to JSON, so that a JSON-like scalar accepts the same values inline as in variables.
 * Objects have no prototype, so a key such as `__proto__` is ordinary. Integers of up to 308 characters keep all
 * digits. A variable without a value is left out of an object and becomes null in a list; during validation, no
 * variable has a value. Throws a GraphQLError for an enum value.
 */
export function literalToJson(node: ValueNode, variables?: Readonly<Record<string, unknown>> | null): unknown {
  switch (node.kind) {
    case Kind.NULL:
      return null
    case Kind.STRING:
    case Kind.BOOLEAN:
      return node.value
    case Kind.INT:
      return exactIntegerOf(node.value)
    case Kind.FLOAT:
      return Number(node.value)
    case Kind.LIST:
      return node.values.map((item) => literalToJson(item, variables) ?? null)
    case Kind.OBJECT: {
      const object: Record<string, unknown> = Object.create(null)
      for (const field of node.fields) {
        const value = literalToJson(field.value, variables)
        if (value !== undefined) object[field.name.value] = value
      }
      return object
    }
    case Kind.VARIABLE:
      return variables?.[node.name.value]
    case Kind.ENUM:
      throw new GraphQLError(`${shorten(node.value)} is not a JSON value; strings need quotes`, { nodes: node })
  }
}
