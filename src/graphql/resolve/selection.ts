import {
  type FieldNode,
  GraphQLIncludeDirective,
  type GraphQLResolveInfo,
  GraphQLSkipDirective,
  getDirectiveValues,
  Kind,
  type SelectionNode,
} from 'graphql'

/**
 * Returns the fields selected directly below these fields. Fragments, `@skip` and `@include` apply as in execution.
 * Type conditions are not checked: below an object type, validation refuses a fragment that cannot match.
 */
export function selectedSubfields(parents: readonly FieldNode[], info: GraphQLResolveInfo): readonly FieldNode[] {
  const fields: FieldNode[] = []
  const visitedFragments = new Set<string>()
  const collect = (selections: readonly SelectionNode[]): void => {
    for (const selection of selections) {
      if (!isIncluded(selection, info)) continue
      if (selection.kind === Kind.FIELD) {
        fields.push(selection)
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        collect(selection.selectionSet.selections)
      } else if (!visitedFragments.has(selection.name.value)) {
        visitedFragments.add(selection.name.value)
        collect(info.fragments[selection.name.value]?.selectionSet.selections ?? [])
      }
    }
  }
  for (const parent of parents) collect(parent.selectionSet?.selections ?? [])
  return fields
}

function isIncluded(selection: SelectionNode, info: GraphQLResolveInfo): boolean {
  if (selection.directives === undefined || selection.directives.length === 0) return true
  const skip = getDirectiveValues(GraphQLSkipDirective, selection, info.variableValues)
  const include = getDirectiveValues(GraphQLIncludeDirective, selection, info.variableValues)
  return skip?.['if'] !== true && include?.['if'] !== false
}
