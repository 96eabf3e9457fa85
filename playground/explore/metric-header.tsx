import { formatAge, formatNumber } from '../chart/format.ts'
import type { MetricInfo } from '../question/question.ts'
import { TypeBadge } from './metric-list.tsx'

/** Name, type, unit and numbers of the chosen metric. */
export function MetricHeader({ metricInfo }: { readonly metricInfo: MetricInfo }) {
  const { name, type, unit, description, seriesCount, dataPoints, lastSeen } = metricInfo
  const facts = [
    type.toLowerCase(),
    ...(unit === null ? [] : [`in ${unit}`]),
    `${formatNumber(seriesCount)} series`,
    `${formatNumber(dataPoints)} points`,
    ...(lastSeen === null ? [] : [`last point ${formatAge(Date.parse(lastSeen), Date.now())}`]),
  ]
  return (
    <header class="metric-header">
      <h1>
        <TypeBadge type={type} />
        {name}
      </h1>
      {description !== null && <p class="description">{description}</p>}
      <p class="facts">{facts.join(' · ')}</p>
    </header>
  )
}
