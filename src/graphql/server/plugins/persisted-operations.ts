import { GraphQLError } from 'graphql'
import { GatewayError } from '../../../model/errors.ts'
import { PersistedOperations, type PersistedSettings } from '../../documents/persisted-operations.ts'
import { isObject } from '../request-params.ts'
import type { OperationParams, OperationPlugin } from '../yoga.ts'

/** Puts the text of the document in place of its id. */
export function usePersistedOperations(settings: PersistedSettings): OperationPlugin {
  const operations = new PersistedOperations(settings)
  return {
    onParams({ params, setParams, setResult }) {
      const { documentId, ...standard }: OperationParams = params
      try {
        const id = documentId ?? hashOf(standard.extensions ?? {})
        setParams({ ...standard, query: operations.documentOf(standard.query, id) })
      } catch (error) {
        // With a result the document is not parsed. An error that is thrown here would pass by the plugins that follow.
        setParams({ ...standard, query: '' })
        setResult({ errors: [asGraphQLError(error)] })
      }
    },
  }
}

/** The id by which Apollo clients name a persisted document. Throws `invalid_body`. */
function hashOf({ persistedQuery }: Record<string, unknown>): string | undefined {
  if (persistedQuery === undefined || persistedQuery === null) return undefined
  const hash = isObject(persistedQuery) ? persistedQuery['sha256Hash'] : undefined
  if (typeof hash === 'string') return hash
  throw new GatewayError('invalid_body', '"extensions.persistedQuery" must hold "sha256Hash"')
}

function asGraphQLError(error: unknown): GraphQLError {
  if (error instanceof GraphQLError) return error
  const originalError = error instanceof Error ? error : new Error(String(error))
  return new GraphQLError(originalError.message, { originalError })
}
