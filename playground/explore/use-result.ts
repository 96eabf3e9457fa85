import { useEffect, useState } from 'preact/hooks'
import type { Chart } from '../chart/chart.ts'
import { chartsOf } from '../chart/charts-of.ts'
import { applyAnswer } from '../chart/live-answer.ts'
import { type Answer, ask, follow } from '../session/gateway.ts'
import { type Problem, problemOf } from './problem.ts'

/** The answer to the question of the page. The answer before stays on the screen until the next one is there. */
export interface Result {
  readonly chart: Chart | undefined
  readonly problem: Problem | undefined
  readonly isLoading: boolean
  /** A live connection was lost and is opened again. */
  readonly isReconnecting: boolean
  readonly meta: ResultMeta | undefined
}

export interface ResultMeta {
  readonly interval: string
  readonly exact: boolean
  readonly bucketsUnavailable: number
  readonly durationMs: number
}

/** While someone types a number. */
const TYPING_MS = 120

const NOTHING: Result = {
  chart: undefined,
  problem: undefined,
  isLoading: true,
  isReconnecting: false,
  meta: undefined,
}

/** Runs a document whenever it changes, or `attempt` does. */
export function useResult(key: string, document: string, isLive: boolean, attempt: number): Result {
  const [result, setResult] = useState(NOTHING)
  useEffect(() => {
    setResult((before) => ({ ...before, isLoading: true, isReconnecting: false }))
    const ending = new AbortController()
    const { signal } = ending
    let data: unknown
    const show = (answer: Answer): void => {
      if (signal.aborted) return
      const problem = problemOf(answer)
      if (problem === undefined) data = applyAnswer(data, answer.data)
      const shown =
        problem === undefined ? { chart: chartsOf(data)[0] ?? EMPTY_CHART, meta: metaOf(data) } : { problem }
      setResult({ ...NOTHING, isLoading: false, ...shown })
    }
    const run = async (): Promise<void> => {
      if (!isLive) return show(await ask({ query: document }, { key, signal }))
      const onReconnect = (): void => setResult((before) => ({ ...before, isReconnecting: true }))
      for await (const answer of follow({ query: document }, { key, signal, onReconnect })) show(answer)
    }
    const timer = setTimeout(() => void run().catch((error) => failUnlessAborted(error, signal, setResult)), TYPING_MS)
    return () => {
      clearTimeout(timer)
      ending.abort()
    }
  }, [key, document, isLive, attempt])
  return result
}

const EMPTY_CHART: Chart = { title: '', unit: null, timezone: undefined, lines: [], bars: [], timelessLines: 0 }

function failUnlessAborted(error: unknown, { aborted }: AbortSignal, setResult: (result: Result) => void): void {
  if (aborted) return
  const message = error instanceof Error ? error.message : String(error)
  setResult({ ...NOTHING, isLoading: false, problem: { code: 'unreachable', message, details: {} } })
}

function metaOf(data: unknown): ResultMeta | undefined {
  const query = (data as { query?: { interval: string; meta: Omit<ResultMeta, 'interval'> } } | undefined)?.query
  return query === undefined ? undefined : { interval: query.interval, ...query.meta }
}
