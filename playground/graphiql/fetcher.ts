import { type Answer, codeOf, follow, type GraphQLRequest, send } from '../session/gateway.ts'
import { openTab, type TabAnswers } from './answers.ts'

/** How GraphiQL sends its operations: as the explorer does, and with each answer told to the chart. */
export interface FetcherOptions {
  readonly key: string
  readonly answers: TabAnswers
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
) => Promise<Answer | AsyncIterable<Answer>> | AsyncIterable<Answer>

export function createFetcher({ key, answers, onUnknownKey }: FetcherOptions): Fetcher {
  const take = (tab: Element | null, answer: Answer): void => {
    if (codeOf(answer) === 'INVALID_API_KEY') onUnknownKey()
    answers.add(tab, answer.data)
  }
  return (request, { headers = {}, documentAST } = {}) => {
    // GraphiQL reads the schema with a document of its own, which has no tab.
    const tab = request.operationName === 'IntrospectionQuery' ? null : openTab()
    if (isSubscription(request, documentAST)) {
      return abortable(
        (signal) => follow(request, { key, headers, signal }),
        (answer) => take(tab, answer),
      )
    }
    return send(request, { key, headers }).then((answer) => {
      if (!(Symbol.asyncIterator in answer)) take(tab, answer)
      return answer
    })
  }
}

function isSubscription({ operationName }: GraphQLRequest, document: FetcherContext['documentAST']): boolean {
  const operations = document?.definitions.filter(({ operation }) => operation !== undefined) ?? []
  const chosen = operations.find(({ name }) => name?.value === operationName) ?? operations[0]
  return chosen?.operation === 'subscription'
}

/** GraphiQL stops a subscription by `return`, which must not wait for the next answer. */
function abortable(
  open: (signal: AbortSignal) => AsyncGenerator<Answer>,
  onAnswer: (answer: Answer) => void,
): AsyncIterable<Answer> {
  const ending = new AbortController()
  const answers = open(ending.signal)
  const end = { done: true, value: undefined } as const
  const iterator: AsyncIterator<Answer> = {
    async next() {
      try {
        const result = await answers.next()
        if (result.done !== true) onAnswer(result.value)
        return result
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
