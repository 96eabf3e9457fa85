import { useEffect, useState } from 'preact/hooks'
import type { Chart } from '../chart/chart.ts'
import { findCharts } from '../chart/find-charts.ts'
import { applyResultUpdate } from '../chart/live-result.ts'
import { type GraphQLResult, sendOnce, subscribe } from '../session/gateway.ts'
import { type Problem, problemOf } from './problem.ts'

/** The chart of the current question. The previous chart stays on the screen until the next result has arrived. */
export interface ChartResult {
  readonly chart: Chart | undefined
  readonly problem: Problem | undefined
  readonly isLoading: boolean
  /** Whether the live connection was lost and is being reopened. */
  readonly isReconnecting: boolean
  readonly meta: ResultMeta | undefined
}

export interface ResultMeta {
  readonly interval: string
  readonly exact: boolean
  readonly bucketsUnavailable: number
  readonly durationMs: number
}

/** Delay before a query is sent, so that typing a number sends one query. */
const TYPING_DELAY_MS = 120

const NOT_LOADED: ChartResult = {
  chart: undefined,
  problem: undefined,
  isLoading: true,
  isReconnecting: false,
  meta: undefined,
}

/**
 * A hook that runs a GraphQL document: once, or as a subscription if `isLive`. Runs it again when an argument changes;
 * `attempt` has no other purpose.
 */
export function useResult(key: string, document: string, isLive: boolean, attempt: number): ChartResult {
  const [result, setResult] = useState(NOT_LOADED)
  useEffect(() => {
    setResult((before) => ({ ...before, isLoading: true, isReconnecting: false }))
    const unmounted = new AbortController()
    const { signal } = unmounted
    let data: unknown
    const show = (update: GraphQLResult): void => {
      if (signal.aborted) return
      const problem = problemOf(update)
      if (problem === undefined) data = applyResultUpdate(data, update.data)
      const shown =
        problem === undefined ? { chart: findCharts(data)[0] ?? EMPTY_CHART, meta: metaOf(data) } : { problem }
      setResult({ ...NOT_LOADED, isLoading: false, ...shown })
    }
    const run = async (): Promise<void> => {
      if (!isLive) return show(await sendOnce({ query: document }, { key, signal }))
      const onReconnect = (): void => setResult((before) => ({ ...before, isReconnecting: true }))
      for await (const update of subscribe({ query: document }, { key, signal, onReconnect })) show(update)
    }
    const timer = setTimeout(
      () => void run().catch((error) => failUnlessAborted(error, signal, setResult)),
      TYPING_DELAY_MS,
    )
    return () => {
      clearTimeout(timer)
      unmounted.abort()
    }
  }, [key, document, isLive, attempt])
  return result
}

const EMPTY_CHART: Chart = { title: '', unit: null, timezone: undefined, lines: [], bars: [], lineCountWithoutTimes: 0 }

function failUnlessAborted(error: unknown, { aborted }: AbortSignal, setResult: (result: ChartResult) => void): void {
  if (aborted) return
  const message = error instanceof Error ? error.message : String(error)
  setResult({ ...NOT_LOADED, isLoading: false, problem: { code: 'unreachable', message, details: {} } })
}

function metaOf(data: unknown): ResultMeta | undefined {
  const query = (data as { query?: { interval: string; meta: Omit<ResultMeta, 'interval'> } } | undefined)?.query
  return query === undefined ? undefined : { interval: query.interval, ...query.meta }
}
