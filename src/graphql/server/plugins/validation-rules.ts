import {
  type ASTVisitor,
  type FragmentDefinitionNode,
  GraphQLError,
  getNamedType,
  isIntrospectionType,
  Kind,
  OperationTypeNode,
  type SelectionNode,
  type SelectionSetNode,
  type ValidationContext,
} from 'graphql'
import type { GraphQLLimits } from '../../operation-cost.ts'
import type { OperationPlugin } from '../yoga.ts'

/**
 * Adds the gateway's own validation rules to those of the specification. Documents that are too large or nested too
 * deeply are refused before validation, see `document-limits.ts`.
 */
export function useValidationRules({ isIntrospectionAllowed }: GraphQLLimits): OperationPlugin {
  return {
    onValidate({ addValidationRule }) {
      addValidationRule(UnconditionalSubscriptionRule)
      if (!isIntrospectionAllowed) addValidationRule(NoIntrospectionRule)
    },
  }
}

/** Refuses fields that return an introspection type, such as `__schema`. `__typename` stays allowed. */
function NoIntrospectionRule(context: ValidationContext): ASTVisitor {
  return {
    Field(node) {
      const type = getNamedType(context.getType())
      if (type === undefined || type === null || !isIntrospectionType(type)) return
      context.reportError(
        new GraphQLError(`introspection is off: ${node.name.value} is not available`, {
          nodes: node,
          extensions: { code: 'FORBIDDEN' },
        }),
      )
    },
  }
}

/**
 * Refuses `@skip` and `@include` on the root field of a subscription, as the specification of September 2025 requires.
 * Without this rule, graphql-js 16 throws a TypeError when the only field is skipped.
 */
function UnconditionalSubscriptionRule(context: ValidationContext): ASTVisitor {
  return {
    OperationDefinition(operation) {
      if (operation.operation !== OperationTypeNode.SUBSCRIPTION) return
      const conditional = rootSelections(operation.selectionSet, (name) => context.getFragment(name)).flatMap(
        ({ directives }) => directives?.filter(({ name }) => name.value === 'skip' || name.value === 'include') ?? [],
      )
      if (conditional.length === 0) return
      const message = 'a subscription must not use @skip or @include on its root field'
      context.reportError(new GraphQLError(message, { nodes: conditional }))
    },
  }
}

/** The root selections of an operation, including those in fragments. */
function rootSelections(
  root: SelectionSetNode,
  fragmentOf: (name: string) => FragmentDefinitionNode | null | undefined,
): readonly SelectionNode[] {
  const selections: SelectionNode[] = []
  const visited = new Set<SelectionSetNode>()
  const visit = (set: SelectionSetNode | undefined): void => {
    if (set === undefined || visited.has(set)) return
    visited.add(set)
    for (const selection of set.selections) {
      selections.push(selection)
      if (selection.kind === Kind.INLINE_FRAGMENT) visit(selection.selectionSet)
      if (selection.kind === Kind.FRAGMENT_SPREAD) visit(fragmentOf(selection.name.value)?.selectionSet)
    }
  }
  visit(root)
  return selections
}
