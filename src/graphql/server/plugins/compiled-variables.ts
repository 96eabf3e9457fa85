import {
  type DocumentNode,
  type ExecutionArgs,
  execute,
  GraphQLScalarType,
  type GraphQLSchema,
  getOperationAST,
  Kind,
  type OperationDefinitionNode,
  subscribe,
} from 'graphql'
import { type CoerceVariables, InputCoercion } from '../input-coercion.ts'
import type { OperationPlugin } from '../yoga.ts'

/**
 * graphql-js executes. It coerces variables by walking their types for every value, a third of the cost of a large
 * batch; here closures that are made once per operation do it. Variables that they refuse go to graphql-js as they
 * came, so error messages are its own.
 */
export function useCompiledVariables(schema: GraphQLSchema): OperationPlugin {
  const withCoerced = compileVariables(schema)
  const executeFn = (args: ExecutionArgs) => execute(withCoerced(args))
  const subscribeFn = (args: ExecutionArgs) => subscribe(withCoerced(args))
  return {
    onExecute({ setExecuteFn }) {
      setExecuteFn(executeFn)
    },
    onSubscribe({ setSubscribeFn }) {
      setSubscribeFn(subscribeFn)
    },
  }
}

/** The type that variables have for graphql-js once they are coerced: it returns each value as it is. */
const COERCED = new GraphQLScalarType({ name: 'Coerced', parseValue: (value) => value })

interface CompiledOperation {
  readonly coerce: CoerceVariables
  /** The same document with the variables of the operation declared as {@link COERCED}. */
  readonly document: DocumentNode
}

/**
 * Returns the function that prepares the arguments of an execution; they are unchanged when the variables do not fit.
 */
export function compileVariables(schema: GraphQLSchema): (args: ExecutionArgs) => ExecutionArgs {
  const coercion = new InputCoercion(schema)
  const schemaOfCoerced = withCoercedType(schema)
  const compiled = new WeakMap<OperationDefinitionNode, CompiledOperation>()
  return (args) => {
    const operation = getOperationAST(args.document, args.operationName)
    if (!operation?.variableDefinitions?.length) return args
    let known = compiled.get(operation)
    if (known === undefined) {
      known = {
        coerce: coercion.ofVariables(operation.variableDefinitions),
        document: withCoercedVariables(args.document, operation),
      }
      compiled.set(operation, known)
    }
    const variableValues = known.coerce(args.variableValues ?? {})
    if (variableValues === undefined) return args
    return { ...args, schema: schemaOfCoerced, document: known.document, variableValues }
  }
}

/** The schema in which graphql-js finds {@link COERCED} too. Clients cannot: it is not in the map of types. */
function withCoercedType(schema: GraphQLSchema): GraphQLSchema {
  const getType: GraphQLSchema['getType'] = (name) => (name === COERCED.name ? COERCED : schema.getType(name))
  const derived: GraphQLSchema = Object.create(schema, { getType: { value: getType } })
  return derived
}

/** Selection sets stay the same nodes, by which other code caches what it knows of them. */
function withCoercedVariables(document: DocumentNode, operation: OperationDefinitionNode): DocumentNode {
  const variableDefinitions = operation.variableDefinitions?.map(({ defaultValue, ...definition }) => ({
    ...definition,
    type: { kind: Kind.NAMED_TYPE, name: { kind: Kind.NAME, value: COERCED.name } } as const,
  }))
  return {
    ...document,
    definitions: document.definitions.map((node) =>
      node === operation && variableDefinitions !== undefined ? { ...operation, variableDefinitions } : node,
    ),
  }
}
