import { GraphQLError } from 'graphql'
import { GatewayError } from '../../../model/errors.ts'
import { isObject } from '../../../model/is-object.ts'
import { type PersistedOperationSettings, PersistedOperations } from '../../documents/persisted-operations.ts'
import type { OperationParams, OperationPlugin } from '../yoga.ts'

/** Replaces the id of a persisted operation by the text of its document. */
export function useOperationIds(settings: PersistedOperationSettings): OperationPlugin {
  const operations = new PersistedOperations(settings)
  return {
    onParams({ params, setParams, setResult }) {
      const { documentId, ...standardParams }: OperationParams = params
      try {
        const id = documentId ?? persistedQueryHash(standardParams.extensions ?? {})
        setParams({ ...standardParams, query: operations.findDocument(standardParams.query, id) })
      } catch (error) {
        // Setting a result makes yoga skip parsing. A thrown error would skip the other plugins too.
        setParams({ ...standardParams, query: '' })
        setResult({ errors: [asGraphQLError(error)] })
      }
    },
  }
}

/** Returns the document hash that Apollo clients send in `extensions`. Throws `invalid_body`. */
function persistedQueryHash({ persistedQuery }: Record<string, unknown>): string | undefined {
  if (persistedQuery === undefined || persistedQuery === null) return undefined
  const hash = isObject(persistedQuery) ? persistedQuery['sha256Hash'] : undefined
  if (typeof hash === 'string') return hash
  throw new GatewayError('invalid_body', '"extensions.persistedQuery" must have "sha256Hash"')
}

function asGraphQLError(error: unknown): GraphQLError {
  if (error instanceof GraphQLError) return error
  const originalError = error instanceof Error ? error : new Error(String(error))
  return new GraphQLError(originalError.message, { originalError })
}
