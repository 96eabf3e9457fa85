import { type DocumentNode, Kind, OperationTypeNode, type SelectionSetNode, type ValueNode } from 'graphql'
import { type ErrorCode, GatewayError } from '../../model/errors.ts'
import type { GraphQLLimits } from '../operation-cost.ts'

/** The size of a selection set with its fragments expanded. */
interface Extent {
  readonly depth: number
  readonly fields: number
  readonly aliases: number
  /** Fields of the set itself, without nested ones. */
  readonly ownFields: number
}

const EMPTY: Extent = { depth: 0, fields: 0, aliases: 0, ownFields: 0 }

/**
 * Refuses documents that are too large to validate or execute; both take more than linear time in fields and depth.
 * A fragment counts wherever it is spread, so nested fragments cannot hide a size. Each fragment is visited once.
 * Throws `query_too_large`, or `batch_too_large` for a list in a mutation.
 */
export function requireSmallDocument(document: DocumentNode, limits: GraphQLLimits): void {
  const extents = new Map<string, Extent>()
  const fragments = new Map<string, SelectionSetNode>()
  for (const node of document.definitions) {
    if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node.selectionSet)
  }
  const listCode = listCodeOf(document)
  let written = 0

  const extentOfFragment = (name: string): Extent => {
    const known = extents.get(name)
    const set = fragments.get(name)
    if (known !== undefined || set === undefined) return known ?? EMPTY
    // A fragment that spreads itself finds this entry. Validation refuses it later.
    extents.set(name, EMPTY)
    const extent = extentOf(set, 1)
    extents.set(name, extent)
    return extent
  }

  const extentOf = (set: SelectionSetNode, depthWritten: number): Extent => {
    if (depthWritten > limits.documentDepthMax) throw tooMany('nested selections', limits.documentDepthMax)
    let depth = 1
    let fields = 0
    let aliases = 0
    let ownFields = 0
    for (const selection of set.selections) {
      if (++written > limits.documentFieldsMax) throw tooMany('fields', limits.documentFieldsMax)
      let below = EMPTY
      if (selection.kind === Kind.FRAGMENT_SPREAD) below = extentOfFragment(selection.name.value)
      else if (selection.selectionSet !== undefined) below = extentOf(selection.selectionSet, depthWritten + 1)
      fields += below.fields
      aliases += below.aliases
      if (selection.kind === Kind.FIELD) {
        fields++
        ownFields++
        if (selection.alias !== undefined) aliases++
        depth = Math.max(depth, 1 + below.depth)
        for (const { value } of selection.arguments ?? []) requireShortLists(value, listCode, limits.listItemsMax)
      } else {
        depth = Math.max(depth, below.depth)
        ownFields += below.ownFields
      }
    }
    return { depth, fields, aliases, ownFields }
  }

  for (const node of document.definitions) {
    if (node.kind === Kind.FRAGMENT_DEFINITION) extentOfFragment(node.name.value)
    if (node.kind !== Kind.OPERATION_DEFINITION) continue
    for (const { defaultValue } of node.variableDefinitions ?? []) {
      if (defaultValue !== undefined) requireShortLists(defaultValue, listCode, limits.listItemsMax)
    }
    const { depth, fields, aliases, ownFields } = extentOf(node.selectionSet, 1)
    if (depth > limits.documentDepthMax) throw tooMany('nested selections', limits.documentDepthMax)
    if (fields > limits.documentFieldsMax) throw tooMany('fields', limits.documentFieldsMax)
    if (aliases > limits.documentAliasesMax) throw tooMany('aliases', limits.documentAliasesMax)
    if (ownFields > limits.rootFieldsMax) throw tooMany('root fields', limits.rootFieldsMax)
  }
}

/** Refuses long lists in variables, as {@link requireSmallDocument} does in literals. */
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
      if (value.length > itemsMax) throw listTooLong(listCodeOf(document), value.length, itemsMax)
      for (const item of value) if (typeof item === 'object' && item !== null) pending.push(item)
    } else if (typeof value === 'object' && value !== null) {
      for (const item of Object.values(value)) if (typeof item === 'object' && item !== null) pending.push(item)
    }
  }
}

function requireShortLists(value: ValueNode, code: ErrorCode, itemsMax: number): void {
  if (value.kind === Kind.LIST) {
    if (value.values.length > itemsMax) throw listTooLong(code, value.values.length, itemsMax)
    for (const item of value.values) requireShortLists(item, code, itemsMax)
  } else if (value.kind === Kind.OBJECT) {
    for (const field of value.fields) requireShortLists(field.value, code, itemsMax)
  }
}

/** Returns the error code of a list that is too long. A list in a mutation is a batch. */
function listCodeOf({ definitions }: DocumentNode): ErrorCode {
  const writes = definitions.some(
    (node) => node.kind === Kind.OPERATION_DEFINITION && node.operation === OperationTypeNode.MUTATION,
  )
  return writes ? 'batch_too_large' : 'query_too_large'
}

function listTooLong(code: ErrorCode, length: number, max: number): GatewayError {
  return new GatewayError(code, `a list may have at most ${max} items, not ${length}`, { details: { max } })
}

function tooMany(what: string, max: number): GatewayError {
  return new GatewayError('query_too_large', `a document may have at most ${max} ${what}`, { details: { max } })
}
