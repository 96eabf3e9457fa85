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
import type { Ask } from './use-question.ts'

/** The tags of the metric with their values: what can be grouped by, and filtered to. */
export interface TagControlsProps {
  readonly question: Question
  readonly tags: readonly Tag[]
  readonly ask: Ask
}

const VALUES_SHOWN = 8

export function TagControls({ question, tags, ask }: TagControlsProps) {
  return (
    <section class="tag-controls" aria-label="Tags">
      {tags.map((tag) => (
        <TagRow key={tag.key} {...{ tag, question, ask }} />
      ))}
      <Filters {...{ question, tags, ask }} />
    </section>
  )
}

function TagRow({ tag, question, ask }: { readonly tag: Tag; readonly question: Question; readonly ask: Ask }) {
  const { key, values } = tag
  const [isWhole, setWhole] = useState(false)
  const shown = isWhole ? values : values.slice(0, VALUES_SHOWN)
  return (
    <div class="tag-row">
      <span class="tag-key">{key}</span>
      <label class="chip chip-group">
        <input
          type="checkbox"
          checked={question.groupBy.includes(key)}
          onChange={() => ask(toggleGrouping(question, key))}
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
              onClick={() => ask(toggleFilterValue(question, key, value))}
            >
              {value}
            </button>
          </li>
        ))}
        {values.length > VALUES_SHOWN && (
          <li>
            <button type="button" class="link" onClick={() => setWhole(!isWhole)}>
              {isWhole ? 'fewer' : `${values.length - VALUES_SHOWN} more`}
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

/** Those that the form offers; `in` and `notIn` can do what `eq` and `neq` do. */
const OFFERED = OPERATORS.filter((operator) => operator !== 'eq' && operator !== 'neq')

function Filters({ question, tags, ask }: TagControlsProps) {
  const [isOpen, setOpen] = useState(false)
  const { filters } = question
  return (
    <div class="filters">
      <span class="tag-key">Filters</span>
      <ul class="filter-list" aria-label="Filters">
        {filters.map((filter) => (
          <li key={textOf(filter)} class="filter">
            <span>{textOf(filter)}</span>
            <button
              type="button"
              aria-label={`Remove the filter ${textOf(filter)}`}
              onClick={() => ask(removeFilter(question, filter))}
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
            ask(addFilter(question, filter))
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
          onChange={({ currentTarget }) => setOperator(OFFERED.find((known) => known === currentTarget.value) ?? 'in')}
        >
          {OFFERED.map((name) => (
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

function textOf({ key, operator, values }: Filter): string {
  if (operator === 'exists') return values[0] === 'false' ? `${key} is missing` : `${key} exists`
  const texts = values.map((value) => (value === '' ? '(none)' : value))
  return `${key} ${OPERATOR_TEXTS[operator]} ${texts.join(' or ')}`
}
