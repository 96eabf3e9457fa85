import { type ASTVisitor, GraphQLError, getNamedType, isIntrospectionType, type ValidationContext } from 'graphql'

/** Refuses fields of the introspection schema. */
export function NoIntrospectionRule(context: ValidationContext): ASTVisitor {
  return {
    Field(node) {
      const type = getNamedType(context.getType())
      if (type === undefined || type === null || !isIntrospectionType(type)) return
      context.reportError(
        new GraphQLError(`introspection is off on this gateway: ${node.name.value} is not answered`, {
          nodes: node,
          extensions: { code: 'FORBIDDEN' },
        }),
      )
    },
  }
}
