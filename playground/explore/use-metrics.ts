import { useEffect, useState } from 'preact/hooks'
import { sendOnce } from '../session/gateway.ts'
import { type Problem, problemOf } from './problem.ts'

/** The metrics of the project. The list is read every 20 s, and every 1.5 s while the project has no metrics. */
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

/** The maximum page size of the gateway. */
const METRICS_LISTED_MAX = 1_000
const EMPTY_REFRESH_INTERVAL_MS = 1_500
const REFRESH_INTERVAL_MS = 20_000
/** Delay after a keystroke before the search is sent. */
const TYPING_DELAY_MS = 150

const METRICS_DOCUMENT = `query Metrics($search: String, $first: Int) {
  metrics(search: $search, first: $first) { nodes { name type unit } pageInfo { hasNextPage } }
}`

const NOT_LOADED: MetricList = { metrics: [], hasMore: false, isLoaded: false, problem: undefined }

export function useMetrics(key: string, search: string): MetricList {
  const [list, setList] = useState(NOT_LOADED)
  useEffect(() => {
    const unmounted = new AbortController()
    let timer: ReturnType<typeof setTimeout>
    const read = async (): Promise<void> => {
      const variables = { search: search === '' ? null : search, first: METRICS_LISTED_MAX }
      const result = await sendOnce({ query: METRICS_DOCUMENT, variables }, { key, signal: unmounted.signal })
      const problem = problemOf(result)
      const connection = (result.data as ListData | undefined)?.metrics
      const metrics = connection?.nodes ?? []
      // After an error the list that is already shown is kept.
      setList((before) =>
        problem !== undefined && before.metrics.length > 0
          ? before
          : { metrics, hasMore: connection?.pageInfo.hasNextPage === true, isLoaded: true, problem },
      )
      const isProjectEmpty = problem === undefined && metrics.length === 0 && search === ''
      timer = setTimeout(start, isProjectEmpty ? EMPTY_REFRESH_INTERVAL_MS : REFRESH_INTERVAL_MS)
    }
    const start = (): void => void read().catch(() => {})
    timer = setTimeout(start, search === '' ? 0 : TYPING_DELAY_MS)
    return () => {
      unmounted.abort()
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
