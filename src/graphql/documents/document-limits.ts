import { type DocumentNode, Kind, OperationTypeNode, type SelectionSetNode, type ValueNode } from 'graphql'
import { type ErrorCode, GatewayError } from '../../model/errors.ts'
import { type GraphQLLimits, listItemsMaxOf } from '../operation-cost.ts'

/** The size of a selection set after replacing fragment spreads by the content of the fragments. */
interface SelectionSize {
  readonly depth: number
  readonly fieldCount: number
  readonly aliasCount: number
  /** Number of fields of the selection set itself, without the fields nested below them. */
  readonly ownFieldCount: number
}

const EMPTY_SIZE: SelectionSize = { depth: 0, fieldCount: 0, aliasCount: 0, ownFieldCount: 0 }

/**
 * Refuses documents that are too large to validate or execute: both take more than linear time in fields and depth. A
 * fragment counts at each of its spreads, so nested fragments cannot hide the size. Its size is computed only once.
 * Throws `query_too_large`, or `batch_too_large` for a long list in a document with a mutation.
 *
 * The limits of depth and aliases are settings (`config/settings/access-and-limits.ts`); those of fields, root fields
 * and list items are constants in `operation-cost.ts`.
 */
export function requireSmallDocument(document: DocumentNode, limits: GraphQLLimits): void {
  const sizeByFragment = new Map<string, SelectionSize>()
  const fragments = new Map<string, SelectionSetNode>()
  for (const node of document.definitions) {
    if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node.selectionSet)
  }
  const listItemsMax = listItemsMaxOf(limits)
  const listCode = longListErrorCodeOf(document)
  let visitedCount = 0

  const sizeOfFragment = (name: string): SelectionSize => {
    const cachedSize = sizeByFragment.get(name)
    const selectionSet = fragments.get(name)
    if (cachedSize !== undefined || selectionSet === undefined) return cachedSize ?? EMPTY_SIZE
    // Ends the recursion of a fragment that spreads itself. Validation refuses such a document later.
    sizeByFragment.set(name, EMPTY_SIZE)
    const size = sizeOfSelection(selectionSet, 1)
    sizeByFragment.set(name, size)
    return size
  }

  const sizeOfSelection = (selectionSet: SelectionSetNode, nestingDepth: number): SelectionSize => {
    if (nestingDepth > limits.documentDepthMax) throw tooManyError('nested selections', limits.documentDepthMax)
    let depth = 1
    let fieldCount = 0
    let aliasCount = 0
    let ownFieldCount = 0
    for (const selection of selectionSet.selections) {
      if (++visitedCount > limits.documentFieldsMax) throw tooManyError('fields', limits.documentFieldsMax)
      let nested = EMPTY_SIZE
      if (selection.kind === Kind.FRAGMENT_SPREAD) nested = sizeOfFragment(selection.name.value)
      else if (selection.selectionSet !== undefined) nested = sizeOfSelection(selection.selectionSet, nestingDepth + 1)
      fieldCount += nested.fieldCount
      aliasCount += nested.aliasCount
      if (selection.kind === Kind.FIELD) {
        fieldCount++
        ownFieldCount++
        if (selection.alias !== undefined) aliasCount++
        depth = Math.max(depth, 1 + nested.depth)
        for (const { value } of selection.arguments ?? []) requireShortLists(value, listCode, listItemsMax)
      } else {
        depth = Math.max(depth, nested.depth)
        ownFieldCount += nested.ownFieldCount
      }
    }
    return { depth, fieldCount, aliasCount, ownFieldCount }
  }

  for (const node of document.definitions) {
    if (node.kind === Kind.FRAGMENT_DEFINITION) sizeOfFragment(node.name.value)
    if (node.kind !== Kind.OPERATION_DEFINITION) continue
    for (const { defaultValue } of node.variableDefinitions ?? []) {
      if (defaultValue !== undefined) requireShortLists(defaultValue, listCode, listItemsMax)
    }
    const { depth, fieldCount, aliasCount, ownFieldCount } = sizeOfSelection(node.selectionSet, 1)
    if (depth > limits.documentDepthMax) throw tooManyError('nested selections', limits.documentDepthMax)
    if (fieldCount > limits.documentFieldsMax) throw tooManyError('fields', limits.documentFieldsMax)
    if (aliasCount > limits.documentAliasesMax) throw tooManyError('aliases', limits.documentAliasesMax)
    if (ownFieldCount > limits.rootFieldsMax) throw tooManyError('root fields', limits.rootFieldsMax)
  }
}

/** Throws if a list in the variables is too long, as {@link requireSmallDocument} does for lists in the document. */
export function requireShortVariables(
  variables: Readonly<Record<string, unknown>> | undefined,
  document: DocumentNode,
  itemsMax: number,
): void {
  if (variables === undefined) return
  const pending: unknown[] = [variables]
  while (pending.length > 0) {
    const value = pending.pop()
    if (Array.isArray(value)) {
      if (value.length > itemsMax) throw listTooLongError(longListErrorCodeOf(document), value.length, itemsMax)
      for (const item of value) if (typeof item === 'object' && item !== null) pending.push(item)
    } else {
      // `Object.values` would create an array for each object.
      const object = value as Readonly<Record<string, unknown>>
      for (const key in object) {
        const item = object[key]
        if (typeof item === 'object' && item !== null) pending.push(item)
      }
    }
  }
}

function requireShortLists(value: ValueNode, code: ErrorCode, itemsMax: number): void {
  if (value.kind === Kind.LIST) {
    if (value.values.length > itemsMax) throw listTooLongError(code, value.values.length, itemsMax)
    for (const item of value.values) requireShortLists(item, code, itemsMax)
  } else if (value.kind === Kind.OBJECT) {
    for (const field of value.fields) requireShortLists(field.value, code, itemsMax)
  }
}

/** Returns the error code for a list that is too long. In a document with a mutation, the list counts as a batch. */
function longListErrorCodeOf({ definitions }: DocumentNode): ErrorCode {
  const hasMutation = definitions.some(
    (node) => node.kind === Kind.OPERATION_DEFINITION && node.operation === OperationTypeNode.MUTATION,
  )
  return hasMutation ? 'batch_too_large' : 'query_too_large'
}

function listTooLongError(code: ErrorCode, length: number, max: number): GatewayError {
  return new GatewayError(code, `a list may have at most ${max} items, not ${length}`, { details: { max } })
}

function tooManyError(noun: string, max: number): GatewayError {
  return new GatewayError('query_too_large', `a document may have at most ${max} ${noun}`, { details: { max } })
}
