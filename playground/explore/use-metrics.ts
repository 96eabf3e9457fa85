import { useEffect, useState } from 'preact/hooks'
import { ask } from '../session/gateway.ts'
import { type Problem, problemOf } from './problem.ts'

/** The list of metrics, which is read again from time to time, and often while it is empty. */
export interface MetricList {
  readonly metrics: readonly ListedMetric[]
  readonly hasMore: boolean
  readonly isLoaded: boolean
  readonly problem: Problem | undefined
}

export interface ListedMetric {
  readonly name: string
  readonly type: string
  readonly unit: string | null
}

/** The most that the gateway lists at once. */
const LISTED_MAX = 1_000
const EMPTY_PAUSE_MS = 1_500
const PAUSE_MS = 20_000
/** While someone types. */
const TYPING_MS = 150

const LIST = `query Metrics($search: String, $first: Int) {
  metrics(search: $search, first: $first) { nodes { name type unit } pageInfo { hasNextPage } }
}`

const NOTHING: MetricList = { metrics: [], hasMore: false, isLoaded: false, problem: undefined }

export function useMetrics(key: string, search: string): MetricList {
  const [list, setList] = useState(NOTHING)
  useEffect(() => {
    const ending = new AbortController()
    let timer: ReturnType<typeof setTimeout>
    const read = async (): Promise<void> => {
      const variables = { search: search === '' ? null : search, first: LISTED_MAX }
      const answer = await ask({ query: LIST, variables }, { key, signal: ending.signal })
      const problem = problemOf(answer)
      const connection = (answer.data as ListData | undefined)?.metrics
      const metrics = connection?.nodes ?? []
      // A list that is on the screen is better than none.
      setList((before) =>
        problem !== undefined && before.metrics.length > 0
          ? before
          : { metrics, hasMore: connection?.pageInfo.hasNextPage === true, isLoaded: true, problem },
      )
      const isWaiting = problem === undefined && metrics.length === 0 && search === ''
      timer = setTimeout(start, isWaiting ? EMPTY_PAUSE_MS : PAUSE_MS)
    }
    const start = (): void => void read().catch(() => {})
    timer = setTimeout(start, search === '' ? 0 : TYPING_MS)
    return () => {
      ending.abort()
      clearTimeout(timer)
    }
  }, [key, search])
  return list
}

interface ListData {
  readonly metrics: {
    readonly nodes: readonly ListedMetric[]
    readonly pageInfo: { readonly hasNextPage: boolean }
  } | null
}
