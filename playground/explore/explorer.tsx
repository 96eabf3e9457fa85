import { useEffect, useState } from 'preact/hooks'
import { documentOf } from '../question/document.ts'
import { chooseMetric, type MetricInfo, type Question, resolveQuestion } from '../question/question.ts'
import { AggregationControls } from './aggregation-controls.tsx'
import { CodePanel } from './code-panel.tsx'
import { FirstPoint } from './first-point.tsx'
import { MetricHeader } from './metric-header.tsx'
import { MetricList } from './metric-list.tsx'
import { RangeControls } from './range-controls.tsx'
import { ProblemView, ResultPanel } from './result-panel.tsx'
import { TagControls } from './tag-controls.tsx'
import { type Tag, useMetric } from './use-metric.ts'
import { type ListedMetric, useMetrics } from './use-metrics.ts'
import { type SetQuestion, useQuestion } from './use-question.ts'
import { useResult } from './use-result.ts'
import type { Viewer } from './use-viewer.ts'

/**
 * The explorer of one project: a list of metrics, and for the chosen metric the controls, the chart and code to copy.
 */
export function Explorer({ apiKey, viewer }: { readonly apiKey: string; readonly viewer: Viewer }) {
  const [question, setQuestion] = useQuestion()
  const [search, setSearch] = useState('')
  const [isListOpen, setListOpen] = useState(false)
  const [wasEmpty, setWasEmpty] = useState(false)
  const list = useMetrics(apiKey, search)
  const chosenMetric = useMetric(apiKey, question.metric)
  const { metricInfo, tags } = chosenMetric
  const isEmpty = list.isLoaded && list.metrics.length === 0 && search === '' && list.problem === undefined

  useEffect(() => {
    document.title = `${question.metric === '' ? 'Explore' : question.metric} · GaugeQL`
  }, [question.metric])
  useEffect(() => {
    if (isEmpty) setWasEmpty(true)
    const first = metricToOpenFirst(list.metrics)
    if (first === undefined || question.metric !== '') return
    const next = chooseMetric(question, first.name)
    // If the project was empty, its first metric has just appeared: shows the last 15 minutes and updates live.
    setQuestion(wasEmpty ? { ...next, range: { last: '15m' }, isLive: true } : next, 'replace')
  }, [list.metrics, isEmpty, question.metric])

  const problem = list.problem ?? chosenMetric.problem
  return (
    <div class="explorer">
      <aside class={isListOpen ? 'sidebar is-open' : 'sidebar'}>
        <button
          type="button"
          class="sidebar-toggle"
          aria-expanded={isListOpen}
          aria-controls="metrics"
          onClick={() => setListOpen(!isListOpen)}
        >
          <span>{question.metric === '' ? 'Choose a metric' : question.metric}</span>
          <span aria-hidden="true">{isListOpen ? '▴' : '▾'}</span>
        </button>
        <div id="metrics" class="sidebar-content">
          <MetricList
            {...{ list, question, search }}
            onSearch={setSearch}
            onChoose={(metric) => {
              setListOpen(false)
              setQuestion(chooseMetric(question, metric))
            }}
          />
        </div>
      </aside>
      <main class={metricInfo === undefined ? '' : 'question-layout'}>
        {isEmpty && question.metric === '' ? (
          <FirstPoint apiKey={apiKey} canIngest={viewer.scopes.includes('INGEST')} />
        ) : problem !== undefined && metricInfo === undefined ? (
          <section class="card">
            <ProblemView {...{ problem, question, setQuestion }} onRetry={() => location.reload()} />
          </section>
        ) : metricInfo === undefined ? (
          <div class="chart-placeholder" role="status">
            Loading …
          </div>
        ) : (
          <ChosenMetricView {...{ apiKey, question, metricInfo, tags, setQuestion }} />
        )}
      </main>
    </div>
  )
}

interface ChosenMetricProps {
  readonly apiKey: string
  readonly question: Question
  readonly metricInfo: MetricInfo
  readonly tags: readonly Tag[]
  readonly setQuestion: SetQuestion
}

/** The controls, chart and code of the chosen metric. */
function ChosenMetricView({ apiKey, question: questionOfAddress, metricInfo, tags, setQuestion }: ChosenMetricProps) {
  const [attempt, setAttempt] = useState(0)
  const question = resolveQuestion(questionOfAddress, metricInfo)
  const result = useResult(apiKey, documentOf(question), question.isLive, attempt)
  return (
    <>
      <MetricHeader metricInfo={metricInfo} />
      <section class="card toolbar" aria-label="Time">
        <RangeControls {...{ question, setQuestion }} />
      </section>
      <ResultPanel {...{ question, metricInfo, result, setQuestion }} onRetry={() => setAttempt(attempt + 1)} />
      <section class="card controls" aria-label="Question">
        <AggregationControls {...{ question, metricInfo, setQuestion }} />
        <TagControls {...{ question, tags, setQuestion }} />
      </section>
      <CodePanel {...{ question, apiKey }} />
    </>
  )
}

/** Chooses the metric to open first: a distribution if there is one, because it has the most aggregations. */
function metricToOpenFirst(metrics: readonly ListedMetric[]): ListedMetric | undefined {
  return metrics.find(({ type }) => type === 'DISTRIBUTION') ?? metrics[0]
}
