import { randomBytes } from 'node:crypto'
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
import { MetricInputList } from '../../../wire/metric-input-list.ts'
import { InputCoercion, type VariablesCoercer } from '../input-coercion.ts'
import type { OperationPlugin } from '../yoga.ts'

/**
 * Executes with graphql-js, but coerces variables with functions that are built once per operation: the coercion of
 * graphql-js takes a third of the time of a large batch. Invalid variables are passed to graphql-js unchanged, so that
 * it writes the error messages.
 */
export function useCompiledVariables(schema: GraphQLSchema): OperationPlugin {
  const coerceVariables = createVariablesCoercion(schema)
  const executeFn = (args: ExecutionArgs) => execute(coerceVariables(args))
  const subscribeFn = (args: ExecutionArgs) => subscribe(coerceVariables(args))
  return {
    onExecute: ({ setExecuteFn }) => setExecuteFn(executeFn),
    onSubscribe: ({ setSubscribeFn }) => setSubscribeFn(subscribeFn),
  }
}

/**
 * A scalar type that accepts any value unchanged. With it, graphql-js does not coerce a variable a second time. Its
 * name is random, because introspection finds types of the extended schema by their names.
 */
const COERCED_TYPE = new GraphQLScalarType({
  name: `Coerced_${randomBytes(16).toString('hex')}`,
  parseValue: (value) => value,
})

interface CompiledOperation {
  readonly coerce: VariablesCoercer
  /** The same document, but its operation declares its variables as {@link COERCED_TYPE}. */
  readonly document: DocumentNode
}

/**
 * Returns a function that replaces the variables in execution arguments by coerced ones. If a variable is invalid, it
 * returns the arguments unchanged, and graphql-js reports the error.
 */
export function createVariablesCoercion(schema: GraphQLSchema): (args: ExecutionArgs) => ExecutionArgs {
  const coercion = new InputCoercion(schema)
  const extendedSchema = withCoercedType(schema)
  const cache = new WeakMap<OperationDefinitionNode, CompiledOperation>()
  return (args) => {
    const operation = getOperationAST(args.document, args.operationName)
    if (!operation?.variableDefinitions?.length) return args
    let compiled = cache.get(operation)
    if (compiled === undefined) {
      compiled = {
        coerce: coercion.compile(operation.variableDefinitions),
        document: withCoercedVariables(args.document, operation),
      }
      cache.set(operation, compiled)
    }
    const variableValues = compiled.coerce(args.variableValues ?? {})
    if (variableValues === undefined) return parseMetricInputs(args)
    return { ...args, schema: extendedSchema, document: compiled.document, variableValues }
  }
}

/** Replaces each `MetricInputList` among the variables, which graphql-js does not know, by the parsed list. */
function parseMetricInputs(args: ExecutionArgs): ExecutionArgs {
  const variables = Object.entries(args.variableValues ?? {})
  if (!variables.some(([, value]) => value instanceof MetricInputList)) return args
  const parsed = variables.map(
    ([name, value]) => [name, value instanceof MetricInputList ? value.parse() : value] as const,
  )
  return { ...args, variableValues: Object.fromEntries(parsed) }
}

/**
 * Returns a schema whose `getType` also finds {@link COERCED_TYPE}. `__schema` does not list the type, because it reads
 * the type map.
 */
function withCoercedType(schema: GraphQLSchema): GraphQLSchema {
  const getType: GraphQLSchema['getType'] = (name) => (name === COERCED_TYPE.name ? COERCED_TYPE : schema.getType(name))
  const extended: GraphQLSchema = Object.create(schema, { getType: { value: getType } })
  return extended
}

/**
 * Returns a copy of the document in which the variables of `operation` have the type {@link COERCED_TYPE}. The copy and
 * the document share the nodes of selection sets.
 */
function withCoercedVariables(document: DocumentNode, operation: OperationDefinitionNode): DocumentNode {
  const type = { kind: Kind.NAMED_TYPE, name: { kind: Kind.NAME, value: COERCED_TYPE.name } } as const
  const variableDefinitions = operation.variableDefinitions?.map(({ kind, variable }) => ({ kind, variable, type }))
  const withCoerced: OperationDefinitionNode = { ...operation, ...(variableDefinitions && { variableDefinitions }) }
  return { ...document, definitions: document.definitions.map((node) => (node === operation ? withCoerced : node)) }
}
