import { type MetricInfo, type Question, setTop, toggleAggregation } from '../question/question.ts'
import type { Ask } from './use-question.ts'

/** Which numbers are shown, and of which groups. */
export interface AggregationControlsProps {
  /** With its aggregations. */
  readonly question: Question
  readonly info: MetricInfo
  readonly ask: Ask
}

export function AggregationControls({ question, info, ask }: AggregationControlsProps) {
  const { aggregations, groupBy } = question
  return (
    <div class="aggregation-controls">
      <fieldset class="chips">
        <legend>Show</legend>
        {info.aggregations.map((name) => (
          <label key={name} class="chip">
            <input
              type="checkbox"
              checked={aggregations.includes(name)}
              onChange={() => ask(toggleAggregation(question, name, info.aggregations))}
            />
            <span>{name.toLowerCase()}</span>
          </label>
        ))}
      </fieldset>
      {groupBy.length > 0 && <TopControls {...{ question, ask }} />}
    </div>
  )
}

const GROUPS_MAX = 100

function TopControls({ question, ask }: Pick<AggregationControlsProps, 'question' | 'ask'>) {
  const { top, aggregations } = question
  const setCount = (text: string): void => {
    const n = Math.round(Number(text))
    if (n >= 1 && n <= GROUPS_MAX) ask(setTop(question, { n }), 'replace')
  }
  return (
    <fieldset class="top-controls">
      <legend>Groups</legend>
      <label class="check">
        <input
          type="checkbox"
          checked={top !== undefined}
          onChange={() => ask(top === undefined ? setTop(question, {}) : { ...question, top: undefined })}
        />
        only the
      </label>
      <select
        aria-label="Order of the groups"
        disabled={top === undefined}
        value={top?.direction ?? 'DESC'}
        onChange={({ currentTarget }) =>
          ask(setTop(question, { direction: currentTarget.value === 'ASC' ? 'ASC' : 'DESC' }))
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
            ask(setTop(question, { by: currentTarget.value === aggregations[0] ? '' : currentTarget.value }))
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
          onChange={() => ask(setTop(question, { other: top?.other !== true }))}
        />
        and the others as one
      </label>
    </fieldset>
  )
}
