import { useEffect, useState } from 'preact/hooks'
import { graphqlString } from '../question/document.ts'
import type { MetricInfo } from '../question/question.ts'
import { sendOnce } from '../session/gateway.ts'
import { type Problem, problemOf } from './problem.ts'

/** The chosen metric, with the tag values that the controls offer. */
export interface ChosenMetric {
  /** Undefined until the metric was loaded for the first time. */
  readonly metricInfo: MetricInfo | undefined
  readonly tags: readonly Tag[]
  readonly problem: Problem | undefined
}

export interface Tag {
  readonly key: string
  readonly values: readonly TagValue[]
}

export interface TagValue {
  readonly value: string
  readonly seriesCount: number
}

/** Maximum number of tag keys whose values are loaded. A metric may have a thousand keys. */
const TAG_KEYS_SHOWN_MAX = 20
const TAG_VALUES_SHOWN_MAX = 200
/** Time from the end of a read of the metric to the next one, which updates numbers such as "last point". */
const REFRESH_INTERVAL_MS = 10_000

const METRIC_DOCUMENT = `query Metric($name: String!) {
  metric(name: $name) { name type unit description tagKeys aggregations seriesCount dataPoints lastSeen }
}`

const NOT_LOADED: ChosenMetric = { metricInfo: undefined, tags: [], problem: undefined }

export function useMetric(key: string, name: string): ChosenMetric {
  const [chosen, setChosen] = useState(NOT_LOADED)
  useEffect(() => {
    setChosen(NOT_LOADED)
    if (name === '') return
    const unmounted = new AbortController()
    const { signal } = unmounted
    let timer: ReturnType<typeof setTimeout>
    let knownKeys = ''
    const read = async (): Promise<void> => {
      const result = await sendOnce({ query: METRIC_DOCUMENT, variables: { name } }, { key, signal })
      const metricInfo = (result.data as { metric: MetricInfo | null } | undefined)?.metric ?? undefined
      const problem = metricInfo === undefined ? (problemOf(result) ?? metricNotFoundProblem(name)) : undefined
      setChosen((before) => ({ ...before, metricInfo: metricInfo ?? before.metricInfo, problem }))
      if (metricInfo !== undefined && metricInfo.tagKeys.join('\n') !== knownKeys) {
        knownKeys = metricInfo.tagKeys.join('\n')
        const tags = await readTags(metricInfo, key, signal)
        setChosen((before) => ({ ...before, tags }))
      }
      timer = setTimeout(start, REFRESH_INTERVAL_MS)
    }
    const start = (): void => void read().catch(() => {})
    start()
    return () => {
      unmounted.abort()
      clearTimeout(timer)
    }
  }, [key, name])
  return chosen.metricInfo?.name === name || chosen.metricInfo === undefined ? chosen : NOT_LOADED
}

async function readTags({ name, tagKeys }: MetricInfo, key: string, signal: AbortSignal): Promise<readonly Tag[]> {
  const keys = tagKeys.slice(0, TAG_KEYS_SHOWN_MAX)
  if (keys.length === 0) return []
  const fields = keys.map(
    (tag, index) =>
      `t${index}: tagValues(key: ${graphqlString(tag)}, first: ${TAG_VALUES_SHOWN_MAX}) { value seriesCount }`,
  )
  const query = `query Tags($name: String!) { metric(name: $name) { ${fields.join(' ')} } }`
  const { data } = await sendOnce({ query, variables: { name } }, { key, signal })
  const values = (data as { metric: Readonly<Record<string, readonly TagValue[] | null>> | null } | undefined)?.metric
  return keys.map((tag, index) => ({ key: tag, values: values?.[`t${index}`] ?? [] }))
}

function metricNotFoundProblem(name: string): Problem {
  return { code: 'metric_not_found', message: `there is no metric ${JSON.stringify(name)}`, details: {} }
}
