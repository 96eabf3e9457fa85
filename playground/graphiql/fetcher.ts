import { errorCodeOf, type GraphQLRequest, type GraphQLResult, send, subscribe } from '../session/gateway.ts'
import { openTab, type TabResults } from './tab-results.ts'

/** Options of the function by which GraphiQL sends operations. The function also stores each result for the chart. */
export interface FetcherOptions {
  readonly key: string
  readonly results: TabResults
  readonly onUnknownKey: () => void
}

interface FetcherContext {
  readonly headers?: Readonly<Record<string, string>>
  readonly documentAST?: { readonly definitions: readonly Definition[] }
}

interface Definition {
  readonly operation?: string
  readonly name?: { readonly value: string }
}

export type Fetcher = (
  request: GraphQLRequest,
  context?: FetcherContext,
) => Promise<GraphQLResult | AsyncIterable<GraphQLResult>> | AsyncIterable<GraphQLResult>

export function createFetcher({ key, results, onUnknownKey }: FetcherOptions): Fetcher {
  const recordResult = (tab: Element | null, result: GraphQLResult): void => {
    if (errorCodeOf(result) === 'INVALID_API_KEY') onUnknownKey()
    results.addResult(tab, result.data)
  }
  return (request, { headers = {}, documentAST } = {}) => {
    // GraphiQL reads the schema with its own introspection query, which belongs to no tab.
    const tab = request.operationName === 'IntrospectionQuery' ? null : openTab()
    if (isSubscription(request, documentAST)) {
      return abortableIterable(
        (signal) => subscribe(request, { key, headers, signal }),
        (result) => recordResult(tab, result),
      )
    }
    return send(request, { key, headers }).then((result) => {
      if (!(Symbol.asyncIterator in result)) recordResult(tab, result)
      return result
    })
  }
}

function isSubscription({ operationName }: GraphQLRequest, document: FetcherContext['documentAST']): boolean {
  const operations = document?.definitions.filter(({ operation }) => operation !== undefined) ?? []
  const chosen = operations.find(({ name }) => name?.value === operationName) ?? operations[0]
  return chosen?.operation === 'subscription'
}

/**
 * Makes an iterable of a subscription's results. GraphiQL stops a subscription by `return`, which aborts the request
 * and does not wait for the next result.
 */
function abortableIterable(
  open: (signal: AbortSignal) => AsyncGenerator<GraphQLResult>,
  onResult: (result: GraphQLResult) => void,
): AsyncIterable<GraphQLResult> {
  const ending = new AbortController()
  const results = open(ending.signal)
  const end = { done: true, value: undefined } as const
  const iterator: AsyncIterator<GraphQLResult> = {
    async next() {
      try {
        const step = await results.next()
        if (step.done !== true) onResult(step.value)
        return step
      } catch (error) {
        if (ending.signal.aborted) return end
        throw error
      }
    },
    async return() {
      ending.abort()
      return end
    },
  }
  return { [Symbol.asyncIterator]: () => iterator }
}
