import { type MetricInfo, type Question, setTop, toggleAggregation } from '../question/question.ts'
import type { SetQuestion } from './use-question.ts'

/** Props of the controls that choose aggregations and rank groups. */
export interface AggregationControlsProps {
  /** A resolved question: its aggregations are never empty. */
  readonly question: Question
  readonly metricInfo: MetricInfo
  readonly setQuestion: SetQuestion
}

export function AggregationControls({ question, metricInfo, setQuestion }: AggregationControlsProps) {
  const { aggregations, groupBy } = question
  return (
    <div class="aggregation-controls">
      <fieldset class="chips">
        <legend>Show</legend>
        {metricInfo.aggregations.map((name) => (
          <label key={name} class="chip">
            <input
              type="checkbox"
              checked={aggregations.includes(name)}
              onChange={() => setQuestion(toggleAggregation(question, name, metricInfo.aggregations))}
            />
            <span>{name.toLowerCase()}</span>
          </label>
        ))}
      </fieldset>
      {groupBy.length > 0 && <TopControls {...{ question, setQuestion }} />}
    </div>
  )
}

const GROUPS_MAX = 100

function TopControls({ question, setQuestion }: Pick<AggregationControlsProps, 'question' | 'setQuestion'>) {
  const { top, aggregations } = question
  const setCount = (text: string): void => {
    const n = Math.round(Number(text))
    if (n >= 1 && n <= GROUPS_MAX) setQuestion(setTop(question, { n }), 'replace')
  }
  return (
    <fieldset class="top-controls">
      <legend>Groups</legend>
      <label class="check">
        <input
          type="checkbox"
          checked={top !== undefined}
          onChange={() => setQuestion(top === undefined ? setTop(question, {}) : { ...question, top: undefined })}
        />
        only the
      </label>
      <select
        aria-label="Order of the groups"
        disabled={top === undefined}
        value={top?.direction ?? 'DESC'}
        onChange={({ currentTarget }) =>
          setQuestion(setTop(question, { direction: currentTarget.value === 'ASC' ? 'ASC' : 'DESC' }))
        }
      >
        <option value="DESC">highest</option>
        <option value="ASC">lowest</option>
      </select>
      <input
        type="number"
        aria-label="Number of groups"
        min={1}
        max={GROUPS_MAX}
        disabled={top === undefined}
        value={top?.n ?? 5}
        onInput={({ currentTarget }) => setCount(currentTarget.value)}
      />
      <label class="field-inline">
        by
        <select
          disabled={top === undefined}
          value={top?.by === '' || top === undefined ? aggregations[0] : top.by}
          onChange={({ currentTarget }) =>
            setQuestion(setTop(question, { by: currentTarget.value === aggregations[0] ? '' : currentTarget.value }))
          }
        >
          {aggregations.map((name) => (
            <option key={name} value={name}>
              {name.toLowerCase()}
            </option>
          ))}
        </select>
      </label>
      <label class="check">
        <input
          type="checkbox"
          disabled={top === undefined}
          checked={top?.other === true}
          onChange={() => setQuestion(setTop(question, { other: top?.other !== true }))}
        />
        and the others as one
      </label>
    </fieldset>
  )
}
