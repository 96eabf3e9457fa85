import { useId, useState } from 'preact/hooks'
import {
  addFilter,
  type Filter,
  isFilteredTo,
  OPERATORS,
  type Operator,
  type Question,
  removeFilter,
  toggleFilterValue,
  toggleGrouping,
} from '../question/question.ts'
import type { Tag } from './use-metric.ts'
import type { SetQuestion } from './use-question.ts'

/** Props of the controls that group and filter by tags. */
export interface TagControlsProps {
  readonly question: Question
  readonly tags: readonly Tag[]
  readonly setQuestion: SetQuestion
}

const VALUES_SHOWN_MAX = 8

export function TagControls({ question, tags, setQuestion }: TagControlsProps) {
  return (
    <section class="tag-controls" aria-label="Tags">
      {tags.map((tag) => (
        <TagRow key={tag.key} {...{ tag, question, setQuestion }} />
      ))}
      <Filters {...{ question, tags, setQuestion }} />
    </section>
  )
}

function TagRow({
  tag,
  question,
  setQuestion,
}: {
  readonly tag: Tag
  readonly question: Question
  readonly setQuestion: SetQuestion
}) {
  const { key, values } = tag
  const [showsAllValues, setShowsAllValues] = useState(false)
  const shown = showsAllValues ? values : values.slice(0, VALUES_SHOWN_MAX)
  return (
    <div class="tag-row">
      <span class="tag-key">{key}</span>
      <label class="chip chip-group">
        <input
          type="checkbox"
          checked={question.groupBy.includes(key)}
          onChange={() => setQuestion(toggleGrouping(question, key))}
          aria-label={`Group by ${key}`}
        />
        <span>group by</span>
      </label>
      <ul class="tag-values" aria-label={`Only ${key}`}>
        {shown.map(({ value, seriesCount }) => (
          <li key={value}>
            <button
              type="button"
              class="value"
              aria-pressed={isFilteredTo(question, key, value)}
              title={`Only ${key} = ${value} (${seriesCount} series)`}
              onClick={() => setQuestion(toggleFilterValue(question, key, value))}
            >
              {value}
            </button>
          </li>
        ))}
        {values.length > VALUES_SHOWN_MAX && (
          <li>
            <button type="button" class="link" onClick={() => setShowsAllValues(!showsAllValues)}>
              {showsAllValues ? 'fewer' : `${values.length - VALUES_SHOWN_MAX} more`}
            </button>
          </li>
        )}
      </ul>
    </div>
  )
}

const OPERATOR_TEXTS: Readonly<Record<Operator, string>> = {
  in: 'is',
  notIn: 'is not',
  eq: 'equals',
  neq: 'differs from',
  startsWith: 'starts with',
  glob: 'matches',
  exists: 'exists',
}

/** The operators that the form offers. `in` and `notIn` replace `eq` and `neq`. */
const OFFERED_OPERATORS = OPERATORS.filter((operator) => operator !== 'eq' && operator !== 'neq')

function Filters({ question, tags, setQuestion }: TagControlsProps) {
  const [isOpen, setOpen] = useState(false)
  const { filters } = question
  return (
    <div class="filters">
      <span class="tag-key">Filters</span>
      <ul class="filter-list" aria-label="Filters">
        {filters.map((filter) => (
          <li key={filterText(filter)} class="filter">
            <span>{filterText(filter)}</span>
            <button
              type="button"
              aria-label={`Remove the filter ${filterText(filter)}`}
              onClick={() => setQuestion(removeFilter(question, filter))}
            >
              ×
            </button>
          </li>
        ))}
        <li>
          <button type="button" class="link" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
            {isOpen ? 'Cancel' : '+ Add filter'}
          </button>
        </li>
      </ul>
      {isOpen && (
        <FilterForm
          tags={tags}
          onAdd={(filter) => {
            setOpen(false)
            setQuestion(addFilter(question, filter))
          }}
        />
      )}
    </div>
  )
}

function FilterForm({ tags, onAdd }: { readonly tags: readonly Tag[]; readonly onAdd: (filter: Filter) => void }) {
  const [key, setKey] = useState(tags[0]?.key ?? '')
  const [operator, setOperator] = useState<Operator>('in')
  const [value, setValue] = useState('')
  const listId = useId()
  const submit = (event: SubmitEvent): void => {
    event.preventDefault()
    onAdd({ key, operator, values: [operator === 'exists' ? 'true' : value] })
  }
  return (
    <form class="filter-form" onSubmit={submit}>
      <label class="field">
        <span>Tag</span>
        <select value={key} onChange={({ currentTarget }) => setKey(currentTarget.value)}>
          {tags.map((tag) => (
            <option key={tag.key}>{tag.key}</option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>Condition</span>
        <select
          value={operator}
          onChange={({ currentTarget }) =>
            setOperator(OFFERED_OPERATORS.find((known) => known === currentTarget.value) ?? 'in')
          }
        >
          {OFFERED_OPERATORS.map((name) => (
            <option key={name} value={name}>
              {OPERATOR_TEXTS[name]}
            </option>
          ))}
        </select>
      </label>
      {operator !== 'exists' && (
        <label class="field">
          <span>{operator === 'glob' ? 'Pattern, such as /users/*' : 'Value'}</span>
          <input list={listId} value={value} onInput={({ currentTarget }) => setValue(currentTarget.value)} />
        </label>
      )}
      <datalist id={listId}>
        {tags
          .find((tag) => tag.key === key)
          ?.values.map((known) => (
            <option key={known.value} value={known.value} />
          ))}
      </datalist>
      <button type="submit" class="primary">
        Add
      </button>
    </form>
  )
}

function filterText({ key, operator, values }: Filter): string {
  if (operator === 'exists') return values[0] === 'false' ? `${key} is missing` : `${key} exists`
  const texts = values.map((value) => (value === '' ? '(none)' : value))
  return `${key} ${OPERATOR_TEXTS[operator]} ${texts.join(' or ')}`
}
