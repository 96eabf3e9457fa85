import { useEffect, useState } from 'preact/hooks'
import { literal } from '../question/document.ts'
import type { MetricInfo } from '../question/question.ts'
import { ask } from '../session/gateway.ts'
import { type Problem, problemOf } from './problem.ts'

/** What the controls need to know about the chosen metric. */
export interface ChosenMetric {
  /** Undefined while it is read, and when there is no such metric. */
  readonly info: MetricInfo | undefined
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

/** A metric may have a thousand tag keys; values are shown of the first ones. */
const KEYS_MAX = 20
const VALUES_MAX = 200
/** How long numbers such as "last point" stay on the screen. */
const PAUSE_MS = 10_000

const METRIC = `query Metric($name: String!) {
  metric(name: $name) { name type unit description tagKeys aggregations seriesCount dataPoints lastSeen }
}`

const NOTHING: ChosenMetric = { info: undefined, tags: [], problem: undefined }

export function useMetric(key: string, name: string): ChosenMetric {
  const [chosen, setChosen] = useState(NOTHING)
  useEffect(() => {
    setChosen(NOTHING)
    if (name === '') return
    const ending = new AbortController()
    const { signal } = ending
    let timer: ReturnType<typeof setTimeout>
    let knownKeys = ''
    const read = async (): Promise<void> => {
      const answer = await ask({ query: METRIC, variables: { name } }, { key, signal })
      const info = (answer.data as { metric: MetricInfo | null } | undefined)?.metric ?? undefined
      const problem = info === undefined ? (problemOf(answer) ?? missing(name)) : undefined
      setChosen((before) => ({ ...before, info: info ?? before.info, problem }))
      if (info !== undefined && info.tagKeys.join('\n') !== knownKeys) {
        knownKeys = info.tagKeys.join('\n')
        const tags = await readTags(info, key, signal)
        setChosen((before) => ({ ...before, tags }))
      }
      timer = setTimeout(start, PAUSE_MS)
    }
    const start = (): void => void read().catch(() => {})
    start()
    return () => {
      ending.abort()
      clearTimeout(timer)
    }
  }, [key, name])
  return chosen.info?.name === name || chosen.info === undefined ? chosen : NOTHING
}

async function readTags({ name, tagKeys }: MetricInfo, key: string, signal: AbortSignal): Promise<readonly Tag[]> {
  const keys = tagKeys.slice(0, KEYS_MAX)
  if (keys.length === 0) return []
  const fields = keys.map(
    (tag, index) => `t${index}: tagValues(key: ${literal(tag)}, first: ${VALUES_MAX}) { value seriesCount }`,
  )
  const query = `query Tags($name: String!) { metric(name: $name) { ${fields.join(' ')} } }`
  const { data } = await ask({ query, variables: { name } }, { key, signal })
  const values = (data as { metric: Readonly<Record<string, readonly TagValue[] | null>> | null } | undefined)?.metric
  return keys.map((tag, index) => ({ key: tag, values: values?.[`t${index}`] ?? [] }))
}

function missing(name: string): Problem {
  return { code: 'metric_not_found', message: `there is no metric ${JSON.stringify(name)}`, details: {} }
}
