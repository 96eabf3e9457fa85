import { formatAddress } from '../question/address.ts'
import { chooseMetric, type Question } from '../question/question.ts'
import type { MetricList as List } from './use-metrics.ts'

/** Props of the list of metrics. Each metric is a link to its chart. */
export interface MetricListProps {
  readonly list: List
  readonly question: Question
  readonly search: string
  readonly onSearch: (search: string) => void
  readonly onChoose: (metric: string) => void
}

export function MetricList({ list, question, search, onSearch, onChoose }: MetricListProps) {
  const { metrics, hasMore, isLoaded, problem } = list
  const choose = (event: MouseEvent, name: string): void => {
    // With another mouse button or one of these modifier keys, the browser opens the link in a new tab or window.
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return
    event.preventDefault()
    onChoose(name)
  }
  return (
    <>
      <input
        type="search"
        class="metric-search"
        aria-label="Search metrics"
        placeholder="Search metrics"
        value={search}
        onInput={({ currentTarget }) => onSearch(currentTarget.value)}
      />
      <nav class="metric-list" aria-label="Metrics">
        <ul>
          {metrics.map(({ name, type, unit }) => (
            <li key={name}>
              <a
                href={formatAddress(chooseMetric(question, name))}
                aria-current={name === question.metric ? 'page' : undefined}
                onClick={(event) => choose(event, name)}
              >
                <TypeBadge type={type} />
                <span class="metric-name">{name}</span>
                {unit !== null && <span class="metric-unit">{unit}</span>}
              </a>
            </li>
          ))}
        </ul>
        {isLoaded && metrics.length === 0 && problem === undefined && (
          <p class="note">{search === '' ? 'No metrics yet.' : `No metric has “${search}” in its name.`}</p>
        )}
        {hasMore && <p class="note">The first {metrics.length}; search to see others.</p>}
      </nav>
    </>
  )
}

const TYPE_LETTERS: Readonly<Record<string, string>> = {
  GAUGE: 'G',
  COUNTER: 'C',
  DISTRIBUTION: 'D',
  SET: 'S',
  HISTOGRAM: 'H',
  SUMMARY: 'Q',
}

export function TypeBadge({ type }: { readonly type: string }) {
  const name = type.toLowerCase()
  return (
    <span class={`type type-${name}`} title={name} role="img" aria-label={name}>
      {TYPE_LETTERS[type] ?? '?'}
    </span>
  )
}
