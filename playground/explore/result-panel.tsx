import { useMemo } from 'preact/hooks'
import type { BarList, Chart } from '../chart/chart.ts'
import { ChartView } from '../chart/chart-view.tsx'
import { formatInstant } from '../question/local-time.ts'
import type { MetricInfo, Question } from '../question/question.ts'
import { type Problem, remedyOf } from './problem.ts'
import type { SetQuestion } from './use-question.ts'
import type { ChartResult } from './use-result.ts'

/** Props of the panel with the chart, or with an error and ways to avoid it. */
export interface ResultPanelProps {
  readonly question: Question
  readonly metricInfo: MetricInfo
  readonly result: ChartResult
  readonly setQuestion: SetQuestion
  readonly onRetry: () => void
}

const CHART_PX = 320

export function ResultPanel({ question, metricInfo, result, setQuestion, onRetry }: ResultPanelProps) {
  const { problem, isLoading, isReconnecting } = result
  const chart = useMemo(
    () =>
      result.chart &&
      withTotals({ ...result.chart, title: metricInfo.name, unit: unitOf(question, metricInfo) }, question),
    [result.chart, metricInfo.name, metricInfo.unit, question],
  )
  const isEmpty = chart?.lines.every(({ values }) => values.every((value) => value === null))
  const zoom = (fromMs: number, toMs: number): void => {
    setQuestion({
      ...question,
      range: { from: formatInstant(fromMs), to: formatInstant(toMs) },
      interval: 'auto',
      isLive: false,
    })
  }
  return (
    <section class="card result" aria-label="Chart" aria-busy={isLoading}>
      {isLoading && <div class="progress" aria-hidden="true" />}
      {problem !== undefined ? (
        <ProblemView {...{ problem, question, setQuestion, onRetry }} />
      ) : chart === undefined ? (
        <div class="chart-placeholder" role="status">
          Loading …
        </div>
      ) : isEmpty === true ? (
        <EmptyRange {...{ question, metricInfo, setQuestion }} />
      ) : (
        <ChartView chart={chart} timezone={question.timezone} height={CHART_PX} onRange={zoom} />
      )}
      <p class="meta" role="status">
        {isReconnecting
          ? 'The connection was lost; trying again …'
          : question.isLive && problem === undefined
            ? 'Live: changes appear within a second.'
            : metaText(result)}
      </p>
    </section>
  )
}

/** Adds bars for the totals of the groups: a list for each aggregation that has more than one bar. */
function withTotals(chart: Chart, { groupBy, aggregations }: Question): Chart {
  if (groupBy.length === 0) return chart
  const bars = aggregations.map((name): BarList => {
    const title = name.toLowerCase()
    const lines = chart.lines.filter(
      ({ label, comparedWith }) => comparedWith === undefined && labelHasAggregation(label, title),
    )
    return { title, bars: lines.map(({ label, total }) => ({ label: label.slice(title.length + 3), value: total })) }
  })
  return { ...chart, bars: bars.filter((list) => list.bars.length > 1) }
}

/** Whether the label of a line belongs to an aggregation. Labels have the form `p95 · /users`. */
function labelHasAggregation(label: string, aggregation: string): boolean {
  return label === aggregation || label.startsWith(`${aggregation} · `)
}

/** Returns the unit of the values, such as `ms`, or `ms/s` for rates. Null for counts, and if lines differ in unit. */
function unitOf({ aggregations }: Question, { type, unit }: MetricInfo): string | null {
  if (type === 'SET') return unit
  if (aggregations.every((name) => name === 'RATE')) return unit === null ? '/s' : `${unit}/s`
  return aggregations.some((name) => name === 'RATE' || name === 'COUNT') ? null : unit
}

function metaText({ meta, isLoading }: ChartResult): string {
  if (meta === undefined) return isLoading ? 'Asking …' : ''
  const parts = [`Buckets of ${meta.interval}`, `answered in ${meta.durationMs.toFixed(1)} ms`]
  if (meta.bucketsUnavailable > 0) parts.push(`${meta.bucketsUnavailable} buckets are kept too coarsely to fill`)
  if (!meta.exact) parts.push('some counts may be too low')
  return parts.join(' · ')
}

type ProblemProps = Pick<ResultPanelProps, 'question' | 'setQuestion' | 'onRetry'> & { readonly problem: Problem }

export function ProblemView({ problem, question, setQuestion, onRetry }: ProblemProps) {
  const { hint, changes, canRetry } = remedyOf(problem, question)
  return (
    <div class="problem" role="alert">
      <p class="problem-title">
        <code>{problem.code}</code>
        <span>{problem.message}</span>
      </p>
      <p>{hint}</p>
      <div class="actions">
        {changes.map(({ text, change }, index) => (
          <button
            key={text}
            type="button"
            class={index === 0 ? 'primary' : 'button'}
            onClick={() => setQuestion(change(question))}
          >
            {text}
          </button>
        ))}
        {canRetry && (
          <button type="button" class="primary" onClick={onRetry}>
            Try again
          </button>
        )}
      </div>
    </div>
  )
}

/** Shown when no line has a value, because the range or the filters exclude all data. */
function EmptyRange({
  question,
  metricInfo,
  setQuestion,
}: Pick<ResultPanelProps, 'question' | 'metricInfo' | 'setQuestion'>) {
  const { filters } = question
  const dayBeforeLastPoint = (lastSeen: string): Question => {
    const toMs = Date.parse(lastSeen) + 60_000
    const range = { from: formatInstant(toMs - 86_400_000), to: formatInstant(toMs) }
    return { ...question, range, interval: 'auto', isLive: false }
  }
  return (
    <div class="empty">
      <p class="empty-title">No points in this range</p>
      <p>{filters.length > 0 ? 'Perhaps no series has the tags of the filters.' : 'Choose another range.'}</p>
      <div class="actions">
        {filters.length > 0 && (
          <button type="button" class="primary" onClick={() => setQuestion({ ...question, filters: [] })}>
            Remove the filters
          </button>
        )}
        {metricInfo.lastSeen !== null && (
          <button type="button" class="primary" onClick={() => setQuestion(dayBeforeLastPoint(metricInfo.lastSeen!))}>
            Show the last points
          </button>
        )}
      </div>
    </div>
  )
}
