import type { BarList } from './chart.ts'
import { CHART_BARS_MAX } from './chart.ts'
import { formatValue } from './format.ts'

/** Props of a table that shows the totals of groups as horizontal bars, the greatest first, unknown totals last. */
export interface BarsProps {
  readonly list: BarList
  readonly unit: string | null
}

export function Bars({ list: { title, bars }, unit }: BarsProps) {
  const sorted = [...bars].sort((a, b) => (b.value ?? Number.NEGATIVE_INFINITY) - (a.value ?? Number.NEGATIVE_INFINITY))
  const shown = sorted.slice(0, CHART_BARS_MAX)
  const greatest = shown.reduce((most, { value }) => Math.max(most, Math.abs(value ?? 0)), 0)
  return (
    <table class="bars">
      <caption>{title}</caption>
      <tbody>
        {shown.map(({ label, value }, index) => (
          // The key is the index, because labels are not unique: a query may select only one of several tags.
          <tr key={index}>
            <th scope="row">{label}</th>
            <td class="bar-cell">
              <span class="bar" style={{ width: `${greatest === 0 ? 0 : (100 * Math.abs(value ?? 0)) / greatest}%` }} />
            </td>
            <td class="number" data-value={value ?? ''}>
              {formatValue(value, unit)}
            </td>
          </tr>
        ))}
      </tbody>
      {sorted.length > shown.length && (
        <tfoot>
          <tr>
            <td colSpan={3}>and {sorted.length - shown.length} more</td>
          </tr>
        </tfoot>
      )}
    </table>
  )
}
