import { documentOf } from '../question/document.ts'
import { DEFAULT_TOP, type Question } from '../question/question.ts'
import type { GraphQLResult } from '../session/gateway.ts'

/** An error of a request, as it is shown to a person. */
export interface Problem {
  /** The error code in lower case: one of the gateway's, such as `query_too_large`, or `unreachable`. */
  readonly code: string
  readonly message: string
  readonly details: Readonly<Record<string, unknown>>
}

export interface Remedy {
  readonly hint: string
  /** Changes of the question that may avoid the error, each with the text of its button. */
  readonly changes: readonly { readonly text: string; readonly change: (question: Question) => Question }[]
  /** Whether the same request may succeed later. */
  readonly canRetry: boolean
}

export function problemOf({ errors }: GraphQLResult): Problem | undefined {
  const error = errors?.[0]
  if (error === undefined) return undefined
  const { code = 'INTERNAL', ...details } = error.extensions ?? {}
  return { code: code.toLowerCase(), message: error.message, details }
}

/** Returns what may help. Leaves out changes that would send the same query as now, or as an earlier change. */
export function remedyOf(problem: Problem, question: Question): Remedy {
  const remedy = remedyOfProblem(problem)
  const documents = new Set([documentOf(question)])
  const changes = remedy.changes.filter(({ change }) => {
    const document = documentOf(change(question))
    return !documents.has(document) && documents.add(document)
  })
  return { ...remedy, changes }
}

function remedyOfProblem({ code, details }: Problem): Remedy {
  const { fits, finest, argument } = details
  const useInterval = (interval: unknown, text: string): Remedy['changes'] =>
    typeof interval === 'string'
      ? [{ text: `${text} ${interval}`, change: (question) => ({ ...question, interval }) }]
      : []
  const remedy = (hint: string, changes: Remedy['changes'] = [], canRetry = false): Remedy => ({
    hint,
    changes,
    canRetry,
  })
  switch (code) {
    case 'query_too_large':
      return remedy('Wider buckets, fewer groups or a shorter range make the answer smaller.', [
        ...useInterval(fits, 'Use an interval of'),
        AUTO,
        TOP_FIVE,
      ])
    case 'invalid_interval':
      if (argument === 'timezone') return remedy('The gateway does not know this time zone.', [UTC])
      return remedy('The data of this range is kept in wider buckets.', [
        ...useInterval(finest, 'Use an interval of'),
        AUTO,
      ])
    case 'invalid_aggregation':
      return remedy('The type of the metric does not have this number.', [
        { text: 'Use the usual ones', change: (question) => ({ ...question, aggregations: [] }) },
      ])
    case 'invalid_range':
    case 'invalid_timestamp':
      return remedy('Choose a start before the end.', [LAST_DAY])
    case 'metric_not_found':
      return remedy('It may have been deleted, or belong to another project. Choose one from the list.')
    case 'forbidden':
      return remedy('The explorer reads: it needs a key with the scope query. Enter another key at the top.')
    case 'missing_api_key':
    case 'invalid_api_key':
      return remedy('The key was revoked, or has expired. Enter another key at the top.')
    case 'rate_limited':
      return remedy('This key has asked too often in the last minute.', [], true)
    case 'unreachable':
      return remedy('Is it running? The page tries again when you do.', [], true)
    case 'overloaded':
    case 'store_unavailable':
      return remedy('The gateway expects to recover soon.', [], true)
    case 'internal':
      return remedy('The log of the gateway says more.', [], true)
    default:
      return remedy('Change the question above.', [LAST_DAY])
  }
}

const AUTO = { text: 'Let the gateway choose', change: (question: Question) => ({ ...question, interval: 'auto' }) }
const LAST_DAY = {
  text: 'Show the last 24 hours',
  change: (question: Question) => ({ ...question, range: { last: '24h' }, interval: 'auto' }),
}
const UTC = { text: 'Use UTC', change: (question: Question) => ({ ...question, timezone: 'UTC' }) }
const TOP_FIVE = {
  text: 'Show the top 5 groups',
  change: (question: Question): Question => {
    const { top = DEFAULT_TOP } = question
    return { ...question, top: { ...top, n: Math.min(top.n, 5) } }
  },
}
